"""From a container of a Pod to what the runtime is asked for: command, environment, mounts, limits, labels. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from agents.node import backoff
from agents.node.expansion import expand
from agents.node.image_names import image_id
from agents.node.observed import IMAGE_ID_LABEL, IMAGE_LABEL
from agents.node.podspec import hostname
from agents.node.ports import ContainerSpec, Image, Mount
from agents.node.resources import container_resources
from agents.node.security import security
from mesh.objects.meta import uid_of
from mesh.objects.types import Object

TERMINATION_PATH = "/dev/termination-log"


@dataclass(frozen=True, slots=True)
class Placement:
    """What the node adds to a container's spec."""

    sandbox_id: str
    attempt: int
    image: Image
    environment: tuple[tuple[str, str], ...]
    mounts: tuple[Mount, ...]
    """Volumes, hosts and resolv.conf."""
    termination_file: str
    """Host path mounted where the container may leave its last words."""
    cgroup_parent: str
    node_memory: int
    delay_label: str
    labels: Mapping[str, str]
    share_pid_with: str = ""
    """The container whose processes this one is to see; "" for none in particular."""


def container_spec(pod: Object, container: Object, placement: Placement) -> ContainerSpec:
    """The runtime's order for one attempt of one container."""
    variables = dict(placement.environment)
    command = [expand(word, variables) for word in container.get("command") or ()]
    args = [expand(word, variables) for word in container.get("args") or ()]
    spec = pod["spec"]
    last_words = Mount(placement.termination_file, container.get("terminationMessagePath") or TERMINATION_PATH)
    return ContainerSpec(
        sandbox_id=placement.sandbox_id,
        pod_uid=uid_of(pod),
        name=container["name"],
        attempt=placement.attempt,
        image=placement.image.id,
        hostname=hostname(pod),
        command=tuple(command) if command else None,
        args=tuple(args) if args else None,
        working_dir=container.get("workingDir") or "",
        environment=placement.environment,
        mounts=(*placement.mounts, last_words),
        resources=container_resources(pod, container, placement.node_memory),
        security=security(pod, container),
        tty=bool(container.get("tty")),
        stdin=bool(container.get("stdin")),
        stdin_once=bool(container.get("stdinOnce")),
        host_pid=bool(spec.get("hostPID")),
        host_ipc=bool(spec.get("hostIPC")),
        share_pid_with=placement.share_pid_with or (placement.sandbox_id if spec.get("shareProcessNamespace") else ""),
        cgroup_parent=placement.cgroup_parent,
        labels={
            **placement.labels,
            backoff.DELAY_LABEL: placement.delay_label,
            IMAGE_LABEL: container["image"],
            IMAGE_ID_LABEL: image_id(placement.image, container["image"]),
        },
    )

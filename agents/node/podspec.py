"""Reading a Pod: the few questions that planning, status and volumes ask of `spec`, with Kubernetes' defaults.

Pods come from the API server with defaults filled in; the fallbacks here serve pods read from an old checkpoint.
Pure: no I/O, no clock.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from mesh.objects.meta import name_of, namespace_of, uid_of
from mesh.objects.types import Object


class Place(NamedTuple):
    """Where a container stands in its pod: as events name it ("spec.containers{web}")."""

    list_field: str
    container: Object

    @property
    def field_path(self) -> str:
        """`involvedObject.fieldPath` of an event about this container."""
        return f"spec.{self.list_field}{{{self.container['name']}}}"


def app_containers(pod: Object) -> list[Object]:
    """`spec.containers`."""
    return list(pod["spec"].get("containers") or ())


def init_containers(pod: Object) -> list[Object]:
    """`spec.initContainers`, sidecars among them, in their order."""
    return list(pod["spec"].get("initContainers") or ())


def ephemeral_containers(pod: Object) -> list[Object]:
    """`spec.ephemeralContainers`: added to a pod that exists, to look at it (`kubectl debug`).

    https://kubernetes.io/docs/concepts/workloads/pods/ephemeral-containers/
    """
    return list(pod["spec"].get("ephemeralContainers") or ())


def is_ephemeral(pod: Object, container: Object) -> bool:
    """Whether this is one of the pod's ephemeral containers: started once, never again, and of no account otherwise."""
    return any(other["name"] == container["name"] for other in ephemeral_containers(pod))


def is_sidecar(container: Object) -> bool:
    """Whether an init container keeps running beside the app containers (`restartPolicy: Always`).

    https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/
    """
    return container.get("restartPolicy") == "Always"


def sidecars(pod: Object) -> list[Object]:
    """The init containers that are sidecars, in their order."""
    return [c for c in init_containers(pod) if is_sidecar(c)]


def places(pod: Object) -> Iterator[Place]:
    """All containers of the pod, init containers first, ephemeral ones last."""
    for container in init_containers(pod):
        yield Place("initContainers", container)
    for container in app_containers(pod):
        yield Place("containers", container)
    for container in ephemeral_containers(pod):
        yield Place("ephemeralContainers", container)


def reported_statuses(status: Object) -> Iterator[Object]:
    """The container statuses in a pod's status, of all kinds of containers."""
    for field in ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"):
        yield from status.get(field) or ()


def place_of(pod: Object, name: str) -> Place | None:
    """The container called `name`, wherever it stands."""
    return next((place for place in places(pod) if place.container["name"] == name), None)


def restart_policy(pod: Object) -> str:
    """`Always`, `OnFailure` or `Never`."""
    return str(pod["spec"].get("restartPolicy") or "Always")


def restarts_after(pod: Object, container: Object, code: int) -> bool:
    """Whether a container that ended with this exit code is started again: by its own rules, its own policy, its pod's.

    https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#individual-container-restart-policy-and-rules
    """
    for rule in container.get("restartPolicyRules") or ():
        codes = rule["exitCodes"]
        if (code in (codes.get("values") or ())) == (codes["operator"] == "In"):
            return True
    policy = container.get("restartPolicy")
    if policy is None:
        policy = restart_policy(pod)
        if policy == "Always" and container in init_containers(pod):
            policy = "OnFailure"
    return bool(policy == "Always" or (policy == "OnFailure" and code != 0))


def full_name(pod: Object) -> str:
    """The pod as kubelet's messages name it: `web_default(<uid>)`."""
    return f"{name_of(pod)}_{namespace_of(pod)}({uid_of(pod)})"


def hostname(pod: Object) -> str:
    """The pod's host name: `spec.hostname` or its name, cut to the 63 bytes that Linux allows a label. One that shares the
    node's network is called as the node is."""
    if host_network(pod):
        return str(pod["spec"]["nodeName"])
    return str(pod["spec"].get("hostname") or name_of(pod))[:63].rstrip("-.")


def host_network(pod: Object) -> bool:
    """Whether the pod shares the node's network."""
    return bool(pod["spec"].get("hostNetwork"))


def grace_seconds(pod: Object) -> int:
    """Seconds from the stop signal to the kill: as the deletion asks, else as the spec says."""
    asked = pod["metadata"].get("deletionGracePeriodSeconds")
    if asked is None:
        asked = pod["spec"].get("terminationGracePeriodSeconds")
    return 30 if asked is None else max(int(asked), 1)


def exclusive(pod: Object) -> bool:
    """Whether the pod must never run twice, and so is fenced: StatefulSet members and pods that ask for it."""
    if (pod["metadata"].get("annotations") or {}).get("covey.dev/exclusive") == "true":
        return True
    owners = pod["metadata"].get("ownerReferences") or ()
    return any(o.get("controller") and o.get("kind") == "StatefulSet" for o in owners)

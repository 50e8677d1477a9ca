"""What a pod worker knows when it plans: frozen values only.

`Observed` is read anew before every plan. What the runtime's labels cannot tell (pulls under way, the last error, what
probes say) is the worker's memory; losing it costs a repeated attempt, never a wrong one. Pure.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from agents.node.ports import ContainerStatus, SandboxStatus, State
from mesh.objects.types import Object

IMAGE_LABEL = "dev.covey.image"
"""Label of a container: the image as its spec wrote it, to notice that the spec now wants another."""
IMAGE_ID_LABEL = "dev.covey.image-id"
"""Label of a container: what its status shows as imageID. The runtime may forget under which digest an image came."""


FRESH = timedelta(seconds=1)
"""For how long a failure is shown as the error itself, before it shows as waiting for its next try."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why the last attempt at something failed, in Kubernetes' reason and words, and when to try again."""

    reason: str
    message: str
    at: datetime
    retry_at: datetime


class Present(enum.Enum):
    """An image, for one container: it is there, or on its way."""

    PULLING = "pulling"
    READY = "ready"


@dataclass(frozen=True, slots=True)
class Health:
    """What probes say of one running container; `failed` names the probe that gave up on it."""

    started: bool = True
    ready: bool = True
    failed: str = ""
    """`liveness` or `startup`: the container has to be restarted. "" while it may go on."""
    grace_seconds: int | None = None
    """The failed probe's own terminationGracePeriodSeconds."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The end of a pod that the node itself decided: its status becomes Failed with these words."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Observed:
    """One pod's actual state on this node. Mappings are by container name, `health` by container id."""

    sandboxes: tuple[SandboxStatus, ...] = ()
    containers: tuple[ContainerStatus, ...] = ()
    addresses: tuple[str, ...] = ()
    """The running sandbox's addresses; empty until it is wired."""
    volumes_ready: bool = False
    images: Mapping[str, Present] = field(default_factory=dict)
    failures: Mapping[str, Failure] = field(default_factory=dict)
    pod_failure: Failure | None = None
    """Why sandbox, network or volumes could not be made."""
    health: Mapping[str, Health] = field(default_factory=dict)
    hooks: frozenset[str] = frozenset()
    """Ids of containers whose postStart hook has not returned."""
    broken_hooks: frozenset[str] = frozenset()
    """Ids of containers whose postStart hook failed: they have to be killed."""
    messages: Mapping[str, str] = field(default_factory=dict)
    """Termination messages of ended containers, by container id."""
    verdict: Verdict | None = None
    started_at: datetime | None = None
    """When this node took the pod on."""
    held: bool = False
    """The pod must never run twice and the node is out of touch: nothing may be started."""
    finished: bool = False
    """Everything that the pod had on the node has been torn down."""

    @property
    def sandbox(self) -> SandboxStatus | None:
        """The newest running sandbox, or None."""
        running = [s for s in self.sandboxes if s.state is State.RUNNING]
        return max(running, key=lambda s: s.created_at, default=None)

    def attempts(self, name: str) -> list[ContainerStatus]:
        """All containers that were made for the container called `name`, newest attempt first."""
        return sorted((c for c in self.containers if c.name == name), key=lambda c: c.attempt, reverse=True)

    def latest(self, name: str) -> ContainerStatus | None:
        """The newest container made for the container called `name`."""
        return max((c for c in self.containers if c.name == name), key=lambda c: c.attempt, default=None)

    @property
    def running(self) -> list[ContainerStatus]:
        """Containers that run, in whatever sandbox."""
        return [c for c in self.containers if c.state is State.RUNNING]


def failed_to_start(container: ContainerStatus) -> bool:
    """Whether the runtime could not start it: it never ran and will not."""
    return container.started_at is None and container.state is not State.RUNNING and bool(container.message)


def has_ended(container: ContainerStatus) -> bool:
    """Whether its process is over, or could never be started."""
    return container.state is State.EXITED or failed_to_start(container)


def exit_code(container: ContainerStatus) -> int:
    """Its exit code; a container that could not be started counts as 128 unless the runtime knows better."""
    return container.exit_code or 128 if failed_to_start(container) else container.exit_code


def health_of(container: ContainerStatus, spec: Object, observed: Observed) -> Health:
    """What probes say; before they have spoken, a probe that must first succeed has not."""
    known = observed.health.get(container.id)
    if known is not None:
        return known
    started = "startupProbe" not in spec
    return Health(started=started, ready=started and "readinessProbe" not in spec)

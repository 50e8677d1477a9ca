"""What a pod worker may do: frozen values with a sentence for people, carried out by `agents.node.executor`.

Every action is safe to repeat. `background` actions take long (a pull, a graceful stop) and run beside the worker's
queue under their `key`, at most one at a time each; all others are done in order. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class PrepareVolumes:
    """Make the pod's directories, hosts and resolv.conf, and fill its volumes."""

    def __str__(self) -> str:
        return "prepare volumes"


@dataclass(frozen=True, slots=True)
class CreateSandbox:
    """Create, start and wire the pod's sandbox."""

    changed: bool = False
    """An earlier sandbox of this pod is gone: containers start over."""

    def __str__(self) -> str:
        return "create sandbox"


@dataclass(frozen=True, slots=True)
class WireSandbox:
    """Give a running sandbox its address, or learn which it has."""

    sandbox_id: str

    def __str__(self) -> str:
        return f"wire sandbox {self.sandbox_id[:12]}"


@dataclass(frozen=True, slots=True)
class RemoveSandbox:
    """Kill and remove a sandbox and release its address."""

    sandbox_id: str

    def __str__(self) -> str:
        return f"remove sandbox {self.sandbox_id[:12]}"


@dataclass(frozen=True, slots=True)
class EnsureImage:
    """See to it that the container's image is present, as its pull policy says."""

    container: str

    def __str__(self) -> str:
        return f"ensure image of {self.container}"


@dataclass(frozen=True, slots=True)
class StartContainer:
    """Create and start attempt `attempt` of a container, then run its postStart hook."""

    container: str
    attempt: int
    sandbox_id: str
    delay_label: str
    """Value of its `backoff.DELAY_LABEL`."""

    def __str__(self) -> str:
        return f"start {self.container} (attempt {self.attempt})"


@dataclass(frozen=True, slots=True)
class StopContainer:
    """Run the preStop hook, send the stop signal, kill when `grace_seconds` are over. A shorter grace overtakes."""

    container: str
    container_id: str
    grace_seconds: int
    message: str
    """The Killing event's words."""
    hook: bool = True

    def __str__(self) -> str:
        return f"stop {self.container} within {self.grace_seconds}s: {self.message}"


@dataclass(frozen=True, slots=True)
class RemoveContainer:
    """Remove an ended container with its log."""

    container_id: str

    def __str__(self) -> str:
        return f"remove container {self.container_id[:12]}"


@dataclass(frozen=True, slots=True)
class TearDown:
    """Unmount and delete the pod's volumes, directories and cgroup."""

    def __str__(self) -> str:
        return "tear down volumes"


@dataclass(frozen=True, slots=True)
class DeletePod:
    """Tell the API that nothing is left on the node: delete with grace 0, under the pod's UID."""

    uid: str

    def __str__(self) -> str:
        return "delete pod"


Action: TypeAlias = (
    PrepareVolumes
    | CreateSandbox
    | WireSandbox
    | RemoveSandbox
    | EnsureImage
    | StartContainer
    | StopContainer
    | RemoveContainer
    | TearDown
    | DeletePod
)


def background_key(action: Action) -> str:
    """The key under which a long action runs beside the queue, "" for one that is done in order."""
    match action:
        case EnsureImage(container=name):
            return f"image:{name}"
        case StopContainer(container_id=container_id):
            return f"stop:{container_id}"
        case _:
            return ""


@dataclass(frozen=True, slots=True)
class PodPlan:
    """What to do now, in order, and when to plan again even if no doorbell rings."""

    actions: tuple[Action, ...] = ()
    again_at: datetime | None = None


NOTHING = PodPlan()

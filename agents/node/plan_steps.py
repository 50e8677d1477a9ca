"""The plan under construction, and the one step that all containers share: from not running to started.

Pure: `now` comes in as a value.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from agents.node import backoff
from agents.node.actions import Action, EnsureImage, PodPlan, StartContainer, StopContainer
from agents.node.observed import FRESH, IMAGE_LABEL, Observed, Present, failed_to_start, has_ended, health_of
from agents.node.observed import exit_code as code_of
from agents.node.podspec import grace_seconds, is_ephemeral, reported_statuses, restarts_after
from agents.node.ports import ContainerStatus, State
from mesh.objects.types import Object


@dataclass(slots=True)
class Steps:
    """Actions in order, and the earliest moment at which the plan has to be made again."""

    pod: Object
    observed: Observed
    now: datetime
    ready: bool
    """Sandbox, address and volumes are there: containers may start."""
    actions: list[Action] = field(default_factory=list)
    again_at: datetime | None = None

    def add(self, action: Action) -> None:
        """Append an action."""
        self.actions.append(action)

    def wake(self, moment: datetime | None) -> None:
        """Plan again no later than `moment`."""
        if moment is not None:
            self.again_at = moment if self.again_at is None else min(self.again_at, moment)

    def finish(self) -> PodPlan:
        """The plan as a value."""
        return PodPlan(tuple(self.actions), self.again_at)


def next_attempt(pod: Object, name: str, observed: Observed) -> int:
    """The attempt that follows what the runtime shows, or, when it shows nothing, what was last reported."""
    latest = observed.latest(name)
    if latest is not None:
        return latest.attempt + 1
    for known in reported_statuses(pod.get("status") or {}):
        if known.get("name") == name and known.get("containerID"):
            return int(known.get("restartCount") or 0) + 1
    return 0


def wants_restart(pod: Object, container: Object, latest: ContainerStatus | None) -> bool:
    """Whether a container that does not run has to be started, as the restart policy says.

    https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#restart-policy
    """
    if latest is None or not has_ended(latest):
        return True
    if is_ephemeral(pod, container):
        return False
    return image_changed(container, latest) or restarts_after(pod, container, code_of(latest))


def image_changed(container: Object, latest: ContainerStatus) -> bool:
    """Whether the spec names another image than the container was made from."""
    return latest.labels.get(IMAGE_LABEL, container["image"]) != str(container["image"])


def start(steps: Steps, container: Object) -> None:
    """Bring a container that does not run one step nearer to running: wait out its back-off, its image, start it."""
    name, observed = container["name"], steps.observed
    latest = observed.latest(name)
    sandbox = observed.sandbox
    failure = observed.failures.get(name)
    if failure is not None and steps.now < failure.at + FRESH:
        steps.wake(failure.at + FRESH)  # to be shown as waiting from then on
    half_made = latest is not None and latest.state is State.CREATED and not failed_to_start(latest)
    if latest is not None and has_ended(latest) and not image_changed(container, latest):
        moment = backoff.retry_at(latest)
        if moment is not None and steps.now < moment:
            steps.wake(moment)
            return
    if failure is not None and steps.now < failure.retry_at:
        steps.wake(failure.retry_at)
        return
    image = observed.images.get(name)
    if image is None:
        steps.add(EnsureImage(name))
    elif image is Present.READY and steps.ready and sandbox is not None:
        attempt = next_attempt(steps.pod, name, observed)
        previous = None if latest is None or image_changed(container, latest) else latest
        label = backoff.next_label(previous)
        if half_made and latest is not None and latest.sandbox_id == sandbox.id:
            # Created before the agent was interrupted: the runtime knows it again.
            attempt, label = latest.attempt, latest.labels.get(backoff.DELAY_LABEL, "0")
        steps.add(StartContainer(name, attempt, sandbox.id, label))


def keep_or_stop(steps: Steps, container: Object, running: ContainerStatus) -> bool:
    """Stop a running container that must not go on as it is; returns whether it may go on."""
    name, sandbox = container["name"], steps.observed.sandbox
    health = health_of(running, container, steps.observed)
    grace = grace_seconds(steps.pod)
    if sandbox is not None and running.sandbox_id != sandbox.id:
        message = "Pod sandbox changed, it will be killed and re-created."
    elif image_changed(container, running):
        message = f"Container {name} definition changed, will be restarted"
    elif health.failed:
        message = f"Container {name} failed {health.failed} probe, will be restarted"
        grace = grace if health.grace_seconds is None else health.grace_seconds
    elif running.id in steps.observed.broken_hooks:
        message = "FailedPostStartHook"
    else:
        return True
    steps.add(StopContainer(name, running.id, grace, message))
    return False

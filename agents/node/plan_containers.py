"""Which containers of a living pod to start or stop: init containers one after the other, then all app containers.

https://kubernetes.io/docs/concepts/workloads/pods/init-containers/ and .../sidecar-containers/. Pure.
"""

from __future__ import annotations

from agents.node.actions import RemoveContainer, StopContainer
from agents.node.observed import Observed, exit_code, has_ended, health_of
from agents.node.plan_steps import Steps, keep_or_stop, start, wants_restart
from agents.node.podspec import (
    app_containers,
    ephemeral_containers,
    grace_seconds,
    init_containers,
    is_sidecar,
    places,
    restarts_after,
)
from agents.node.ports import ContainerStatus, State
from mesh.objects.types import Object

KEPT_ATTEMPTS = 2
"""How many containers to keep for each name: the newest, and the one before for `logs --previous`."""


def in_sandbox(observed: Observed, name: str) -> ContainerStatus | None:
    """The newest container of that name made in the sandbox that runs now."""
    latest, sandbox = observed.latest(name), observed.sandbox
    return latest if latest is not None and sandbox is not None and latest.sandbox_id == sandbox.id else None


def initialized(pod: Object, observed: Observed) -> bool:
    """Whether app containers may start, or have started already, in the sandbox that runs now."""
    if any(in_sandbox(observed, c["name"]) is not None for c in app_containers(pod)):
        return True
    return all(_init_done(c, observed) for c in init_containers(pod))


def _init_done(container: Object, observed: Observed) -> bool:
    made = in_sandbox(observed, container["name"])
    if made is None:
        return False
    if is_sidecar(container):
        return made.state is State.RUNNING and _up(container, made, observed)
    return has_ended(made) and exit_code(made) == 0


def _up(container: Object, running: ContainerStatus, observed: Observed) -> bool:
    """Whether a sidecar counts as started: its hook has returned and its startup probe has passed."""
    return running.id not in observed.hooks and health_of(running, container, observed).started


def failed_init(pod: Object, observed: Observed) -> bool:
    """Whether an init container has failed for good, and the pod with it."""
    for container in init_containers(pod):
        made = observed.latest(container["name"])
        if made is None or not has_ended(made) or is_sidecar(container):
            continue
        if exit_code(made) != 0 and not restarts_after(pod, container, exit_code(made)):
            return True
    return False


def completed(pod: Object, observed: Observed) -> bool:
    """Whether the pod has done its work, well or badly: no app container will run again."""
    if failed_init(pod, observed):
        return True
    for container in app_containers(pod):
        latest = observed.latest(container["name"])
        if latest is None or wants_restart(pod, container, latest):
            return False
    return True


def plan_containers(steps: Steps) -> None:
    """All steps for the containers of a pod that is to live."""
    ready_for_apps = initialized(steps.pod, steps.observed)
    _plan_init(steps, ready_for_apps)
    if ready_for_apps:
        for container in app_containers(steps.pod):
            _advance(steps, container)
    for container in ephemeral_containers(steps.pod):
        _advance(steps, container)
    _prune(steps)


def _plan_init(steps: Steps, ready_for_apps: bool) -> None:
    for container in init_containers(steps.pod):
        made = in_sandbox(steps.observed, container["name"])
        if is_sidecar(container):
            _advance(steps, container)
            if ready_for_apps or (made is not None and _init_done(container, steps.observed)):
                continue
            return
        if ready_for_apps or _init_done(container, steps.observed):
            continue
        if made is None or made.state is not State.RUNNING:
            start(steps, container)
        return


def _advance(steps: Steps, container: Object) -> None:
    latest = steps.observed.latest(container["name"])
    if latest is not None and latest.state is State.RUNNING:
        keep_or_stop(steps, container, latest)
    elif wants_restart(steps.pod, container, latest):
        start(steps, container)


def _prune(steps: Steps) -> None:
    """Remove containers beyond those kept for each name, and all that the spec does not name."""
    known = {place.container["name"] for place in places(steps.pod)}
    for name in sorted({c.name for c in steps.observed.containers}):
        attempts = steps.observed.attempts(name)
        for old in attempts[KEPT_ATTEMPTS if name in known else 0 :]:
            if old.state is State.RUNNING:
                steps.add(StopContainer(name, old.id, grace_seconds(steps.pod), f"Stopping container {name}"))
            else:
                steps.add(RemoveContainer(old.id))

"""`containerStatuses`: what a runtime's container looks like in the API, in kubelet's reasons and words.

https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#ContainerStatus. Pure.
"""

from __future__ import annotations

from datetime import datetime

from agents.node import backoff
from agents.node.observed import (
    FRESH,
    IMAGE_ID_LABEL,
    Failure,
    Observed,
    exit_code,
    failed_to_start,
    has_ended,
    health_of,
)
from agents.node.plan_steps import image_changed, wants_restart
from agents.node.podspec import full_name, init_containers, is_ephemeral, is_sidecar, reported_statuses
from agents.node.ports import ContainerStatus, State
from mesh.objects.meta import format_time
from mesh.objects.types import Object

_NEVER = "1970-01-01T00:00:00Z"
IN_BACK_OFF = {"ErrImagePull": "ImagePullBackOff", "InvalidImageName": "InvalidImageName"}


def container_status(
    pod: Object, container: Object, observed: Observed, now: datetime, *, runtime: str, ending: bool
) -> Object:
    """The status of one container of the pod. `ending`: nothing will be started any more."""
    attempts = observed.attempts(container["name"])
    latest = attempts[0] if attempts else None
    reported = _reported(pod, container["name"])
    if latest is None and ending and "terminated" in reported.get("state", {}):
        return reported  # its container was removed since: how it ended is still true
    state, last = _states(pod, container, observed, now, runtime=runtime, ending=ending)
    running = latest is not None and "running" in state
    health = health_of(latest, container, observed) if latest is not None and running else None
    status: Object = {
        "name": container["name"],
        "state": state,
        "lastState": last,
        "ready": _ready(pod, container, state, ready=health is not None and health.started and health.ready),
        "restartCount": latest.attempt if latest is not None else int(reported.get("restartCount") or 0),
        "image": container["image"],
        "imageID": latest.labels.get(IMAGE_ID_LABEL, latest.image_id) if latest is not None else "",
        "started": health is not None and health.started,
    }
    if latest is not None:
        status["containerID"] = f"{runtime}://{latest.id}"
    if resources := container.get("resources"):
        status["resources"] = resources
        if requests := resources.get("requests"):
            status["allocatedResources"] = requests
    return status


def waiting(reason: str, message: str = "") -> Object:
    """A `state` that waits."""
    return {"waiting": {"reason": reason} | ({"message": message} if message else {})}


def terminated(container: ContainerStatus, observed: Observed, runtime: str) -> Object:
    """A `state` of a container that has ended."""
    code = exit_code(container)
    # One that never ran has, as with the kubelet, begun at the beginning of time; it ended when it could not be started.
    over = container.finished_at or (container.created_at if failed_to_start(container) else None)
    ended: Object = {
        "exitCode": code,
        "reason": _reason(container, code),
        "startedAt": format_time(container.started_at) if container.started_at else _NEVER,
        "finishedAt": format_time(over) if over else None,
        "containerID": f"{runtime}://{container.id}",
    }
    message = container.message if failed_to_start(container) else observed.messages.get(container.id, "")
    if message:
        ended["message"] = message
    if container.signal:
        ended["signal"] = container.signal
    return {"terminated": ended}


def _reason(container: ContainerStatus, code: int) -> str:
    if container.oom_killed:
        return "OOMKilled"
    if failed_to_start(container):
        return "StartError"
    return "Completed" if code == 0 else "Error"


def _states(
    pod: Object,
    container: Object,
    observed: Observed,
    now: datetime,
    *,
    runtime: str,
    ending: bool,
) -> tuple[Object, Object]:
    """`state` and `lastState`."""
    attempts = observed.attempts(container["name"])
    latest = attempts[0] if attempts else None
    before = attempts[1] if len(attempts) > 1 else None
    default = waiting("PodInitializing" if init_containers(pod) else "ContainerCreating")
    previous = terminated(before, observed, runtime) if before is not None and has_ended(before) else {}
    failure = None if ending else observed.failures.get(container["name"])
    if latest is None:
        return (_failed(container, failure, now) if failure else default), {}
    if latest.state is State.RUNNING:
        if latest.id in observed.hooks:
            return default, previous
        return {"running": {"startedAt": format_time(latest.started_at or latest.created_at or now)}}, previous
    if not has_ended(latest):
        return (_failed(container, failure, now) if failure else default), previous
    over = terminated(latest, observed, runtime)
    if ending or not wants_restart(pod, container, latest):
        return over, previous
    if failure is not None:
        return _failed(container, failure, now), over
    if (moment := backoff.retry_at(latest)) and now < moment and not image_changed(container, latest):
        delay = backoff.format_delay(backoff.delay_of(latest))
        words = f"back-off {delay} restarting failed container={container['name']} pod={full_name(pod)}"
        return waiting("CrashLoopBackOff", words), over
    return over, previous


def _failed(container: Object, failure: Failure, now: datetime) -> Object:
    """Waiting because of a failure; a failed pull shows itself first and its back-off afterwards."""
    if failure.reason in IN_BACK_OFF and now >= failure.at + FRESH:
        message = failure.message
        if failure.reason == "ErrImagePull":
            message = f'Back-off pulling image "{container["image"]}": ErrImagePull: {failure.message}'
        return waiting(IN_BACK_OFF[failure.reason], message)
    return waiting(failure.reason, failure.message)


def _ready(pod: Object, container: Object, state: Object, *, ready: bool) -> bool:
    """An init container is ready once it has succeeded, an ephemeral one never; all others while they run and their
    probes agree."""
    if is_ephemeral(pod, container):
        return False
    if container in init_containers(pod) and not is_sidecar(container):
        return bool("terminated" in state and state["terminated"]["exitCode"] == 0)
    return ready


def _reported(pod: Object, name: str) -> Object:
    """What the API shows of a container; empty when it shows nothing."""
    shown = reported_statuses(pod.get("status") or {})
    return next((dict(known) for known in shown if known.get("name") == name), {})

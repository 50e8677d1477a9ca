"""How a pod ends: app containers first, then sidecars in reverse order, then everything it had on the node.

https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-termination. Pure.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from agents.node.actions import DeletePod, RemoveContainer, RemoveSandbox, StopContainer, TearDown
from agents.node.observed import Observed, Verdict
from agents.node.plan_containers import completed
from agents.node.plan_steps import Steps
from agents.node.podspec import grace_seconds, sidecars
from mesh.objects.meta import is_deleting, parse_time, uid_of
from mesh.objects.types import Object

SHORTEST_GRACE = 2
"""Seconds that a sidecar gets even when the pod's grace period is used up."""


def deadline(pod: Object, observed: Observed) -> datetime | None:
    """When activeDeadlineSeconds ends the pod, or None."""
    seconds = pod["spec"].get("activeDeadlineSeconds")
    if seconds is None or observed.started_at is None:
        return None
    return observed.started_at + timedelta(seconds=int(seconds))


def verdict_of(pod: Object, observed: Observed, now: datetime) -> Verdict | None:
    """Why the node itself ends the pod, or None."""
    if observed.verdict is not None:
        return observed.verdict
    moment = deadline(pod, observed)
    if moment is not None and now >= moment and not completed(pod, observed):
        return Verdict("DeadlineExceeded", "Pod was active on the node longer than the specified deadline")
    return None


def reported_terminal(pod: Object) -> bool:
    """Whether the API already shows the pod as Succeeded or Failed: there is no way back."""
    return (pod.get("status") or {}).get("phase") in {"Succeeded", "Failed"}


def must_end(pod: Object, observed: Observed, now: datetime, *, gone: bool) -> bool:
    """Whether nothing of this pod may be started any more."""
    return (
        gone
        or is_deleting(pod)
        or reported_terminal(pod)
        or verdict_of(pod, observed, now) is not None
        or completed(pod, observed)
    )


def plan_termination(steps: Steps, *, gone: bool) -> None:
    """The next stage of the ending: stop what runs; when nothing does, release what is held."""
    observed, pod = steps.observed, steps.pod
    if observed.running:
        _stop(steps)
        return
    deleting = gone or is_deleting(pod)
    if deleting:
        for container in observed.containers:
            steps.add(RemoveContainer(container.id))
    for sandbox in observed.sandboxes:
        steps.add(RemoveSandbox(sandbox.id))
    if not observed.finished:
        steps.add(TearDown())
    if deleting and not gone:
        steps.add(DeletePod(uid_of(pod)))


def _stop(steps: Steps) -> None:
    """Stop app containers; once they have ended, the last sidecar that still runs."""
    order = [c["name"] for c in sidecars(steps.pod)]
    others = [c for c in steps.observed.running if c.name not in order]
    grace = grace_seconds(steps.pod)
    for container in others:
        steps.add(StopContainer(container.name, container.id, grace, f"Stopping container {container.name}"))
    if others:
        return
    last = max(steps.observed.running, key=lambda c: (order.index(c.name), c.attempt))
    left = min(grace, _time_left(steps.pod, steps.now, grace))
    steps.add(StopContainer(last.name, last.id, left, f"Stopping container {last.name}"))


def _time_left(pod: Object, now: datetime, grace: int) -> int:
    """Whole seconds until the deletion's deadline, but never less than a sidecar needs to say goodbye."""
    stamp = pod["metadata"].get("deletionTimestamp")
    if stamp is None:
        return grace
    return max(int((parse_time(stamp) - now).total_seconds()), SHORTEST_GRACE)

"""What controllers need to know of a pod's state. Pure.

Words and rules: Kubernetes' pkg/api/v1/pod/util.go and pkg/controller/controller_utils.go.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta

from mesh.objects.meta import annotations_of, controller_of, is_deleting, parse_time, uid_of
from mesh.objects.types import Object

_DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
_EXCLUSIVE = "covey.dev/exclusive"
_PHASES = {"Pending": 0, "Unknown": 1, "Running": 2}


def is_terminal(pod: Object) -> bool:
    """Whether it has ended for good."""
    return phase(pod) in {"Succeeded", "Failed"}


def is_active(pod: Object) -> bool:
    """Whether it runs or is going to: neither ended nor being deleted."""
    return not is_terminal(pod) and not is_deleting(pod)


def phase(pod: Object) -> str:
    """`status.phase`; "Pending" before anybody has written one."""
    return str(status_of(pod).get("phase") or "Pending")


def status_of(pod: Object) -> Object:
    """`status`, empty when absent."""
    return pod.get("status") or {}


def condition(pod: Object, kind: str) -> Object | None:
    """The condition of this type, or None."""
    for found in status_of(pod).get("conditions") or ():
        if found["type"] == kind:
            return dict(found)
    return None


def is_ready(pod: Object) -> bool:
    """Whether its Ready condition is True."""
    ready = condition(pod, "Ready")
    return ready is not None and ready["status"] == "True"


def ready_since(pod: Object) -> datetime | None:
    """When it became ready, if it is."""
    ready = condition(pod, "Ready")
    if ready is None or ready["status"] != "True" or not ready.get("lastTransitionTime"):
        return None
    return parse_time(ready["lastTransitionTime"])


def until_available(pod: Object, min_ready_seconds: int, now: datetime) -> timedelta | None:
    """How long a ready pod still has to stay ready until it counts as available (zero: it does); None if not ready."""
    if not is_ready(pod):
        return None
    if min_ready_seconds == 0:
        return timedelta()
    since = ready_since(pod)
    if since is None:
        return None
    return max(since + timedelta(seconds=min_ready_seconds) - now, timedelta())


def addresses(pod: Object) -> tuple[str, ...]:
    """Its addresses, the primary family first."""
    status = status_of(pod)
    found = [entry["ip"] for entry in status.get("podIPs") or () if entry.get("ip")]
    return tuple(found) or ((status["podIP"],) if status.get("podIP") else ())


def is_exclusive(pod: Object) -> bool:
    """Whether it must never run twice: a member of a StatefulSet, or one that asks for it by annotation."""
    owner = controller_of(pod)
    return (owner is not None and owner["kind"] == "StatefulSet") or annotations_of(pod).get(_EXCLUSIVE) == "true"


def victim_order(pod: Object, crowd: int, now: datetime) -> tuple[object, ...]:
    """Sort key: which pod of a ReplicaSet goes first when there are too many.

    Unassigned before assigned, pending before running, unready before ready, cheap before dear, those that share their
    node with many (`crowd`), the younger ones, those that restarted more. Ages count in powers of two, and within one
    power the UID decides, so that it is not always the newest that go. Source: ActivePodsWithRanks.
    """
    since = ready_since(pod)
    return (
        bool(pod["spec"].get("nodeName")),
        _PHASES.get(phase(pod), 2),
        is_ready(pod),
        _deletion_cost(pod),
        -crowd,
        _age_rank(since, now),
        -_restarts(pod),
        _age_rank(_created(pod), now),
        uid_of(pod),
    )


def _deletion_cost(pod: Object) -> int:
    text = annotations_of(pod).get(_DELETION_COST, "0")
    try:
        return int(text)
    except ValueError:
        return 0


def _created(pod: Object) -> datetime | None:
    text = pod["metadata"].get("creationTimestamp")
    return parse_time(text) if text else None


def _age_rank(moment: datetime | None, now: datetime) -> int:
    """The logarithm of an age: 0 for the youngest."""
    if moment is None or now <= moment:
        return 0
    return int(math.log2((now - moment).total_seconds() + 1)) + 1


def _restarts(pod: Object) -> int:
    return max((c.get("restartCount", 0) for c in status_of(pod).get("containerStatuses") or ()), default=0)

"""Lists of conditions, as status holds them. Pure; they return new lists.

Rules: `lastTransitionTime` moves only when `status` does (SetDeploymentCondition and its siblings in Kubernetes).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from mesh.objects.meta import format_time
from mesh.objects.types import Object


def find(conditions: Sequence[Object], kind: str) -> Object | None:
    """The condition of this type, or None."""
    return next((c for c in conditions if c["type"] == kind), None)


def without(conditions: Sequence[Object], kind: str) -> list[Object]:
    """All but the condition of this type."""
    return [c for c in conditions if c["type"] != kind]


def put(
    conditions: Sequence[Object], kind: str, status: str, *, reason: str, message: str, now: datetime, stamp: str = ""
) -> list[Object]:
    """With the condition set. One of equal status and reason is kept as it is, message and times included.

    `stamp` names a further time field that tells of the last write: "lastUpdateTime" (Deployment).
    """
    old = find(conditions, kind)
    if old is not None and old["status"] == status and old.get("reason") == reason:
        return list(conditions)
    new = make(old, kind, status, reason=reason, message=message, now=now, stamp=stamp)
    return [*without(conditions, kind), new]


def make(
    old: Object | None, kind: str, status: str, *, reason: str, message: str, now: datetime, stamp: str = ""
) -> Object:
    """A condition that takes the place of `old`, with its transition time if the status stays."""
    moment = format_time(now)
    kept = old.get("lastTransitionTime") if old is not None and old["status"] == status else None
    made = {"type": kind, "status": status}
    if stamp:
        made[stamp] = moment
    return made | {"lastTransitionTime": kept or moment, "reason": reason, "message": message}

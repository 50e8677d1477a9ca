"""Taints of nodes and how long pods bear them. Pure.

Source: Kubernetes' pkg/controller/nodelifecycle (which taints), pkg/controller/tainteviction and
staging/src/k8s.io/api/core/v1/toleration.go (what tolerates what).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, timedelta

from mesh.objects.meta import format_time, parse_time
from mesh.objects.types import Object

NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"
_UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
_PRESSURES = {
    "MemoryPressure": "node.kubernetes.io/memory-pressure",
    "DiskPressure": "node.kubernetes.io/disk-pressure",
    "PIDPressure": "node.kubernetes.io/pid-pressure",
    "NetworkUnavailable": "node.kubernetes.io/network-unavailable",
}
_OURS = {NOT_READY, UNREACHABLE, _UNSCHEDULABLE, *_PRESSURES.values()}


def of(node: Object) -> list[Object]:
    """`spec.taints`."""
    return (node.get("spec") or {}).get("taints") or []


def has(node: Object, key: str, effect: str) -> bool:
    """Whether the node has that taint."""
    return any(taint["key"] == key and taint["effect"] == effect for taint in of(node))


def ready_status(node: Object) -> str:
    """The status of the Ready condition; "Unknown" without one."""
    found = (node.get("status") or {}).get("conditions") or ()
    return next((str(c["status"]) for c in found if c["type"] == "Ready"), "Unknown")


def wanted(node: Object, now: datetime, *, execute: bool) -> list[Object]:
    """The taints the node should have: those of others as they are, and ours as its conditions say.

    `execute` says whether a node that is not ready gets the NoExecute taint that drives its pods away.
    """
    conditions = {c["type"]: c["status"] for c in (node.get("status") or {}).get("conditions") or ()}
    causes = {"False": NOT_READY, "Unknown": UNREACHABLE}
    cause = causes.get(ready_status(node))
    keys = [key for kind, key in _PRESSURES.items() if conditions.get(kind) == "True"]
    if (node.get("spec") or {}).get("unschedulable"):
        keys.append(_UNSCHEDULABLE)
    if cause is not None:
        keys.append(cause)
    pairs = [(key, "NoSchedule") for key in keys]
    if cause is not None and execute:
        pairs.append((cause, "NoExecute"))
    kept = [t for t in of(node) if t["key"] not in _OURS or (t["key"], t["effect"]) in pairs]
    there = {(t["key"], t["effect"]) for t in kept}
    return kept + [_taint(key, effect, now) for key, effect in pairs if (key, effect) not in there]


def _taint(key: str, effect: str, now: datetime) -> Object:
    return {"key": key, "effect": effect, "timeAdded": format_time(now)}


def tolerates(toleration: Object, taint: Object) -> bool:
    """Whether one toleration covers one taint: empty effect and key stand for all, Exists for any value."""
    if toleration.get("effect") and toleration["effect"] != taint["effect"]:
        return False
    if toleration.get("key") and toleration["key"] != taint["key"]:
        return False
    operator = toleration.get("operator") or "Equal"
    if operator == "Exists":
        return True
    return bool(toleration.get("key")) and (toleration.get("value") or "") == (taint.get("value") or "")


def until_eviction(pod: Object, taints: Sequence[Object], now: datetime) -> timedelta | None:
    """How long a pod may still stay under these NoExecute taints: zero when it has to go now, None for ever."""
    waits: list[float] = []
    for taint in taints:
        covering = [t for t in pod["spec"].get("tolerations") or () if tolerates(t, taint)]
        if not covering:
            return timedelta()
        seconds = min((_seconds(t) for t in covering), default=math.inf)
        if math.isfinite(seconds):
            since = parse_time(taint["timeAdded"]) if taint.get("timeAdded") else now
            waits.append(max((since + timedelta(seconds=seconds) - now).total_seconds(), 0.0))
    return timedelta(seconds=min(waits)) if waits else None


def _seconds(toleration: Object) -> float:
    """`tolerationSeconds`: absent is for ever, negative is not at all."""
    given = toleration.get("tolerationSeconds")
    return math.inf if given is None else max(float(given), 0.0)

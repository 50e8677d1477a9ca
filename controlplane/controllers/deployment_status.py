"""A Deployment's status: counts, and the conditions Available, Progressing and ReplicaFailure. Pure.

Reasons and sentences: Kubernetes' pkg/controller/deployment/progress.go and util/deployment_util.go.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from controlplane.controllers import conditions
from controlplane.controllers.deployment_sizes import available, bounds_of, total
from mesh.objects.meta import name_of, parse_time
from mesh.objects.types import Object
from mesh.plan.actions import Create
from mesh.plan.controller import Failure

_NO_DEADLINE = 2**31 - 1
_STAMP = "lastUpdateTime"


def counts(deployment: Object, new_set: Object | None, all_sets: Sequence[Object], now: datetime) -> Object:
    """The status as the ReplicaSets show it, with the conditions as they are but for Available."""
    old = deployment.get("status") or {}
    there = sum(available(rs) for rs in all_sets)
    numbers = {
        "replicas": _sum(all_sets, "replicas"),
        "updatedReplicas": 0 if new_set is None else _sum([new_set], "replicas"),
        "readyReplicas": _sum(all_sets, "readyReplicas"),
        "availableReplicas": there,
        "unavailableReplicas": max(total(all_sets) - there, 0),
    }
    status: Object = {"observedGeneration": deployment["metadata"].get("generation", 0)}
    status |= {name: number for name, number in numbers.items() if number}
    status["terminatingReplicas"] = _sum(all_sets, "terminatingReplicas")
    if old.get("collisionCount"):
        status["collisionCount"] = old["collisionCount"]
    enough = there >= bounds_of(deployment).least_available
    status["conditions"] = conditions.put(
        old.get("conditions") or [],
        "Available",
        "True" if enough else "False",
        reason="MinimumReplicasAvailable" if enough else "MinimumReplicasUnavailable",
        message=f"Deployment {'has' if enough else 'does not have'} minimum availability.",
        now=now,
        stamp=_STAMP,
    )
    return status


def rollout(deployment: Object, new_set: Object | None, all_sets: Sequence[Object], now: datetime) -> Object:
    """The status with the rollout's progress in it."""
    status = counts(deployment, new_set, all_sets, now)
    found = status["conditions"]
    if not has_deadline(deployment):
        found = conditions.without(found, "Progressing")
    elif not _was_complete(deployment, status):
        found = _progressing(deployment, status, new_set, now)
    status["conditions"] = _replica_failure(found, new_set, all_sets, now)
    return status


def _progressing(deployment: Object, status: Object, new_set: Object | None, now: datetime) -> list[Object]:
    """The conditions with Progressing set as the step from the last status to this one shows."""
    found: list[Object] = status["conditions"]
    old = conditions.find(found, "Progressing")
    subject = f'Deployment "{name_of(deployment)}"' if new_set is None else f'ReplicaSet "{name_of(new_set)}"'
    if old is None and new_set is not None:
        reason, message = "FoundNewReplicaSet", f'Found new replica set "{name_of(new_set)}"'
        found = conditions.put(found, "Progressing", "True", reason=reason, message=message, now=now, stamp=_STAMP)
    if is_complete(deployment, status):
        reason, message = "NewReplicaSetAvailable", f"{subject} has successfully progressed."
        return conditions.put(found, "Progressing", "True", reason=reason, message=message, now=now, stamp=_STAMP)
    if _has_progressed(deployment.get("status") or {}, status):
        # Written anew each time: the deadline counts from the last progress.
        reason, message = "ReplicaSetUpdated", f"{subject} is progressing."
        made = conditions.make(old, "Progressing", "True", reason=reason, message=message, now=now, stamp=_STAMP)
        return [*conditions.without(found, "Progressing"), made]
    if _timed_out(deployment, old, now):
        reason, message = "ProgressDeadlineExceeded", f"{subject} has timed out progressing."
        return conditions.put(found, "Progressing", "False", reason=reason, message=message, now=now, stamp=_STAMP)
    return found


def with_progress(status: Object, state: str, *, reason: str, message: str, now: datetime) -> Object:
    """The status with the condition Progressing set to `state`."""
    found = status.get("conditions") or []
    found = conditions.put(found, "Progressing", state, reason=reason, message=message, now=now, stamp=_STAMP)
    return {**status, "conditions": found}


def _replica_failure(
    found: list[Object], new_set: Object | None, sets: Sequence[Object], now: datetime
) -> list[Object]:
    """The conditions with ReplicaFailure as the new ReplicaSet, or else an old one, reports it."""
    candidates = [*([new_set] if new_set is not None else []), *sets]
    reports = [conditions.find((rs.get("status") or {}).get("conditions") or [], "ReplicaFailure") for rs in candidates]
    cause = next((condition for condition in reports if condition is not None), None)
    if cause is None:
        return conditions.without(found, "ReplicaFailure")
    reason, message = cause["reason"], cause["message"]
    return conditions.put(
        found, "ReplicaFailure", cause["status"], reason=reason, message=message, now=now, stamp=_STAMP
    )


def with_creation_failure(status: Object, failure: Failure | None, now: datetime) -> Object:
    """The status with our own failure to create the new ReplicaSet in it, if that is what went wrong."""
    if failure is None or not isinstance(failure.action, Create):
        return status
    name = failure.action.object["metadata"]["name"]
    message = f'Failed to create new replica set "{name}": {failure.message}'
    return with_progress(status, "False", reason="ReplicaSetCreateError", message=message, now=now)


def has_deadline(deployment: Object) -> bool:
    """Whether progress is watched."""
    return deployment["spec"].get("progressDeadlineSeconds") not in {None, _NO_DEADLINE}


def is_complete(deployment: Object, status: Object) -> bool:
    """Whether all replicas are of the new template and available."""
    wanted = int(deployment["spec"].get("replicas", 1))
    return bool(
        all(status.get(name, 0) == wanted for name in ("updatedReplicas", "replicas", "availableReplicas"))
        and status.get("observedGeneration", 0) >= deployment["metadata"].get("generation", 0)
    )


def until_deadline(deployment: Object, status: Object, now: datetime) -> timedelta | None:
    """When to look again whether the rollout is stuck; None when there is nothing to watch for."""
    found = conditions.find(status.get("conditions") or [], "Progressing")
    if found is None or not has_deadline(deployment) or is_complete(deployment, status):
        return None
    if found["reason"] in {"ProgressDeadlineExceeded", "NewReplicaSetAvailable"}:
        return None
    return max(_deadline(deployment, found) - now, timedelta()) + timedelta(seconds=1)


def _deadline(deployment: Object, progressing: Object) -> datetime:
    since = parse_time(progressing.get(_STAMP) or progressing["lastTransitionTime"])
    return since + timedelta(seconds=int(deployment["spec"]["progressDeadlineSeconds"]))


def _timed_out(deployment: Object, progressing: Object | None, now: datetime) -> bool:
    if progressing is None or progressing["reason"] == "NewReplicaSetAvailable":
        return False
    return progressing["reason"] == "ProgressDeadlineExceeded" or _deadline(deployment, progressing) < now


def _was_complete(deployment: Object, status: Object) -> bool:
    """Whether this rollout has been declared complete before: pods that fail later do not make it progress again."""
    old = conditions.find((deployment.get("status") or {}).get("conditions") or [], "Progressing")
    same = status.get("replicas", 0) == status.get("updatedReplicas", 0)
    return same and old is not None and old["reason"] == "NewReplicaSetAvailable"


def _has_progressed(old: Object, new: Object) -> bool:
    """More new pods, fewer old ones, or more that are ready or available."""

    def outdated(status: Object) -> int:
        return int(status.get("replicas", 0)) - int(status.get("updatedReplicas", 0))

    grown = ("updatedReplicas", "readyReplicas", "availableReplicas")
    return any(new.get(name, 0) > old.get(name, 0) for name in grown) or outdated(new) < outdated(old)


def _sum(sets: Sequence[Object], name: str) -> int:
    return sum(int((rs.get("status") or {}).get(name) or 0) for rs in sets)

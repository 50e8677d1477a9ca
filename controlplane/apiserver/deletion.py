"""What deleting an object means: remove it now, mark it and wait for somebody, or nothing new. Pure.

Source: `BeforeDelete` and `deletionFinalizersForGarbageCollection` of k8s.io/apiserver/pkg/registry, and the namespace
registry of Kubernetes (a namespace waits for `spec.finalizers` as well).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from controlplane.apiserver import refusals
from controlplane.apiserver.strategies.strategy import Strategy
from mesh.errors import BadRequest, Cause
from mesh.objects.kinds import NAMESPACES
from mesh.objects.meta import format_time, parse_time
from mesh.objects.types import Object

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"
_POLICIES = ("Foreground", "Background", "Orphan")
_LONGEST_GRACE = 2**31 - 1
"""Seconds; with more the end would lie beyond what a timestamp can say."""


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    """`meta.k8s.io/v1 DeleteOptions`. `propagation` is "" when the client leaves it to the server."""

    grace_period_seconds: int | None = None
    propagation: str = ""
    uid: str = ""
    resource_version: str = ""
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Remove:
    """Nothing holds the object: delete it from the store."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Somebody has work to do first: store the object so, with its deletionTimestamp."""

    object: Object


@dataclass(frozen=True, slots=True)
class AlreadyMarked:
    """The deletion that is under way covers this one."""


Decision = Remove | Mark | AlreadyMarked


def options_of(body: Object, query: dict[str, str]) -> DeleteOptions:
    """The options in a DELETE's body, or else in its query; raises `BadRequest` or `Invalid`."""
    given = body or {
        k: v for k, v in query.items() if k in {"gracePeriodSeconds", "propagationPolicy", "orphanDependents"}
    }
    grace = given.get("gracePeriodSeconds")
    try:
        grace = None if grace is None else int(grace)
    except (TypeError, ValueError) as error:
        raise BadRequest(f"gracePeriodSeconds: {grace!r} is not an integer") from error
    policy = given.get("propagationPolicy") or ""
    if policy and policy not in _POLICIES:
        supported = ", ".join(f'"{p}"' for p in (*_POLICIES, "nil"))
        told = f'Unsupported value: "{policy}": supported values: {supported}'
        raise refusals.bad_options("DeleteOptions", Cause("propagationPolicy", "FieldValueNotSupported", told))
    orphan = given.get("orphanDependents")
    if orphan is not None and not policy:
        policy = "Orphan" if orphan in {True, "true", "1"} else "Background"
    preconditions = given.get("preconditions") or {}
    if not isinstance(preconditions, dict):
        raise BadRequest("preconditions: expected an object")
    dry_run = given.get("dryRun") or ([query["dryRun"]] if query.get("dryRun") else [])
    check_dry_run(dry_run, "DeleteOptions")
    return DeleteOptions(
        grace,
        policy,
        str(preconditions.get("uid") or ""),
        str(preconditions.get("resourceVersion") or ""),
        bool(dry_run),
    )


def check_dry_run(values: list[str], kind: str) -> None:
    """Only "All" may be asked for; raises `Invalid`."""
    for value in values:
        if value != "All":
            told = f'Unsupported value: "{value}": supported values: "All"'
            raise refusals.bad_options(kind, Cause("dryRun", "FieldValueNotSupported", told))


def decide(obj: Object, strategy: Strategy, options: DeleteOptions, now: datetime) -> Decision:
    """What a DELETE of `obj` does. `obj` is not changed."""
    finalizers = _finalizers(obj, options.propagation)
    requested = options.grace_period_seconds
    if requested is not None and requested < 0:
        requested = 1
    grace = min(strategy.grace_period(obj, requested), _LONGEST_GRACE) if strategy.grace_period else 0
    metadata = obj["metadata"]
    if "deletionTimestamp" in metadata:
        return _again(obj, finalizers, grace, requested)
    if grace == 0 and not finalizers and not _held(obj):
        return Remove()
    marked = _with_finalizers(obj, finalizers)
    marked["metadata"]["deletionTimestamp"] = format_time(now + timedelta(seconds=grace))
    marked["metadata"]["deletionGracePeriodSeconds"] = grace
    if metadata.get("generation"):
        marked["metadata"]["generation"] = metadata["generation"] + 1
    if obj["kind"] == NAMESPACES.kind:
        marked["status"] = {**(obj.get("status") or {}), "phase": "Terminating"}
    return Mark(marked)


def _again(obj: Object, finalizers: list[str], grace: int, requested: int | None) -> Decision:
    """The object is being deleted already: a shorter grace period or other finalizers may still be asked for."""
    metadata = obj["metadata"]
    running = metadata.get("deletionGracePeriodSeconds") or 0
    shorter = requested is not None and grace < running
    if not finalizers and not _held(obj) and (running == 0 or (shorter and grace == 0)):
        return Remove()
    same = finalizers == (metadata.get("finalizers") or [])
    if same and not shorter:
        return AlreadyMarked()
    marked = _with_finalizers(obj, finalizers)
    if shorter:
        end = parse_time(metadata["deletionTimestamp"]) - timedelta(seconds=running - grace)
        marked["metadata"]["deletionTimestamp"] = format_time(end)
        marked["metadata"]["deletionGracePeriodSeconds"] = grace
    return Mark(marked)


def _with_finalizers(obj: Object, finalizers: list[str]) -> Object:
    metadata = {k: v for k, v in obj["metadata"].items() if k != "finalizers"}
    if finalizers:
        metadata["finalizers"] = finalizers
    return {**obj, "metadata": metadata}


def _finalizers(obj: Object, propagation: str) -> list[str]:
    """The object's finalizers with those of the garbage collector as the propagation policy wants them."""
    present: list[str] = obj["metadata"].get("finalizers") or []
    if not propagation:
        return list(present)
    kept = [f for f in present if f not in {FOREGROUND, ORPHAN}]
    if propagation == "Foreground":
        kept.append(FOREGROUND)
    elif propagation == "Orphan":
        kept.append(ORPHAN)
    return kept


def _held(obj: Object) -> bool:
    """Whether a namespace still waits for its own finalization."""
    return obj["kind"] == NAMESPACES.kind and bool((obj.get("spec") or {}).get("finalizers"))


def finished(obj: Object) -> bool:
    """Whether an update has taken away the last thing that held an object under deletion."""
    metadata = obj["metadata"]
    return (
        "deletionTimestamp" in metadata
        and not metadata.get("finalizers")
        and not (metadata.get("deletionGracePeriodSeconds") or 0)
        and not _held(obj)
    )

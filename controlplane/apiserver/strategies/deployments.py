"""Deployments: declared as Kubernetes' pkg/registry/apps/deployment/strategy.go does."""

from __future__ import annotations

from controlplane.apiserver.strategies import causes
from controlplane.apiserver.strategies.pod_defaults import default_template
from controlplane.apiserver.strategies.replicasets import SCALE
from controlplane.apiserver.strategies.strategy import Strategy, UpdateRule
from controlplane.apiserver.strategies.workload_validation import (
    validate_selector,
    validate_status_counts,
    validate_workload_template,
)
from controlplane.apiserver.strategies.writing import (
    create_workload,
    keep,
    keep_spec,
    non_negative_fields,
    update_workload,
)
from mesh.errors import Cause
from mesh.objects import kinds, names
from mesh.objects.types import Json, Object

_STATUS_COUNTS = (
    "observedGeneration", "replicas", "updatedReplicas", "readyReplicas", "availableReplicas", "unavailableReplicas",
    "terminatingReplicas", "collisionCount",
)  # fmt: skip


def _default(deployment: Object) -> None:
    spec = deployment.setdefault("spec", {})
    spec.setdefault("replicas", 1)
    strategy = spec.setdefault("strategy", {})
    strategy["type"] = strategy.get("type") or "RollingUpdate"
    if strategy["type"] == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", "25%")
        rolling.setdefault("maxSurge", "25%")
    spec.setdefault("revisionHistoryLimit", 10)
    spec.setdefault("progressDeadlineSeconds", 600)
    default_template(spec.setdefault("template", {}))


def _validate(deployment: Object) -> list[Cause]:
    spec = deployment["spec"]
    found = non_negative_fields(spec, ("replicas",), "spec")
    selector, wrong = validate_selector(spec, "spec", "deployment")
    found += wrong
    found += validate_workload_template(spec, selector, "spec.template", "ReplicaSet")
    found += _validate_strategy(spec.get("strategy") or {}, "spec.strategy")
    found += non_negative_fields(spec, ("minReadySeconds", "revisionHistoryLimit"), "spec")
    deadline = spec.get("progressDeadlineSeconds")
    if deadline is not None:
        found += non_negative_fields(spec, ("progressDeadlineSeconds",), "spec")
        if deadline <= spec.get("minReadySeconds", 0):
            sentence = "must be greater than minReadySeconds"
            found.append(causes.invalid("spec.progressDeadlineSeconds", deadline, sentence))
    return found


def _validate_strategy(strategy: Object, path: str) -> list[Cause]:
    kind, rolling = strategy.get("type", ""), strategy.get("rollingUpdate")
    if kind == "Recreate":
        if rolling is None:
            return []
        return [causes.forbidden(f"{path}.rollingUpdate", "may not be specified when strategy `type` is 'Recreate'")]
    if kind != "RollingUpdate":
        return [causes.unsupported(path, strategy, ("Recreate", "RollingUpdate"))]
    if rolling is None:
        return [causes.required(f"{path}.rollingUpdate", "this should be defaulted and never be nil")]
    found: list[Cause] = []
    unavailable, surge = rolling.get("maxUnavailable", 0), rolling.get("maxSurge", 0)
    found += _validate_int_or_percent(unavailable, f"{path}.rollingUpdate.maxUnavailable")
    found += _validate_int_or_percent(surge, f"{path}.rollingUpdate.maxSurge")
    if _is_zero(unavailable) and _is_zero(surge):
        sentence = "may not be 0 when `maxSurge` is 0"
        found.append(causes.invalid(f"{path}.rollingUpdate.maxUnavailable", unavailable, sentence))
    if isinstance(unavailable, str) and not names.percent(unavailable) and int(unavailable[:-1]) > 100:
        sentence = "must not be greater than 100%"
        found.append(causes.invalid(f"{path}.rollingUpdate.maxUnavailable", unavailable, sentence))
    return found


def _validate_int_or_percent(value: Json, path: str) -> list[Cause]:
    if isinstance(value, str):
        return causes.each(path, value, names.percent(value))
    return [] if value >= 0 else [causes.invalid(path, value, "must be greater than or equal to 0")]


def _is_zero(value: Json) -> bool:
    return value in {0, "0%"} or (isinstance(value, str) and value.rstrip("%").strip("0") == "")


def _validate_update(new: Object, old: Object) -> list[Cause]:
    selector = new["spec"].get("selector")
    return _validate(new) + causes.immutable("spec.selector", selector, old["spec"].get("selector"))


def _prepare_update(new: Object, old: Object) -> None:
    update_workload(new, old)
    # An annotation can ask for a rollback or explain a change, so it counts as a change of what is desired.
    changed = new["metadata"].get("annotations") != old["metadata"].get("annotations")
    if changed and new["metadata"]["generation"] == old["metadata"].get("generation", 0):
        new["metadata"]["generation"] += 1


def _prepare_status(new: Object, old: Object) -> None:
    keep_spec(new, old)
    keep("labels", new["metadata"], old["metadata"])


def _validate_status(new: Object, old: Object) -> list[Cause]:
    status = new.get("status") or {}
    found = non_negative_fields(status, _STATUS_COUNTS, "status")
    found += validate_status_counts(status, ("updatedReplicas", "readyReplicas", "availableReplicas"))
    before = (old.get("status") or {}).get("collisionCount")
    if before is not None and status.get("collisionCount", -1) < before:
        value = status.get("collisionCount")
        found.append(causes.invalid("status.collisionCount", value, "cannot be decremented"))
    return found


STRATEGY = Strategy(
    resource=kinds.DEPLOYMENTS,
    default=_default,
    prepare=create_workload,
    validate=_validate,
    updates={
        "": UpdateRule(prepare=_prepare_update, validate=_validate_update),
        "status": UpdateRule(prepare=_prepare_status, validate=_validate_status),
    },
    scale=SCALE,
)

"""ReplicaSets: declared as Kubernetes' pkg/registry/apps/replicaset/strategy.go does."""

from __future__ import annotations

from controlplane.apiserver.strategies import causes
from controlplane.apiserver.strategies.pod_defaults import default_template
from controlplane.apiserver.strategies.strategy import ScaleRule, Strategy, UpdateRule
from controlplane.apiserver.strategies.workload_validation import (
    validate_selector,
    validate_status_counts,
    validate_workload_template,
)
from controlplane.apiserver.strategies.writing import (
    create_workload,
    keep_spec,
    non_negative_fields,
    update_workload,
)
from mesh.errors import Cause
from mesh.objects import kinds, labels
from mesh.objects.types import Object

_STATUS_COUNTS = ("replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas", "observedGeneration")


def _default(replica_set: Object) -> None:
    spec = replica_set.setdefault("spec", {})
    spec.setdefault("replicas", 1)
    default_template(spec.setdefault("template", {}))


def _validate(replica_set: Object) -> list[Cause]:
    spec = replica_set["spec"]
    found = non_negative_fields(spec, ("replicas", "minReadySeconds"), "spec")
    selector, wrong = validate_selector(spec, "spec", "replicaset")
    found += wrong
    return found + validate_workload_template(spec, selector, "spec.template", "ReplicaSet")


def _validate_update(new: Object, old: Object) -> list[Cause]:
    selector = new["spec"].get("selector")
    return _validate(new) + causes.immutable("spec.selector", selector, old["spec"].get("selector"))


def _validate_status(new: Object, _old: Object) -> list[Cause]:
    status = new.get("status") or {}
    found = non_negative_fields(status, _STATUS_COUNTS, "status")
    found += validate_status_counts(status, ("fullyLabeledReplicas", "readyReplicas", "availableReplicas"))
    return found


def set_replicas(obj: Object, count: int) -> None:
    """Change `spec.replicas` in place."""
    obj["spec"]["replicas"] = count


SCALE = ScaleRule(
    replicas=lambda obj: int(obj["spec"].get("replicas", 1)),
    status_replicas=lambda obj: int((obj.get("status") or {}).get("replicas", 0)),
    selector=lambda obj: str(labels.from_object(obj["spec"].get("selector"))),
    set_replicas=set_replicas,
)
"""The scale of everything that has `spec.replicas` and a label selector."""

STRATEGY = Strategy(
    resource=kinds.REPLICASETS,
    default=_default,
    prepare=create_workload,
    validate=_validate,
    updates={
        "": UpdateRule(prepare=update_workload, validate=_validate_update),
        "status": UpdateRule(prepare=keep_spec, validate=_validate_status),
    },
    scale=SCALE,
)

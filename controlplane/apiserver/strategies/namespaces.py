"""Namespaces: declared as Kubernetes' pkg/registry/core/namespace/strategy.go does."""

from __future__ import annotations

from controlplane.apiserver.strategies import causes
from controlplane.apiserver.strategies.strategy import Strategy, UpdateRule
from controlplane.apiserver.strategies.writing import keep_spec, keep_status
from mesh.errors import Cause
from mesh.objects import kinds, names
from mesh.objects.types import Object

NAME_LABEL = "kubernetes.io/metadata.name"
FINALIZER = "kubernetes"
"""The finalizer in `spec.finalizers` that holds a namespace until its contents are gone."""


def _default(namespace: Object) -> None:
    if name := namespace["metadata"].get("name"):
        labels = namespace["metadata"].get("labels") or {}
        namespace["metadata"]["labels"] = {**labels, NAME_LABEL: name}
    namespace.setdefault("spec", {})
    status = namespace.setdefault("status", {})
    status["phase"] = status.get("phase") or "Active"


def _prepare(namespace: Object) -> None:
    _default(namespace)  # once more: by now a generated name is known
    namespace["status"] = {"phase": "Active"}
    finalizers = namespace["spec"].setdefault("finalizers", [])
    if FINALIZER not in finalizers:
        finalizers.append(FINALIZER)


def _prepare_update(new: Object, old: Object) -> None:
    keep_spec(new, old)
    keep_status(new, old)


def _validate(namespace: Object) -> list[Cause]:
    return [
        cause
        for position, name in enumerate((namespace.get("spec") or {}).get("finalizers") or ())
        for cause in causes.each(causes.index("spec.finalizers", position), name, names.finalizer(name))
    ]


def _validate_status(new: Object, _old: Object) -> list[Cause]:
    phase = (new.get("status") or {}).get("phase", "")
    deleting = "deletionTimestamp" in new["metadata"]
    if not deleting and phase != "Active":
        return [causes.invalid("status.Phase", phase, "may only be 'Active' if `deletionTimestamp` is empty")]
    if deleting and phase != "Terminating":
        return [causes.invalid("status.Phase", phase, "may only be 'Terminating' if `deletionTimestamp` is not empty")]
    return []


def _no_causes(_new: Object, _old: Object) -> list[Cause]:
    return []


STRATEGY = Strategy(
    resource=kinds.NAMESPACES,
    default=_default,
    prepare=_prepare,
    validate=_validate,
    name_check=names.dns1123_label,
    updates={
        "": UpdateRule(prepare=_prepare_update, validate=_no_causes),
        "status": UpdateRule(prepare=keep_spec, validate=_validate_status),
        "finalize": UpdateRule(prepare=keep_status, validate=lambda new, _old: _validate(new)),
    },
    fields={"status.phase": lambda namespace: str((namespace.get("status") or {}).get("phase", ""))},
)

"""Nodes: declared as Kubernetes' pkg/registry/core/node/strategy.go does. A node may be created with its status."""

from __future__ import annotations

from collections.abc import Sequence

from controlplane.apiserver.strategies import causes
from controlplane.apiserver.strategies.ip_validation import validate_cidr
from controlplane.apiserver.strategies.resource_validation import validate_amount
from controlplane.apiserver.strategies.scheduling_validation import TAINT_EFFECTS
from controlplane.apiserver.strategies.strategy import Strategy, UpdateRule
from controlplane.apiserver.strategies.writing import keep_spec, keep_status
from mesh.errors import Cause
from mesh.objects import kinds, names, quantity
from mesh.objects.types import Object


def _default(node: Object) -> None:
    node.setdefault("spec", {})
    status = node.setdefault("status", {})
    for field in ("capacity", "allocatable"):
        for name, amount in (status.get(field) or {}).items():
            status[field][name] = str(quantity.parse(amount).rounded_to_milli())
    if "allocatable" not in status and "capacity" in status:
        status["allocatable"] = dict(status["capacity"])
    cidr, cidrs = node["spec"].get("podCIDR"), node["spec"].get("podCIDRs")
    if cidr and (not cidrs or cidrs[0] != cidr):
        # Clients that know only the older field change only that; it counts.
        node["spec"]["podCIDRs"] = [cidr]
    elif cidrs and not cidr:
        node["spec"]["podCIDR"] = cidrs[0]


def validate_taints(taints: Sequence[Object], path: str) -> list[Cause]:
    """Taints: valid keys, values and effects, each (key, effect) once."""
    found: list[Cause] = []
    seen: set[tuple[str, str]] = set()
    for position, taint in enumerate(taints):
        at = causes.index(path, position)
        key, value, effect = taint.get("key", ""), taint.get("value", ""), taint.get("effect", "")
        found += causes.each(f"{at}.key", key, names.qualified_name(key))
        if sentences := names.label_value(value):
            found.append(causes.invalid(f"{at}.value", value, ";".join(sentences)))
        if not effect:
            found.append(causes.required(f"{at}.effect"))
        elif effect not in TAINT_EFFECTS:
            found.append(causes.unsupported(f"{at}.effect", effect, TAINT_EFFECTS))
        if (key, effect) in seen:
            message = f"Duplicate value: {causes.show(taint)}: taints must be unique by key and effect pair"
            found.append(Cause(at, "FieldValueDuplicate", message))
        seen.add((key, effect))
    return found


def _validate_resources(node: Object) -> list[Cause]:
    status = node.get("status") or {}
    return [
        cause
        for field in ("capacity", "allocatable")
        for name, amount in (status.get(field) or {}).items()
        for cause in validate_amount(name, amount, f"status.{field}.{name}")
    ]


def _validate(node: Object) -> list[Cause]:
    spec = node.get("spec") or {}
    found = validate_taints(spec.get("taints") or (), "metadata.taints")
    return found + _validate_resources(node) + _validate_ranges(spec)


def _validate_ranges(spec: Object) -> list[Cause]:
    found: list[Cause] = []
    seen: set[str] = set()
    for position, cidr in enumerate(spec.get("podCIDRs") or ()):
        at = causes.index("spec.podCIDRs", position)
        found += validate_cidr(cidr, at)
        if cidr in seen:
            found.append(causes.duplicate(at, cidr))
        seen.add(cidr)
    return found


def _validate_update(new: Object, old: Object) -> list[Cause]:
    spec, before = new.get("spec") or {}, old.get("spec") or {}
    found = _validate_resources(new)
    seen: list[Object] = []
    for position, address in enumerate((new.get("status") or {}).get("addresses") or ()):
        if address in seen:
            found.append(causes.duplicate(causes.index("status.addresses", position), address))
        seen.append(address)
    if before.get("podCIDRs") and spec.get("podCIDRs") != before["podCIDRs"]:
        sentence = 'node updates may not change podCIDR except from "" to valid'
        found.append(causes.forbidden("spec.podCIDRs", sentence))
    elif not before.get("podCIDRs"):
        found += _validate_ranges(spec)
    if before.get("providerID") and spec.get("providerID") != before["providerID"]:
        sentence = 'node updates may not change providerID except from "" to valid'
        found.append(causes.forbidden("spec.providerID", sentence))
    found += validate_taints(spec.get("taints") or (), "metadata.taints")
    if spec.get("externalID") != before.get("externalID"):
        found.append(causes.forbidden("spec.externalID", "may not be updated"))
    return found


STRATEGY = Strategy(
    resource=kinds.NODES,
    default=_default,
    validate=_validate,
    updates={
        "": UpdateRule(prepare=keep_status, validate=_validate_update),
        "status": UpdateRule(prepare=keep_spec, validate=_validate_update),
    },
    fields={
        "spec.unschedulable": lambda node: "true" if (node.get("spec") or {}).get("unschedulable") else "false",
    },
)

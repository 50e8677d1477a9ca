"""Validation of resource requests and limits."""

from __future__ import annotations

from controlplane.apiserver.strategies import causes
from mesh.errors import Cause
from mesh.objects import names, quantity
from mesh.objects.types import Object

STANDARD = frozenset({"cpu", "memory", "ephemeral-storage"})
NEGATIVE = "must be greater than or equal to 0"


def is_extended(name: str) -> bool:
    """Whether this is a resource that a node offers beyond the standard ones, such as "example.com/gpu"."""
    return "/" in name and "kubernetes.io/" not in name and not name.startswith("requests.")


def _can_overcommit(name: str) -> bool:
    return not is_extended(name) and not name.startswith("hugepages-")


def validate_requirements(resources: Object, path: str, claims: frozenset[str] = frozenset()) -> list[Cause]:
    """Names known, amounts not negative and whole where they must be, no request above its limit."""
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    found: list[Cause] = []
    for name, amount in limits.items():
        at = causes.key(f"{path}.limits", name)
        found += _validate_name(name, at)
        found += validate_amount(name, amount, at)
    for name, amount in requests.items():
        at = causes.key(f"{path}.requests", name)
        found += _validate_name(name, at)
        found += validate_amount(name, amount, at)
        limit = limits.get(name)
        if limit is not None and not _can_overcommit(name) and quantity.parse(amount) != quantity.parse(limit):
            sentence = f"must be equal to {name} limit of {limit}"
            found.append(causes.invalid(f"{path}.requests", amount, sentence))
        elif limit is not None and quantity.parse(amount) > quantity.parse(limit):
            sentence = f"must be less than or equal to {name} limit of {limit}"
            found.append(causes.invalid(f"{path}.requests", amount, sentence))
        elif limit is None and not _can_overcommit(name):
            sentence = "Limit must be set for non overcommitable resources"
            found.append(causes.required(f"{path}.limits", sentence))
    for position, claim in enumerate(resources.get("claims") or ()):
        if claim.get("name", "") not in claims:
            at = f"{path}.claims[{position}].name"
            found.append(causes.not_found(at, claim.get("name", "")))
    return found


def _validate_name(name: str, path: str) -> list[Cause]:
    found = causes.each(path, name, names.qualified_name(name))
    if not found and "/" not in name and name not in STANDARD and not name.startswith("hugepages-"):
        return [
            causes.invalid(path, name, "must be a standard resource type or fully qualified"),
            causes.invalid(path, name, "must be a standard resource for containers"),
        ]
    return found


def validate_amount(name: str, amount: str, path: str) -> list[Cause]:
    """An amount of a resource: not negative, and whole for what cannot be divided."""
    value = quantity.parse(amount)
    if value.nanos < 0:
        return [causes.invalid(path, amount, NEGATIVE)]
    divisible = name in STANDARD
    if not divisible and value.nanos % quantity.NANOS:
        return [causes.invalid(path, amount, "must be an integer")]
    return []

"""Leases: written often by their holders, never blindly."""

from __future__ import annotations

from controlplane.apiserver.strategies import causes
from controlplane.apiserver.strategies.strategy import Strategy, UpdateRule
from controlplane.apiserver.strategies.writing import non_negative_fields
from mesh.errors import Cause
from mesh.objects import kinds
from mesh.objects.types import Object


def _validate(lease: Object) -> list[Cause]:
    spec = lease.get("spec") or {}
    found: list[Cause] = []
    duration, holder = spec.get("leaseDurationSeconds"), spec.get("holderIdentity")
    if duration is not None and duration <= 0:
        found.append(causes.invalid("spec.leaseDurationSeconds", duration, "must be greater than 0"))
    found += non_negative_fields(spec, ("leaseTransitions",), "spec")
    if holder is not None and not holder:
        found.append(causes.invalid("spec.holderIdentity", holder, "must not be empty"))
    return found


STRATEGY = Strategy(
    resource=kinds.LEASES,
    validate=_validate,
    updates={"": UpdateRule(validate=lambda new, _old: _validate(new))},
    create_on_update=True,
    unconditional_update=False,
)

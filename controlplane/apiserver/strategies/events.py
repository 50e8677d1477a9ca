"""Events: about an object in their own namespace, and kept for a while only.

Source: pkg/apis/core/validation/events.go of Kubernetes 1.36 (the rules for core/v1).
"""

from __future__ import annotations

from functools import partial

from controlplane.apiserver.strategies import causes
from controlplane.apiserver.strategies.strategy import Strategy, UpdateRule
from mesh.errors import Cause
from mesh.objects import kinds, names
from mesh.objects.types import Object


def _involved(field: str, event: Object) -> str:
    return str((event.get("involvedObject") or {}).get(field, ""))


def _source(event: Object) -> str:
    return str((event.get("source") or {}).get("component") or event.get("reportingComponent", ""))


def _validate(event: Object) -> list[Cause]:
    namespace = event["metadata"].get("namespace", "")
    about = _involved("namespace", event)
    found: list[Cause] = []
    # Events about cluster-scoped objects live in "default".
    if (about or "default") != (namespace or "default"):
        found.append(causes.invalid("involvedObject.namespace", about, "does not match event.namespace"))
    if about:
        found += causes.each("involvedObject.namespace", about, names.dns1123_label(about))
    if event.get("eventTime"):
        found += [
            causes.required(field) for field in ("reportingComponent", "action", "reason") if not event.get(field)
        ]
    return found


STRATEGY = Strategy(
    resource=kinds.EVENTS,
    validate=_validate,
    updates={"": UpdateRule(validate=lambda new, _old: _validate(new))},
    create_on_update=True,
    fields={
        **{
            f"involvedObject.{field}": partial(_involved, field)
            for field in ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
        },
        "reason": lambda event: str(event.get("reason", "")),
        "reportingComponent": lambda event: str(event.get("reportingComponent", "")),
        "source": _source,
        "type": lambda event: str(event.get("type", "")),
    },
)

"""Validation of label selectors inside objects.

Source: k8s.io/apimachinery/pkg/apis/meta/v1/validation/validation.go.
"""

from __future__ import annotations

from controlplane.apiserver.strategies import causes
from controlplane.apiserver.strategies.metadata import validate_labels
from mesh.errors import Cause
from mesh.objects import names
from mesh.objects.types import Object


def validate_label_selector(selector: Object | None, path: str) -> list[Cause]:
    """A `LabelSelector`: known operators, values where they belong, valid keys and values."""
    if selector is None:
        return []
    found = validate_labels(selector.get("matchLabels"), f"{path}.matchLabels")
    for position, expression in enumerate(selector.get("matchExpressions") or ()):
        found += _validate_expression(expression, causes.index(f"{path}.matchExpressions", position))
    return found


def _validate_expression(expression: Object, path: str) -> list[Cause]:
    found = validate_operator(expression, path)
    key = expression.get("key", "")
    found += causes.each(f"{path}.key", key, names.qualified_name(key))
    for position, value in enumerate(expression.get("values") or ()):
        found += causes.each(causes.index(f"{path}.values", position), value, names.label_value(value))
    return found


def validate_operator(expression: Object, path: str, *, numeric: bool = False) -> list[Cause]:
    """The operator and how many values it wants; `numeric` allows Gt and Lt (node affinity)."""
    operator, values = expression.get("operator", ""), expression.get("values") or []
    if operator in {"In", "NotIn"}:
        return (
            []
            if values
            else [causes.required(f"{path}.values", "must be specified when `operator` is 'In' or 'NotIn'")]
        )
    if operator in {"Exists", "DoesNotExist"}:
        sentence = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
        return [causes.forbidden(f"{path}.values", sentence)] if values else []
    if numeric and operator in {"Gt", "Lt"}:
        sentence = "must be specified single value when `operator` is 'Lt' or 'Gt'"
        return [] if len(values) == 1 else [causes.required(f"{path}.values", sentence)]
    return [causes.invalid(f"{path}.operator", operator, "not a valid selector operator")]

"""Validation of what steers scheduling: tolerations, affinity, spreading."""

from __future__ import annotations

from collections.abc import Sequence

from controlplane.apiserver.strategies import causes
from controlplane.apiserver.strategies.selector_validation import validate_label_selector, validate_operator
from mesh.errors import Cause
from mesh.objects import names
from mesh.objects.types import Object

TAINT_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")

_UNSATISFIABLE = ("DoNotSchedule", "ScheduleAnyway")
_INCLUSION = ("Honor", "Ignore")


def validate_tolerations(tolerations: Sequence[Object], path: str) -> list[Cause]:
    """Each toleration: key, operator, value and effect that go together."""
    found: list[Cause] = []
    for position, toleration in enumerate(tolerations):
        at = causes.index(path, position)
        key, operator = toleration.get("key", ""), toleration.get("operator", "")
        value, effect = toleration.get("value", ""), toleration.get("effect", "")
        if key:
            found += causes.each(f"{at}.key", key, names.qualified_name(key))
        elif operator != "Exists":
            sentence = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
            found.append(causes.invalid(f"{at}.operator", operator, sentence))
        if "tolerationSeconds" in toleration and effect != "NoExecute":
            sentence = "effect must be 'NoExecute' when `tolerationSeconds` is set"
            found.append(causes.invalid(f"{at}.effect", effect, sentence))
        if operator in {"", "Equal"}:
            if sentences := names.label_value(value):
                found.append(causes.invalid(f"{at}.operator", value, ";".join(sentences)))
        elif operator == "Exists":
            if value:
                sentence = "value must be empty when `operator` is 'Exists'"
                found.append(causes.invalid(f"{at}.operator", value, sentence))
        else:
            found.append(causes.unsupported(f"{at}.operator", operator, ("Equal", "Exists")))
        if effect and effect not in TAINT_EFFECTS:
            found.append(causes.unsupported(f"{at}.effect", effect, TAINT_EFFECTS))
    return found


def validate_affinity(affinity: Object | None, path: str) -> list[Cause]:
    """Node affinity, pod affinity and pod anti-affinity."""
    affinity = affinity or {}
    found = _validate_node_affinity(affinity.get("nodeAffinity") or {}, f"{path}.nodeAffinity")
    for kind in ("podAffinity", "podAntiAffinity"):
        terms = affinity.get(kind) or {}
        for position, term in enumerate(terms.get("requiredDuringSchedulingIgnoredDuringExecution") or ()):
            at = causes.index(f"{path}.{kind}.requiredDuringSchedulingIgnoredDuringExecution", position)
            found += _validate_pod_term(term, at)
        for position, preference in enumerate(terms.get("preferredDuringSchedulingIgnoredDuringExecution") or ()):
            at = causes.index(f"{path}.{kind}.preferredDuringSchedulingIgnoredDuringExecution", position)
            found += _validate_weight(preference, at)
            found += _validate_pod_term(preference.get("podAffinityTerm") or {}, f"{at}.podAffinityTerm")
    return found


def _validate_weight(preference: Object, path: str) -> list[Cause]:
    weight = preference.get("weight", 0)
    return [] if 1 <= weight <= 100 else [causes.invalid(f"{path}.weight", weight, "must be in the range 1-100")]


def _validate_node_affinity(affinity: Object, path: str) -> list[Cause]:
    found: list[Cause] = []
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    if required is not None:
        at = f"{path}.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms"
        terms = required.get("nodeSelectorTerms") or ()
        if not terms:
            found.append(causes.required(at, "must have at least one node selector term"))
        for position, term in enumerate(terms):
            found += _validate_node_term(term, causes.index(at, position))
    for position, preference in enumerate(affinity.get("preferredDuringSchedulingIgnoredDuringExecution") or ()):
        at = causes.index(f"{path}.preferredDuringSchedulingIgnoredDuringExecution", position)
        found += _validate_weight(preference, at)
        found += _validate_node_term(preference.get("preference") or {}, f"{at}.preference")
    return found


def _validate_node_term(term: Object, path: str) -> list[Cause]:
    found: list[Cause] = []
    for position, expression in enumerate(term.get("matchExpressions") or ()):
        at = causes.index(f"{path}.matchExpressions", position)
        found += validate_operator(expression, at, numeric=True)
        key = expression.get("key", "")
        found += causes.each(f"{at}.key", key, names.qualified_name(key))
        for number, value in enumerate(expression.get("values") or ()):
            found += causes.each(causes.index(f"{at}.values", number), value, names.label_value(value))
    for position, expression in enumerate(term.get("matchFields") or ()):
        at = causes.index(f"{path}.matchFields", position)
        if expression.get("operator") not in {"In", "NotIn"}:
            operator = expression.get("operator", "")
            found.append(causes.invalid(f"{at}.operator", operator, "not a valid selector operator"))
        elif len(expression.get("values") or ()) != 1:
            sentence = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"
            found.append(causes.required(f"{at}.values", sentence))
        if expression.get("key") != "metadata.name":
            found.append(causes.invalid(f"{at}.key", expression.get("key", ""), "not a valid field selector key"))
    return found


def _validate_pod_term(term: Object, path: str) -> list[Cause]:
    found = validate_label_selector(term.get("labelSelector"), f"{path}.labelSelector")
    found += validate_label_selector(term.get("namespaceSelector"), f"{path}.namespaceSelector")
    for namespace in term.get("namespaces") or ():
        found += causes.each(f"{path}.namespace", namespace, names.dns1123_label(namespace))
    topology = term.get("topologyKey", "")
    if not topology:
        return [*found, causes.required(f"{path}.topologyKey", "can not be empty")]
    return found + causes.each(f"{path}.topologyKey", topology, names.qualified_name(topology))


def validate_spread(constraints: Sequence[Object], path: str) -> list[Cause]:
    """Topology spread constraints; each (topology key, action) at most once."""
    found: list[Cause] = []
    seen: set[tuple[str, str]] = set()
    for position, constraint in enumerate(constraints):
        at = causes.index(path, position)
        skew, key = constraint.get("maxSkew", 0), constraint.get("topologyKey", "")
        if skew <= 0:
            found.append(causes.invalid(f"{at}.maxSkew", skew, "must be greater than zero"))
        if not key:
            found.append(causes.required(f"{at}.topologyKey", "can not be empty"))
        else:
            found += causes.each(f"{at}.topologyKey", key, names.qualified_name(key))
        action = constraint.get("whenUnsatisfiable", "")
        if action not in _UNSATISFIABLE:
            found.append(causes.unsupported(f"{at}.whenUnsatisfiable", action, _UNSATISFIABLE))
        if (key, action) in seen:
            found.append(causes.duplicate(f"{at}.{{topologyKey, whenUnsatisfiable}}", f"{{{key}, {action}}}"))
        seen.add((key, action))
        domains = constraint.get("minDomains")
        if domains is not None and domains <= 0:
            found.append(causes.invalid(f"{at}.minDomains", domains, "must be greater than zero"))
        if domains is not None and action != "DoNotSchedule":
            sentence = "can only use minDomains if whenUnsatisfiable=DoNotSchedule, not ScheduleAnyway"
            found.append(causes.invalid(f"{at}.minDomains", domains, sentence))
        for field in ("nodeAffinityPolicy", "nodeTaintsPolicy"):
            policy = constraint.get(field)
            if policy is not None and policy not in _INCLUSION:
                found.append(causes.unsupported(f"{at}.{field}", policy, _INCLUSION))
        found += validate_label_selector(constraint.get("labelSelector"), f"{at}.labelSelector")
    return found

"""Node selector terms and taints: does this node satisfy what the pod says about nodes? Pure.

Source: kubernetes.io/docs "Assigning Pods to Nodes" (affinity terms are ORed, their expressions ANDed) and "Taints and
Tolerations".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from mesh.objects.types import Object


def selector_matches(selector: Mapping[str, str] | None, labels: Mapping[str, str]) -> bool:
    """Whether a nodeSelector holds."""
    return all(labels.get(key) == value for key, value in (selector or {}).items())


def affinity_matches(required: Object | None, name: str, labels: Mapping[str, str]) -> bool:
    """Whether required node affinity holds; one without terms selects no node."""
    if required is None:
        return True
    return any(term_matches(term, name, labels) for term in required.get("nodeSelectorTerms") or ())


def term_matches(term: Object, name: str, labels: Mapping[str, str]) -> bool:
    """Whether one term holds: all of its expressions and field expressions; an empty term matches nothing."""
    expressions = term.get("matchExpressions") or ()
    fields = term.get("matchFields") or ()
    if not expressions and not fields:
        return False
    return all(_holds(e, labels) for e in expressions) and all(_holds(e, {"metadata.name": name}) for e in fields)


def _holds(expression: Object, values: Mapping[str, str]) -> bool:
    key, operator = expression["key"], expression["operator"]
    wanted: Sequence[str] = expression.get("values") or ()
    present = key in values
    if operator == "In":
        return present and values[key] in wanted
    if operator == "NotIn":
        return not present or values[key] not in wanted
    if operator == "Exists":
        return present
    if operator == "DoesNotExist":
        return not present
    try:
        have, want = int(values[key]), int(wanted[0])
    except (KeyError, IndexError, ValueError):
        return False
    return have > want if operator == "Gt" else have < want


def tolerates(toleration: Object, taint: Object) -> bool:
    """Whether a toleration covers a taint: an empty key with Exists covers all keys, an empty effect all effects."""
    if toleration.get("effect") and toleration["effect"] != taint.get("effect"):
        return False
    key = toleration.get("key", "")
    if key and key != taint.get("key"):
        return False
    if toleration.get("operator", "Equal") == "Exists":
        return True
    return bool(key) and toleration.get("value", "") == taint.get("value", "")


def untolerated(taints: Iterable[Object], tolerations: Sequence[Object], effects: frozenset[str]) -> Object | None:
    """The first taint with one of `effects` that no toleration covers, or None."""
    for taint in taints:
        if taint.get("effect") in effects and not any(tolerates(t, taint) for t in tolerations):
            return taint
    return None

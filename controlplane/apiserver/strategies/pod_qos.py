"""The quality-of-service class of a pod.

Source: https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/ and pkg/apis/core/v1/helper/qos.
"""

from __future__ import annotations

from collections.abc import Iterable

from mesh.objects import quantity
from mesh.objects.types import Object

_COMPUTE = ("cpu", "memory")


def _positive(amounts: Object | None) -> dict[str, int]:
    parsed = {name: quantity.parse(amounts[name]).nanos for name in _COMPUTE if amounts and name in amounts}
    return {name: nanos for name, nanos in parsed.items() if nanos > 0}


def qos_class(spec: Object) -> str:
    """Guaranteed when everything is limited and requests equal limits, BestEffort when nothing is asked for."""
    if (spec.get("resources") or {}).keys() & {"limits", "requests"}:
        holders: Iterable[Object] = [spec]
    else:
        holders = [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
    guaranteed, anything = True, False
    for holder in holders:
        resources = holder.get("resources") or {}
        requests, limits = _positive(resources.get("requests")), _positive(resources.get("limits"))
        anything = anything or bool(requests or limits)
        if len(limits) < len(_COMPUTE) or any(requests.get(name, limits[name]) != limits[name] for name in limits):
            guaranteed = False
    if not anything:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"

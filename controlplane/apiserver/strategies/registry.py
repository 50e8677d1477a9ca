"""The table of strategies: which rules belong to which resource."""

from __future__ import annotations

from controlplane.apiserver.strategies.strategy import Strategy
from mesh.objects.kinds import Resource

_STRATEGIES: dict[Resource, Strategy] = {}


def strategy_for(resource: Resource) -> Strategy:
    """The rules of a built-in resource; KeyError for one that has none declared."""
    return _STRATEGIES[resource]

"""The table of strategies: which rules belong to which resource."""

from __future__ import annotations

from controlplane.apiserver.strategies import (
    configmaps,
    deployments,
    endpoints,
    endpointslices,
    events,
    leases,
    namespaces,
    nodes,
    pods,
    replicasets,
    secrets,
    serviceaccounts,
    services,
)
from controlplane.apiserver.strategies.strategy import Strategy
from mesh.objects.kinds import Resource

_STRATEGIES: dict[Resource, Strategy] = {
    module.STRATEGY.resource: module.STRATEGY
    for module in (
        namespaces, nodes, pods, services, endpoints, configmaps, secrets, serviceaccounts, events, replicasets,
        deployments, endpointslices, leases,
    )
}  # fmt: skip


def strategy_for(resource: Resource) -> Strategy:
    """The rules of a built-in resource; KeyError for one that has none declared."""
    return _STRATEGIES[resource]

"""Node address management: gives each node its part of the pods' address range.

One key for the whole cluster, because two nodes must never be given the same range. A range from which pods still
hold addresses is nobody's but their node's: a Node that was deleted, and registers again while its pods run on, gets it
back, and no other node is given it before those pods are gone. What became free goes to the node that had it when that
registers again, and to others last, as in Kubernetes (pkg/controller/nodeipam, range allocator): on a machine whose Node
was deleted containers may run that no pod tells of.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet

from controlplane.controllers.pods import addresses
from mesh.objects.kinds import NODES, PODS
from mesh.objects.meta import Key, is_deleting, key_of, name_of, uid_of
from mesh.objects.types import Object
from mesh.plan.actions import NOTHING, Action, Patch, Plan, Record
from mesh.plan.controller import Caches, Observed, Watch

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_ALL_NODES = Key("", "nodes")
_MOST_PER_PASS = 100


def _wake(_node: Object, _caches: Caches) -> Iterable[Key]:
    """Any node: one that came has no range, one that went leaves its range free."""
    return (_ALL_NODES,)


def _wake_nobody(_pod: Object, _caches: Caches) -> Iterable[Key]:
    """A pod is only looked at."""
    return ()


class NodeIpamController:
    """Writes `spec.podCIDR` and `spec.podCIDRs`. `pod_cidrs` and `mask_sizes` hold one entry for each family."""

    name = "node-ipam-controller"
    watches: Sequence[Watch] = (Watch(NODES, _wake), Watch(PODS, _wake_nobody))

    def __init__(self, pod_cidrs: Sequence[str], mask_sizes: Sequence[int]) -> None:
        self._pools = [(ipaddress.ip_network(c), size) for c, size in zip(pod_cidrs, mask_sizes, strict=True)]
        self._next = [0] * len(self._pools)
        """Of each pool, the position at which to look for the next free part: after the last one that was ever taken, as
        far as we have seen."""
        self._had: dict[str, list[Network]] = {}
        """What each node had when we last saw it with any."""

    def plan(self, key: Key, observed: Observed) -> Plan:  # noqa: ARG002 - one key only
        """Ranges for the nodes without, the oldest first."""
        nodes = observed.caches[NODES].list()
        had = {name_of(node): [ipaddress.ip_network(cidr, strict=False) for cidr in _ranges(node)] for node in nodes}
        self._had |= {name: networks for name, networks in had.items() if networks}
        without = [node for node in nodes if not _ranges(node) and not is_deleting(node)]
        if not without:
            return NOTHING
        without.sort(key=lambda node: (node["metadata"].get("creationTimestamp", ""), name_of(node)))
        taken = {network for networks in had.values() for network in networks}
        returned = {network: name for name, networks in self._had.items() if name in had for network in networks}
        held = [
            {network: name for network, name in returned.items() if network[0] in pool and network.prefixlen == size}
            | _held(pool, size, observed.caches[PODS].list())
            for pool, size in self._pools
        ]
        free = [self._free(place, taken | mine.keys()) for place, mine in enumerate(held)]
        actions: list[Action] = []
        for node in without[:_MOST_PER_PASS]:
            found = [
                next((n for n, holder in mine.items() if holder == name_of(node) and n not in taken), None)
                or next(iterator, None)
                for mine, iterator in zip(held, free, strict=True)
            ]
            given = [str(network) for network in found if network is not None]
            if len(given) < len(found):
                message = f"Node {name_of(node)} status is now: CIDRNotAvailable"
                actions.append(Record(node, "Normal", "CIDRNotAvailable", message))
            else:
                patch = {"spec": {"podCIDR": given[0], "podCIDRs": given}}
                actions.append(Patch(NODES, key_of(node), patch, uid_of(node)))
        return Plan(tuple(actions), parallel=True)

    def _free(self, place: int, taken: AbstractSet[Network]) -> Iterator[Network]:
        """The free parts of one pool, those that were never taken first."""
        pool, size = self._pools[place]
        for network in taken:
            if network.version == pool.version and network.prefixlen == size and network[0] in pool:
                self._next[place] = max(self._next[place], _position(network, pool) + 1)
        for network in _parts(pool, size, self._next[place], taken):
            self._next[place] = max(self._next[place], _position(network, pool) + 1)
            yield network


def _position(part: Network, pool: Network) -> int:
    """Which of the pool's parts of its size it is: the first is 0."""
    return (int(part[0]) - int(pool[0])) >> (part.max_prefixlen - part.prefixlen)


def _ranges(node: Object) -> list[str]:
    spec = node.get("spec") or {}
    return list(spec.get("podCIDRs") or ([spec["podCIDR"]] if spec.get("podCIDR") else []))


def _held(pool: Network, size: int, pods: Sequence[Object]) -> dict[Network, str]:
    """The parts of a pool from which pods hold addresses, with the node they are on."""
    held: dict[Network, str] = {}
    for pod in pods:
        for address in addresses(pod):
            if (ip := ipaddress.ip_address(address)) in pool:
                held[ipaddress.ip_network(f"{ip}/{size}", strict=False)] = pod["spec"].get("nodeName", "")
    return held


def _parts(pool: Network, size: int, start: int, taken: AbstractSet[Network]) -> Iterator[Network]:
    """The parts of a pool that overlap none that is taken, from position `start` on and then from the first."""
    same_size = {network for network in taken if network.version == pool.version and network.prefixlen == size}
    others = [network for network in taken if network.version == pool.version and network.prefixlen != size]
    count = 1 << (size - pool.prefixlen)
    for step in range(count):
        at = int(pool[0]) + ((start + step) % count << (pool.max_prefixlen - size))
        network = type(pool)((at, size))
        if network not in same_size and not any(_overlap(network, other) for other in others):
            yield network


def _overlap(one: Network, other: Network) -> bool:
    return one.version == other.version and int(one[0]) <= int(other[-1]) and int(other[0]) <= int(one[-1])

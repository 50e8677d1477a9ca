"""Which address ranges a new cluster on this machine takes: private ones that no route of the machine leads to.

Sources: RFC 1918 and RFC 6598 for what is private. Pure.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from mesh.errors import Terminal

_PODS_FIRST = ("10.64.0.0/16",)
_SERVICES_FIRST = ("10.96.0.0/16",)
_NODES_FIRST = ("10.63.0.0/24",)
_POOLS = ("10.0.0.0/8", "172.16.0.0/12", "100.64.0.0/10")
"""Searched in this order when the first choice is taken. 192.168.0.0/16 is left to homes and offices."""
_SHORTEST = 8
"""The length of the largest private range. A route to more than that says where the rest goes, not that it is used."""


@dataclass(frozen=True, slots=True)
class Ranges:
    """CIDRs of a cluster: its nodes' own link, its pods, its Services."""

    nodes: str
    pods: str
    services: str


def choose_ranges(existing_routes: Iterable[str]) -> Ranges:
    """Ranges that overlap none of `existing_routes` (destinations as CIDRs or addresses). Default routes are ignored,
    those in two halves too (0.0.0.0/1 and 128.0.0.0/1, as a VPN lays them over the machine's own).

    Give resolvers and other addresses that must stay reachable beside the routes. Raises `Terminal` when all private
    space is routed somewhere already.
    """
    networks = (ipaddress.ip_network(text, strict=False) for text in existing_routes)
    taken = [net for net in networks if net.prefixlen >= _SHORTEST]
    chosen = {}
    for purpose, first, length in (
        ("pods", _PODS_FIRST, 16),
        ("services", _SERVICES_FIRST, 16),
        ("nodes", _NODES_FIRST, 24),
    ):
        free = next((c for c in _candidates(first, length) if not any(_overlap(c, t) for t in taken)), None)
        if free is None:
            raise Terminal(
                f"no private /{length} range is free for the cluster's {purpose}: every one is already routed on this "
                "machine (ip route show table all). Remove a route that is not needed"
            )
        taken.append(free)
        chosen[purpose] = str(free)
    return Ranges(**chosen)


def _candidates(first: tuple[str, ...], length: int) -> Iterator[ipaddress.IPv4Network]:
    yield from map(ipaddress.IPv4Network, first)
    for pool in _POOLS:
        yield from ipaddress.IPv4Network(pool).subnets(new_prefix=length)


def _overlap(one: ipaddress.IPv4Network, other: ipaddress.IPv4Network | ipaddress.IPv6Network) -> bool:
    return isinstance(other, ipaddress.IPv4Network) and one.overlaps(other)

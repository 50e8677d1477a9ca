"""Address management: which sandbox holds which addresses of the node's pod CIDRs.

A ledger is a value; `allocate` and `release` return the next one. Addresses are given out in a circle, so that one that
was just released is the last to be used again: caches and connection tracking elsewhere may still know it.
Pure.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from mesh.errors import CoveyError


class Exhausted(CoveyError):
    """Every address of a pod CIDR is held."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """`cidrs` are the node's (one for each family, primary first); `holders` maps a sandbox id to its addresses;
    `last` maps a CIDR to the address given out last."""

    cidrs: tuple[str, ...] = ()
    holders: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    last: Mapping[str, str] = field(default_factory=dict)


def node_address(cidr: str) -> str:
    """The first address of a pod CIDR: the node's own, on its tunnel device. Pods never get it."""
    return str(ipaddress.ip_network(cidr)[1])


def configure(ledger: Ledger, cidrs: tuple[str, ...]) -> Ledger:
    """The ledger with new pod CIDRs; sandboxes keep the addresses they hold."""
    return replace(ledger, cidrs=cidrs)


def allocate(ledger: Ledger, sandbox_id: str) -> tuple[Ledger, tuple[str, ...]]:
    """One free address of each CIDR for a sandbox; the same ones if it holds some. Raises `Exhausted`."""
    if held := ledger.holders.get(sandbox_id):
        return ledger, held
    taken = {address for addresses in ledger.holders.values() for address in addresses}
    given = tuple(_next_free(cidr, ledger.last.get(cidr), taken) for cidr in ledger.cidrs)
    holders = {**ledger.holders, sandbox_id: given}
    last = {**ledger.last, **dict(zip(ledger.cidrs, given, strict=True))}
    return replace(ledger, holders=holders, last=last), given


def release(ledger: Ledger, sandbox_ids: Iterable[str]) -> Ledger:
    """The ledger without these sandboxes; unknown ones are fine."""
    gone = frozenset(sandbox_ids)
    return replace(ledger, holders={k: v for k, v in ledger.holders.items() if k not in gone})


def adopt(ledger: Ledger, seen: Mapping[str, tuple[str, ...]]) -> Ledger:
    """The ledger completed by what the kernel shows: sandboxes whose veth is there although the ledger was lost."""
    return replace(ledger, holders={**{k: v for k, v in seen.items() if v}, **ledger.holders})


def _next_free(cidr: str, last: str | None, taken: set[str]) -> str:
    """The first free address after `last`, going round; network, node's own and broadcast address are left out."""
    network = ipaddress.ip_network(cidr)
    first, count = int(network.network_address) + 2, min(network.num_addresses - 3, 1 << 16)
    previous = ipaddress.ip_address(last) if last else None
    start = int(previous) - first + 1 if previous is not None and previous in network else 0
    kind = type(network.network_address)
    for offset in range(count):
        candidate = str(kind(first + (start + offset) % count))
        if candidate not in taken:
            return candidate
    raise Exhausted(f"no free address in {cidr}: all {max(count, 0)} are held by pods of this node")

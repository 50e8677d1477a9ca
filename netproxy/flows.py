"""Which UDP flows must be forgotten when rules change. Pure.

The kernel keeps sending a UDP flow to the backend of its first packet for as long as packets come, since nothing tells
it that a backend is gone; and a flow that began before its frontend had any backend stays unanswered. TCP needs no such
care: its clients notice and connect anew.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from netproxy.endpoints import Backend
from netproxy.model import Frontend, Rule, Rules
from netproxy.plan import Changes


def affected(changes: Changes) -> frozenset[Frontend]:
    """The UDP frontends of which flows may be left behind: those that lost a backend, and those that had none."""
    found = set()
    for change in changes:
        before, after = _backends(change.before), _backends(change.after)
        if change.frontend.protocol == "udp" and (before - after or (after and not before)):
            found.add(change.frontend)
    return frozenset(found)


@dataclass(frozen=True, slots=True)
class Entry:
    """Flows of the kernel's table that have this in common: whom they asked, and who answers."""

    address: str
    port: int
    backend: str
    backend_port: int

    @property
    def redirected(self) -> bool:
        """Whether somebody else answers than was asked."""
        return (self.address, self.port) != (self.backend, self.backend_port)


_ENTRY = re.compile(
    r"udp .*?src=\S+ dst=(\S+) sport=\d+ dport=(\d+) (?:packets=\d+ bytes=\d+ )?(?:\[UNREPLIED\] )?"
    r"src=(\S+) dst=\S+ sport=(\d+) dport="
)
"""One line of conntrack's: what was asked, how much of it where that is counted (nf_conntrack_acct), who answers."""


def entries_of(listing: Iterable[str]) -> frozenset[Entry]:
    """Read the output of `conntrack -L -p udp`."""
    found = set()
    for line in listing:
        if match := _ENTRY.match(line):
            address, port, backend, backend_port = match.groups()
            found.add(Entry(address, int(port), backend, int(backend_port)))
    return frozenset(found)


@dataclass(frozen=True, slots=True)
class Where:
    """What tells our flows from others."""

    own_addresses: Collection[str]
    """The node's: what comes to them may have come to a node port."""
    service_cidrs: Sequence[str]


def stale_entries(
    entries: Iterable[Entry], rules: Rules, where: Where, frontends: Collection[Frontend] | None
) -> Iterator[Entry]:
    """Flows to these frontends (None: to any Service) that are led elsewhere than to a backend.

    Where there are no backends only flows that were redirected count: they once had one.
    """
    networks = [ip_network(cidr) for cidr in where.service_cidrs]
    for entry in entries:
        frontend = Frontend(entry.address, "udp", entry.port)
        if entry.address in where.own_addresses and frontend not in rules:
            frontend = Frontend("0.0.0.0", "udp", entry.port)
        if frontends is not None:
            ours = frontend in frontends
        else:
            ours = frontend in rules or any(ip_address(entry.address) in network for network in networks)
        if not ours:
            continue
        backends = {(b.address, b.port) for b in _backends(rules.get(frontend))}
        if (entry.backend, entry.backend_port) not in backends and (backends or entry.redirected):
            yield entry


def _backends(rule: Rule | None) -> set[Backend]:
    return {*rule.backends, *rule.inside} if rule is not None else set()

"""Which UDP flows must be forgotten when rules change. Pure.

The kernel keeps sending a UDP flow to the backend of its first packet for as long as packets come, since nothing tells
it that a backend is gone; and a flow that began before its frontend had any backend stays unanswered. TCP needs no such
care: its clients notice and connect anew.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from netproxy.endpoints import Backend
from netproxy.model import Frontend, Rule, Rules
from netproxy.plan import Changes


@dataclass(frozen=True, slots=True)
class Flow:
    """Flows to a frontend that were led to `backend`, or all flows to it (None)."""

    frontend: Frontend
    backend: Backend | None

    def __str__(self) -> str:
        where = f"{self.frontend.address}:{self.frontend.port}"
        return f"UDP flows to {where}" + (f" led to {self.backend.address}" if self.backend else "")


def stale_flows(changes: Changes) -> Iterator[Flow]:
    """The flows that these changes leave behind."""
    for change in changes:
        if change.frontend.protocol != "udp":
            continue
        before, after = _backends(change.before), _backends(change.after)
        for backend in sorted(before - after):
            yield Flow(change.frontend, backend)
        if after and not before:
            yield Flow(change.frontend, None)


@dataclass(frozen=True, slots=True)
class Entry:
    """One flow of the kernel's table: who asked whom, and who answers."""

    source: str
    source_port: int
    address: str
    port: int
    backend: str
    backend_port: int


_ENTRY = re.compile(
    r"udp .*?src=(\S+) dst=(\S+) sport=(\d+) dport=(\d+) (?:\[UNREPLIED\] )?src=(\S+) dst=\S+ sport=(\d+) dport="
)


def entries_of(listing: Iterable[str]) -> Iterator[Entry]:
    """Read the output of `conntrack -L -p udp`."""
    for line in listing:
        if match := _ENTRY.match(line):
            source, address, source_port, port, backend, backend_port = match.groups()
            yield Entry(source, int(source_port), address, int(port), backend, int(backend_port))


def stale_entries(entries: Iterable[Entry], rules: Rules, node_addresses: Collection[str]) -> Iterator[Entry]:
    """Flows to our frontends that are led elsewhere than to a backend: what a proxy finds that was away for a while."""
    for entry in entries:
        rule = rules.get(Frontend(entry.address, "udp", entry.port))
        if rule is None and entry.address in node_addresses:
            rule = rules.get(Frontend("0.0.0.0", "udp", entry.port))
        if rule is not None and (entry.backend, entry.backend_port) not in {
            (b.address, b.port) for b in (*rule.backends, *rule.inside)
        }:
            yield entry


def _backends(rule: Rule | None) -> set[Backend]:
    return {*rule.backends, *rule.inside} if rule is not None else set()

"""Which UDP flows must be forgotten when rules change. Pure.

The kernel keeps sending a UDP flow to the backend of its first packet for as long as packets come, since nothing tells
it that a backend is gone; and a flow that began before its frontend had any backend stays unanswered. TCP needs no such
care: its clients notice and connect anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from netproxy.endpoints import Backend
from netproxy.model import Frontend, Rule
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


def _backends(rule: Rule | None) -> set[Backend]:
    return {*rule.backends, *rule.inside} if rule is not None else set()

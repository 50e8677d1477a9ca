"""A `PodNetwork` without a kernel, for simulation and scale tests: addresses are given out, nothing is wired."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from agents.network import addresses
from agents.network.addresses import Exhausted, Ledger
from agents.node.network_port import NetworkFailure, PodAddresses
from agents.node.sysctls import NONE as NO_SYSCTLS


class FakePodNetwork:
    """Implements `agents.node.network_port.PodNetwork`; passes the contract suite of the real one.

    `ledger` survives a simulated restart of the agent when it is handed to the next instance. `fail_next` makes the
    next attachments fail with its sentences, one each.
    """

    def __init__(self, pod_cidrs: Sequence[str] = (), *, ledger: Ledger | None = None) -> None:
        self.ledger = ledger or Ledger(tuple(pod_cidrs))
        self.fail_next: list[str] = []
        self._ready = asyncio.Event()
        if self.ledger.cidrs:
            self._ready.set()

    async def configure(self, pod_cidrs: Sequence[str]) -> None:
        """The node's pod CIDRs, primary first."""
        if pod_cidrs:
            self.ledger = addresses.configure(self.ledger, tuple(pod_cidrs))
            self._ready.set()

    async def attach(
        self,
        sandbox_id: str,
        netns: str,  # noqa: ARG002 - nothing is wired
        sysctls: Mapping[str, str] = NO_SYSCTLS,  # noqa: ARG002
    ) -> PodAddresses:
        """Addresses for the sandbox; the same ones when asked again."""
        await self._ready.wait()
        if self.fail_next:
            raise NetworkFailure(self.fail_next.pop(0))
        try:
            self.ledger, given = addresses.allocate(self.ledger, sandbox_id)
        except Exhausted as error:
            raise NetworkFailure(f"failed to set up network for sandbox {sandbox_id!r}: {error}") from error
        return PodAddresses(given)

    async def detach(self, sandbox_id: str) -> None:
        """Give back the addresses."""
        self.ledger = addresses.release(self.ledger, {sandbox_id})

    async def retain(self, sandbox_ids: frozenset[str]) -> None:
        """Give back the addresses of all sandboxes not named."""
        self.ledger = addresses.release(self.ledger, frozenset(self.ledger.holders) - sandbox_ids)

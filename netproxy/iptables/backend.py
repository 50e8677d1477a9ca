"""The iptables back end at work: reads our chains, writes differences by `iptables-restore --noflush`."""

from __future__ import annotations

from netproxy.cluster import Cluster
from netproxy.commands import run
from netproxy.iptables.script import cleanup_script, delta_scripts
from netproxy.iptables.state import Contents, Delta, Observed, difference, parse
from netproxy.model import Rules
from netproxy.plan import Changes

_LOCK_SECONDS = "5"
"""How long to wait for whoever else is changing iptables at the moment (legacy iptables has one lock for all)."""


class IptablesBackend:
    """Services as iptables chains in the network namespace this process runs in.

    `tool` is the flavour: `iptables` is what the system has chosen, `iptables-nft` and `iptables-legacy` are explicit.
    """

    def __init__(self, cluster: Cluster, tool: str = "iptables") -> None:
        self._cluster = cluster
        self._tool = tool
        self._contents = Contents(cluster)

    async def sync(self, rules: Rules) -> int:
        """Make the chains hold exactly `rules`, keeping what a predecessor left right."""
        wanted = Contents(self._cluster, rules)
        delta = difference(await self._observe(), wanted, self._cluster)
        await self._restore(delta)
        self._contents = wanted
        return delta.size

    async def apply(self, changes: Changes) -> int:
        """Write only the chains and lines that `changes` change."""
        delta = self._contents.apply(changes)
        await self._restore(delta)
        return delta.size

    async def intact(self) -> bool:
        """Whether our chains and their hooks are as we left them."""
        return difference(await self._observe(), self._contents, self._cluster).size == 0

    async def cleanup(self) -> None:
        """Remove our chains and hooks."""
        for table, observed in (await self._observe()).items():
            if script := "".join(cleanup_script(table, observed)):
                await run(f"{self._tool}-restore", "--noflush", "-w", _LOCK_SECONDS, stdin=script)
        self._contents = Contents(self._cluster)

    def close(self) -> None:
        """Nothing is held open."""

    async def _observe(self) -> dict[str, Observed]:
        return {t: parse((await run(f"{self._tool}-save", "-t", t)).splitlines()) for t in ("nat", "filter")}

    async def _restore(self, delta: Delta) -> None:
        for script in delta_scripts(delta):
            await run(f"{self._tool}-restore", "--noflush", "-w", _LOCK_SECONDS, stdin=script)

"""The iptables back end at work: reads our chains, writes differences by `iptables-restore --noflush`."""

from __future__ import annotations

from collections.abc import Iterable

from netproxy.cluster import Cluster
from netproxy.commands import LOCK_SECONDS, run
from netproxy.iptables.script import cleanup_script, delta_scripts
from netproxy.iptables.state import Contents, Observed, difference, parse
from netproxy.model import Rules
from netproxy.netfilter import NetfilterSocket
from netproxy.plan import Changes


class IptablesBackend:
    """Services as iptables chains in the network namespace this process runs in.

    `tool` is the flavour: `iptables` is what the system has chosen, `iptables-nft` and `iptables-legacy` are explicit.
    """

    def __init__(self, cluster: Cluster, tool: str = "iptables") -> None:
        self._cluster = cluster
        self._tool = tool
        self._contents = Contents(cluster)
        self._through_nftables: bool | None = None
        self._netfilter: NetfilterSocket | None = None
        self._generation: int | None = None
        """nftables' generation if nobody but us has written since the last reading; each transaction adds one."""

    async def sync(self, rules: Rules) -> int:
        """Make the chains hold exactly `rules`, keeping what a predecessor left right."""
        wanted = Contents(self._cluster, rules)
        # Counted from before reading: a foreign transaction at any moment from here on shows as a difference.
        self._generation = await self._asked_generation()
        delta = difference(await self._observe(), wanted)
        await self._restore(delta_scripts(delta))
        self._contents = wanted
        return delta.size

    async def apply(self, changes: Changes) -> int:
        """Write only the chains that `changes` change."""
        delta = self._contents.apply(changes)
        await self._restore(delta_scripts(delta))
        return delta.size

    async def intact(self) -> bool:
        """Whether our chains and their hooks are as we left them. Where iptables writes to nftables, reads them only if
        some nftables transaction happened since."""
        generation = await self._asked_generation()
        if generation is not None and generation == self._generation:
            return True
        if difference(await self._observe(), self._contents).size:
            return False
        self._generation = generation
        return True

    async def cleanup(self) -> None:
        """Remove our chains and hooks."""
        if script := cleanup_script(await self._observe()):
            await self._restore((script,))
        self._contents = Contents(self._cluster)

    def close(self) -> None:
        """Close the netlink socket; the kernel keeps the rules."""
        if self._netfilter is not None:
            self._netfilter.close()

    async def _asked_generation(self) -> int | None:
        """The generation of nftables where iptables writes to it; None elsewhere: the kernel may know of no nftables."""
        if not await self._is_nft():
            return None
        if self._netfilter is None:
            self._netfilter = NetfilterSocket()
        return self._netfilter.generation()

    async def _is_nft(self) -> bool:
        if self._through_nftables is None:
            self._through_nftables = "nf_tables" in await run(self._tool, "--version")
        return self._through_nftables

    async def _observe(self) -> Observed:
        found = Observed()
        for table in ("nat", "filter"):
            saved = await run(f"{self._tool}-save", "-t", table)
            found.chains.update(parse(table, saved.splitlines()).chains)
        return found

    async def _restore(self, scripts: Iterable[str]) -> None:
        for script in scripts:
            await run(f"{self._tool}-restore", "--noflush", "-w", LOCK_SECONDS, stdin=script)
            if self._generation is not None:
                self._generation += script.count("COMMIT\n")

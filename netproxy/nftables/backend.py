"""The nftables back end at work: reads our table, writes differences, small ones by netlink, large ones by `nft -f`."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from netproxy.cluster import Cluster
from netproxy.commands import run
from netproxy.model import Frontend, Rule, Rules
from netproxy.netfilter import NetfilterSocket
from netproxy.nftables.netlink import commit
from netproxy.nftables.script import chains_script, delta_script, full_script
from netproxy.nftables.skeleton import TABLE, version
from netproxy.nftables.state import Contents, Delta, Observed, difference, is_whole, parse, stale_affinity
from netproxy.plan import Changes

log = logging.getLogger(__name__)

NETLINK_LIMIT = 300
"""Differences of up to so many entries go by netlink, larger ones through `nft`: encoding in Python costs more then."""


class NftablesBackend:
    """Services in the nftables table `ip covey-proxy` of the network namespace this process runs in."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._contents = Contents()
        self._sticky: dict[Frontend, Rule] = {}
        self._netfilter = NetfilterSocket()
        self._generation = -1
        """The ruleset's generation if nobody but us has written since the last reading; each transaction adds one."""

    async def sync(self, rules: Rules) -> int:
        """Make the table hold exactly `rules`; adopts a predecessor's table of the same version."""
        # Counted from before reading: a foreign transaction at any moment from here on shows as a difference.
        self._generation = self._netfilter.generation()
        observed = await self._observe()
        wanted = Contents(rules)
        self._sticky = {f: r for f, r in rules.items() if r.affinity_seconds}
        if is_whole(observed, version(self._cluster)):
            stale = tuple(stale_affinity(observed.affinity, self._sticky))
            delta = difference(observed, wanted)
            written = await self._commit(Delta((*delta.remove, *stale), delta.add, delta.new_chains, delta.old_chains))
        else:
            await self._nft(full_script(self._cluster, wanted))
            written = sum(len(elements) for elements in wanted.sets.values()) + len(wanted.chains) + 1
        self._contents = wanted
        return written

    async def apply(self, changes: Changes) -> int:
        """Write only what `changes` change."""
        written = await self._commit(self._contents.apply(changes))
        for change in changes:
            if change.after is not None and change.after.affinity_seconds:
                self._sticky[change.frontend] = change.after
            else:
                self._sticky.pop(change.frontend, None)
        if any(c.before is not None and c.before.affinity_seconds for c in changes):
            written += await self._forget_stale_clients()
        return written

    async def intact(self) -> bool:
        """Whether the table is as we left it. Reads it only if some nftables transaction happened since."""
        generation = self._netfilter.generation()
        if generation == self._generation:
            return True
        observed = await self._observe()
        if not is_whole(observed, version(self._cluster)) or difference(observed, self._contents).size:
            return False
        self._generation = generation
        return True

    async def cleanup(self) -> None:
        """Remove the table."""
        await self._nft((f"add table ip {TABLE}\ndelete table ip {TABLE}\n",))
        self._contents = Contents()

    def close(self) -> None:
        """Close the netlink socket; the table stays."""
        self._netfilter.close()

    async def _commit(self, delta: Delta) -> int:
        """Write a difference in one transaction, apart from new chains: those are made before, and lead nowhere yet."""
        if not delta.size:
            return 0
        if delta.size > NETLINK_LIMIT:
            await self._nft(delta_script(self._cluster, delta))
            return delta.size
        if delta.new_chains:
            await self._nft(chains_script(self._cluster, delta.new_chains))
        commit(self._netfilter, delta)
        self._generation += 1
        return delta.size

    async def _forget_stale_clients(self) -> int:
        """Remembered clients of backends that are gone choose anew."""
        result = await run("nft", "-nn", "list", "map", "ip", TABLE, "affinity")
        observed = parse(result.splitlines())
        return await self._commit(Delta(tuple(stale_affinity(observed.affinity, self._sticky))))

    async def _observe(self) -> Observed:
        """Read the table; an empty answer when there is none."""
        tables = await run("nft", "list", "tables", "ip")
        if f"table ip {TABLE}" not in tables.splitlines():
            return Observed()
        return parse((await run("nft", "-nn", "list", "table", "ip", TABLE)).splitlines())

    async def _nft(self, script: Iterable[str]) -> None:
        await run("nft", "-f", "-", stdin="".join(script))
        self._generation += 1

"""Forgetting flows in the kernel's connection tracking, with the `conntrack` tool."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path

from netproxy.commands import run
from netproxy.flows import Where, entries_of, stale_entries
from netproxy.model import Frontend, Rules

_NOTHING_DELETED = 1
"""The tool's exit status when no flow matched: it ended meanwhile."""

_LOCAL = re.compile(r"\|-- (\S+)\n\s+/32 host LOCAL")


class Conntrack:
    """The connection tracking table of the network namespace this process runs in."""

    def __init__(self, service_cidrs: Sequence[str]) -> None:
        self._service_cidrs = tuple(service_cidrs)

    async def reconcile(self, rules: Rules, frontends: Collection[Frontend] | None = None) -> None:
        """Delete the UDP flows to these frontends (None: to any Service) that are led to what is no backend of theirs:
        the next packet of each is looked up anew. `KernelRefused` when the tool cannot."""
        listing = await run("conntrack", "-L", "-p", "udp")
        where = Where(own_addresses(), self._service_cidrs)
        for entry in stale_entries(entries_of(listing.splitlines()), rules, where, frontends):
            asked = ("--orig-dst", entry.address, "--orig-port-dst", str(entry.port))
            answers = ("--reply-src", entry.backend, "--reply-port-src", str(entry.backend_port))
            await run("conntrack", "-D", "-p", "udp", *asked, *answers, accept=(0, _NOTHING_DELETED))


def own_addresses() -> frozenset[str]:
    """The IPv4 addresses of this network namespace, but not loopback's: where node ports are reached."""
    found: list[str] = _LOCAL.findall(Path("/proc/net/fib_trie").read_text())
    return frozenset(address for address in found if not address.startswith("127."))

"""Forgetting flows in the kernel's connection tracking, with the `conntrack` tool."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from netproxy.commands import run
from netproxy.flows import Flow, entries_of, stale_entries
from netproxy.model import Rules

_NOTHING_DELETED = 1
"""The tool's exit status when no flow matched, which is the usual case."""


class Conntrack:
    """The connection tracking table of the network namespace this process runs in."""

    def __init__(self, node_addresses: Sequence[str]) -> None:
        self._node_addresses = tuple(node_addresses)

    async def forget(self, flows: Iterable[Flow]) -> None:
        """Delete these flows: the next packet of each is looked up anew. `KernelRefused` when the tool cannot."""
        for flow in flows:
            for command in self._commands(flow):
                await run(*command, accept=(0, _NOTHING_DELETED))

    async def reconcile(self, rules: Rules) -> None:
        """Delete the UDP flows to frontends of `rules` that are led to something that is no backend of theirs."""
        listing = await run("conntrack", "-L", "-p", "udp")
        for entry in stale_entries(entries_of(listing.splitlines()), rules, self._node_addresses):
            asked = ("--orig-src", entry.source, "--orig-dst", entry.address)
            ports = ("--orig-port-src", str(entry.source_port), "--orig-port-dst", str(entry.port))
            await run("conntrack", "-D", "-p", "udp", *asked, *ports, accept=(0, _NOTHING_DELETED))

    def _commands(self, flow: Flow) -> Iterator[tuple[str, ...]]:
        """One command for each address by which the frontend may have been reached."""
        addresses = self._node_addresses if flow.frontend.is_node_port else (flow.frontend.address,)
        port = str(flow.frontend.port)
        led_to = ("--dst-nat", flow.backend.address) if flow.backend else ()
        for address in addresses:
            yield ("conntrack", "-D", "-p", "udp", "--orig-dst", address, "--orig-port-dst", port, *led_to)

"""The pod network of one node: follows the Node objects and keeps routes, tunnel, masquerading and addresses as they
should be.

A change of a Node rings a doorbell; every pass looks at everything again, and a pass happens unasked now and then,
since others flush tables too. Until the Nodes are known nothing is removed: an agent that restarts with no broker in
reach goes on with the routes that are there.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from agents.network import firewall, names, outside
from agents.network.items import PROTOCOL_NODES, PROTOCOL_PODS, Action, Address, Item, Remove, Sysctl, difference
from agents.network.messages import KernelRefusal
from agents.network.netlink import Netlink, read_sysctls
from agents.network.peers import Peer, Tunnel, Underlay, peer_of, wanted_routes
from agents.network.podnetwork import KernelPodNetwork
from agents.network.worker import Worker
from mesh.config import AgentConfig
from mesh.errors import CoveyError, Terminal
from mesh.netns import machine_path
from mesh.objects.types import Object

log = logging.getLogger(__name__)

RESYNC_SECONDS = 30.0
RETRY_SECONDS = 1.0


class NodeCache(Protocol):
    """The part of an informer on Nodes that the pod network needs."""

    def list(self) -> Sequence[Object]:
        """All Nodes as last seen."""

    async def synced(self) -> None:
        """Returns once the first list is in."""

    def add_handler(self, handler: Callable[[Object | None, Object | None], None]) -> None:
        """Call `handler` with the old and the new state of each Node that changes."""


class NodeNetwork:
    """One node's pod network. Make it with `open_network`; `pods` wires sandboxes; `run` goes on until cancelled."""

    def __init__(self, config: AgentConfig, nodes: NodeCache, worker: Worker, underlay: Underlay) -> None:
        self._config = config
        self._nodes = nodes
        self._worker = worker
        self._tunnel = Tunnel(config.network.vxlan_id, config.network.vxlan_port)
        self._bell = asyncio.Event()
        mtu = min(config.network.mtu, underlay.mtu)
        self.pods = KernelPodNetwork(
            worker,
            state_dir=Path(config.state_dir),
            node_addresses=config.addresses,
            mtu=mtu,
            machine=machine_path(config.cluster),
        )

    async def run(self) -> None:
        """Keep the node's network as the Node objects say, until cancelled."""
        await self._nodes.synced()
        self._nodes.add_handler(lambda _old, _new: self._bell.set())
        while True:
            self._bell.clear()
            wait = RESYNC_SECONDS if await self._pass() else RETRY_SECONDS
            try:
                async with asyncio.timeout(wait):
                    await self._bell.wait()
            except TimeoutError:
                continue

    async def close(self) -> None:
        """End the worker; everything in the kernel stays, for pods go on."""
        await asyncio.to_thread(self._worker.close)

    async def _pass(self) -> bool:
        """One pass; whether all of it succeeded."""
        peers = [peer_of(node) for node in self._nodes.list()]
        own = next((peer for peer in peers if peer.name == self._config.node), None)
        try:
            await self._worker.run(self._prepare)
            if own is not None:
                await self.pods.configure(own.pod_cidrs)
                refused = await self._worker.run(self._route, own, peers)
                for refusal in refused:
                    log.warning("pod network: %s", refusal, extra={"event": "network.refused"})
                return not refused
        except (CoveyError, OSError):
            log.exception("pod network: a pass failed", extra={"event": "network.failed"})
            return False
        return True

    def _prepare(self) -> None:
        """What the node needs whoever its peers are."""
        prepare(self._config)

    def _route(self, own: Peer, peers: Sequence[Peer]) -> list[KernelRefusal]:
        """Make the routes to other nodes; one that the kernel refuses does not hold up the others."""
        refused = []
        underlay = find_underlay(self._config)
        wanted = wanted_routes(own, peers, underlay, self._tunnel)
        with Netlink() as kernel:
            for action in difference(wanted, _observe(kernel, wanted)):
                refused += _try(kernel, action)
        return refused


async def open_network(config: AgentConfig, nodes: NodeCache, *, netns: str = "") -> NodeNetwork:
    """Prepare the node and adopt what is there; pods can be attached at once if an earlier run knew the pod CIDRs.

    `netns` is the path of the node's namespace when the calling process is not in it. Raises `Terminal` when the
    node's address is on no interface.
    """
    worker = Worker(netns)
    try:
        underlay = await worker.run(find_underlay, config)
        await worker.run(prepare, config)
        network = NodeNetwork(config, nodes, worker, underlay)
        await network.pods.start()
    except BaseException:
        worker.close()
        raise
    return network


def find_underlay(config: AgentConfig) -> Underlay:
    """The node's own link: the configured interface, or the one that holds the node's address."""
    with Netlink() as kernel:
        held = kernel.addresses(config.interface)
        for address in held:
            if address.address.partition("/")[0] in config.addresses:
                (link,) = kernel.links(address.device)
                on_it = tuple(a.address for a in held if a.device == address.device)
                return Underlay(address.device, on_it, link["mtu"])
    where = f"interface {config.interface}" if config.interface else "any interface"
    raise Terminal(f"none of the node's addresses ({', '.join(config.addresses)}) is on {where} of this machine")


def prepare(config: AgentConfig) -> None:
    """Forwarding, the resolver's address, masquerading, and acceptance in other people's packet filters."""
    items = base_items(config)
    with Netlink() as kernel:
        observed: list[Item] = [*kernel.addresses("lo"), *read_sysctls(items)]
        kernel.apply(difference(items, [item for item in observed if item in items]))
    network = config.network
    mark = outside.mark_of(network.pod_cidrs)
    firewall.ensure_tables(outside.masquerade_tables(network.pod_cidrs), outside.TABLE, mark)
    if firewall.filter_in_use():
        rules = outside.accepting_rules(
            config.cluster, network.pod_cidrs, dns_address=network.dns_address, vxlan_port=network.vxlan_port
        )
        firewall.ensure_rules(rules, outside.comment_of(config.cluster))


def base_items(config: AgentConfig) -> tuple[Item, ...]:
    """Forwarding for the pods' families, and the cluster DNS address: it lives on lo of every node, so that pods reach
    their own node's resolver without any proxying."""
    versions = sorted({ipaddress.ip_network(cidr).version for cidr in config.network.pod_cidrs})
    names_of = {4: "net/ipv4/ip_forward", 6: "net/ipv6/conf/all/forwarding"}
    dns = ipaddress.ip_address(config.network.dns_address)
    return (*(Sysctl(names_of[v], "1") for v in versions), Address(f"{dns}/{dns.max_prefixlen}", "lo"))


def remove_network(config: AgentConfig) -> None:
    """Remove everything of the pod network from the calling thread's namespace, pods' links included; nothing there
    is fine. For a machine that leaves its cluster; a node that is a namespace goes with it."""
    with Netlink() as kernel:
        own = (link["name"] for link in kernel.links() if names.sandbox_of(link["alias"]))
        kernel.remove_links([*own, names.VXLAN_DEVICE])
        routes = [*kernel.routes(protocol=PROTOCOL_PODS), *kernel.routes(protocol=PROTOCOL_NODES)]
        kernel.apply([Remove(route) for route in routes])
        kernel.apply([Remove(item) for item in base_items(config) if isinstance(item, Address)])
    firewall.remove_tables(outside.masquerade_tables(config.network.pod_cidrs), outside.TABLE)
    if firewall.filter_in_use():
        firewall.ensure_rules((), outside.comment_of(config.cluster))


def _observe(kernel: Netlink, wanted: Sequence[Item]) -> list[Item]:
    """Ours among what is there: routes by their protocol number, everything on the tunnel device by its name."""
    device = names.VXLAN_DEVICE
    found: list[Item] = [*kernel.link_items(device), *kernel.routes(protocol=PROTOCOL_NODES)]
    if not found:
        return list(read_sysctls(wanted))
    tunnel: list[Item] = [*kernel.neighbours(device), *kernel.forwardings(device)]
    addresses = [a for a in kernel.addresses(device) if ":" not in a.address]
    return [*found, *tunnel, *addresses, *read_sysctls(wanted)]


def _try(kernel: Netlink, action: Action) -> list[KernelRefusal]:
    try:
        kernel.apply((action,))
    except KernelRefusal as refusal:
        return [refusal]
    return []

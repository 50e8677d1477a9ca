"""`covey proxy`: wires the loop to the API and to the kernel. The only place that knows both."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import shutil
from collections.abc import Callable, Iterable, Iterator
from ipaddress import ip_network
from pathlib import Path

from mesh.bus.api_client import BusTransport
from mesh.bus.identities import load_signer
from mesh.bus.nats import NatsBus
from mesh.client.client import Client
from mesh.client.shared import SharedInformers
from mesh.clock import SystemClock
from mesh.config import NetworkConfig, ProxyConfig
from mesh.errors import Terminal
from mesh.objects.kinds import ENDPOINTSLICES, NODES, PODS, SERVICES
from mesh.objects.meta import Key, key_of, labels_of, namespace_of
from mesh.objects.types import Object
from netproxy import sysctls
from netproxy.acceptance import Acceptance
from netproxy.backend import Backend, KernelRefused
from netproxy.cluster import MARK, Cluster
from netproxy.commands import flavours
from netproxy.conntrack import Conntrack
from netproxy.hostports import owner_of
from netproxy.life import give_signs
from netproxy.model import NodeView
from netproxy.proxier import BY_SERVICE, Proxier, service_of

log = logging.getLogger(__name__)

ZONE = "topology.kubernetes.io/zone"
_RETIRE_SECONDS = 10.0


async def run(config: ProxyConfig) -> None:
    """Keep the kernel of this network namespace in step with the cluster's Services until cancelled.

    The rules stay when the proxy ends, and the next one adopts them. `Terminal`, by itself or in a group, when the mode is
    unknown or the machine lacks what it needs.
    """
    cluster = cluster_of(config.network)
    backend = make_backend(config.mode, cluster)
    _require(*_TOOLS[config.mode], "conntrack")
    sysctls.ensure()
    bus = NatsBus(config.bus.servers, load_signer(Path(config.bus.seed_file)), name=f"covey-proxy {config.node}")
    try:
        await bus.start(wait=0)
        client = Client(BusTransport(bus), user_agent="covey-proxy")
        informers = SharedInformers(client, random.Random())
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(give_signs(bus, config.node))
            tasks.create_task(follow(config, informers, backend, cluster))
    finally:
        backend.close()
        await bus.close()


async def cleanup(config: ProxyConfig) -> None:
    """Remove everything that a proxy of any mode wrote to this network namespace, and nothing else."""
    cluster = cluster_of(config.network)
    for backend in leftovers("", cluster):
        with contextlib.closing(backend):
            await backend.cleanup()
    await _acceptance(cluster).cleanup()


def leftovers(mode: str, cluster: Cluster) -> Iterator[Backend]:
    """Back ends for whatever proxies of other modes than `mode` may have left here, both flavours of iptables included."""
    if mode != "nftables" and shutil.which("nft"):
        yield make_backend("nftables", cluster)
    from netproxy.iptables.backend import IptablesBackend

    for flavour in flavours("nat"):
        if mode != "iptables" or _program(flavour) != _program("iptables"):
            yield IptablesBackend(cluster, flavour)


def _program(tool: str) -> Path:
    """The program that a command is in the end: `iptables` is a link to one of its flavours."""
    return Path(shutil.which(tool) or tool).resolve()


async def retire_others(mode: str, cluster: Cluster, synced: asyncio.Event) -> None:
    """What a proxy of another mode left goes as soon as our rules are in place, so that clients never meet none. Each kind
    by itself: one that stays does not keep the others."""
    await synced.wait()
    async with asyncio.TaskGroup() as tasks:
        for backend in leftovers(mode, cluster):
            tasks.create_task(_clean(backend))


async def _clean(backend: Backend) -> None:
    """Clean up, however often it has to be tried."""
    with contextlib.closing(backend):
        while True:
            try:
                return await backend.cleanup()
            except KernelRefused as error:
                log.warning("proxy.leftovers_stay retry_seconds=%g reason=%s", _RETIRE_SECONDS, error)
            await asyncio.sleep(_RETIRE_SECONDS)


async def follow(config: ProxyConfig, informers: SharedInformers, backend: Backend, cluster: Cluster) -> None:
    """Run the informers and the loop between them and `backend`."""
    services = informers.get_or_create(SERVICES)
    slices = informers.get_or_create(ENDPOINTSLICES)
    nodes = informers.get_or_create(NODES, field_selector=f"metadata.name={config.node}")
    pods = informers.get_or_create(PODS, field_selector=f"spec.nodeName={config.node}")
    slices.add_index(BY_SERVICE, _service_names)
    proxier = Proxier(
        services=services,
        slices=slices,
        pods=pods,
        backend=backend,
        flows=Conntrack(cluster.service_cidrs),
        guard=_acceptance(cluster),
        clock=SystemClock(),
    )
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(informers.run())
        await informers.synced()
        proxier.set_node(_view(config.node, nodes.get(Key("", config.node))))
        services.add_handler(lambda old, new: _ring(proxier.wake, old, new, key_of))
        slices.add_handler(lambda old, new: _ring(proxier.wake, old, new, _service_key))
        pods.add_handler(lambda old, new: _ring(proxier.wake, old, new, owner_of))
        nodes.add_handler(lambda _, new: proxier.set_node(_view(config.node, new)))
        tasks.create_task(retire_others(config.mode, cluster, proxier.synced))
        log.info("proxy.started node=%s mode=%s", config.node, config.mode)
        await proxier.run()


def cluster_of(network: NetworkConfig) -> Cluster:
    """The IPv4 side of the cluster's address plan."""
    return Cluster(
        tuple(c for c in network.pod_cidrs if ip_network(c).version == 4),
        tuple(c for c in network.service_cidrs if ip_network(c).version == 4),
        network.dns_address,
    )


def make_backend(mode: str, cluster: Cluster) -> Backend:
    """The back end for a mode; `Terminal` for one that does not exist. Imports only what the mode needs."""
    if mode == "nftables":
        from netproxy.nftables.backend import NftablesBackend

        return NftablesBackend(cluster)
    if mode == "iptables":
        from netproxy.iptables.backend import IptablesBackend

        return IptablesBackend(cluster)
    if mode == "ipvs":
        raise Terminal("proxy mode ipvs is not there yet: use nftables or iptables")
    raise Terminal(f"unknown proxy mode {mode!r}: use nftables or iptables")


_TOOLS = {"nftables": ("nft",), "iptables": ("iptables-save", "iptables-restore")}
"""The programs that each mode runs."""
MODES = tuple(_TOOLS)


def _require(*tools: str) -> None:
    missing = [tool for tool in tools if shutil.which(tool) is None]
    if missing:
        raise Terminal(f"the proxy needs {', '.join(missing)}: install nftables, iptables and conntrack")


def _acceptance(cluster: Cluster) -> Acceptance:
    return Acceptance(cluster.pod_cidrs, cluster.service_cidrs, MARK)


def _view(name: str, node: Object | None) -> NodeView:
    return NodeView(name, labels_of(node).get(ZONE, "") if node is not None else "")


def _service_key(piece: Object) -> Key | None:
    return service_of(namespace_of(piece), labels_of(piece))


def _service_names(piece: Object) -> Iterable[str]:
    key = _service_key(piece)
    return (str(key),) if key is not None else ()


def _ring(
    wake: Callable[[Key], None], old: Object | None, new: Object | None, key: Callable[[Object], Key | None]
) -> None:
    """Wake what an object belonged to before and belongs to now."""
    for service in {key(obj) for obj in (old, new) if obj is not None}:
        if service is not None:
            wake(service)

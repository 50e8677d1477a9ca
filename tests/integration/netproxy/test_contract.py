"""What every back end does to real packets, whichever kernel interface it uses."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from mesh.objects.types import Object
from netproxy.backend import Backend
from netproxy.cluster import Cluster
from netproxy.conntrack import Conntrack
from netproxy.flows import affected
from netproxy.iptables.backend import IptablesBackend
from netproxy.model import Frontend, NodeView, Rule, rules_of
from netproxy.nftables.backend import NftablesBackend
from netproxy.plan import Changes, diff
from tests.support.service_world import ADDRESSES, PORT, World, ip
from tests.support.services import endpoint, service, slice_of

pytestmark = pytest.mark.root

CLUSTER = Cluster(("10.64.0.0/16",), ("10.96.0.0/16",), "10.96.0.10")
VIEW = NodeView("node")
A, B, C = endpoint(ADDRESSES["pod-a"]), endpoint(ADDRESSES["pod-b"]), endpoint(ADDRESSES["pod-c"], node="other")
IP, NODE_PORT = "10.96.0.20", 30080


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World(f"np{os.getpid()}")
    made.remove()
    made.build()
    await made.serve("pod-a", "pod-b", "pod-c")
    with made.entered("node"):
        yield made
    await made.stop()
    made.remove()


@pytest.fixture(params=["nftables", "iptables-nft", "iptables-legacy"])
def make_backend(request: pytest.FixtureRequest, world: World) -> Iterator[Callable[[], Backend]]:
    made: list[Backend] = []

    def make() -> Backend:
        nftables = request.param == "nftables"
        made.append(NftablesBackend(CLUSTER) if nftables else IptablesBackend(CLUSTER, request.param))
        return made[-1]

    yield make
    for backend in made:
        backend.close()


@pytest.fixture
def proxy(make_backend: Callable[[], Backend]) -> Proxy:
    return Proxy(make_backend())


class Proxy:
    """A back end that is told whole worlds, and passes on the differences."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.rules: dict[Frontend, Rule] = {}
        self.synced = False

    async def show(self, *services: tuple[Object, list[Object]]) -> Changes:
        """Let exactly these Services, each with its endpoints, be the world; returns what that changed."""
        new: dict[Frontend, Rule] = {}
        for made, endpoints in services:
            protocol = made["spec"]["ports"][0]["protocol"]
            new.update(rules_of(made, [slice_of(made["metadata"]["name"], endpoints, protocol=protocol)], VIEW))
        changes = diff(self.rules, new)
        if not self.synced:
            await self.backend.sync(new)
        else:
            await self.backend.apply(changes)
        self.rules, self.synced = new, True
        return changes


async def reached(world: World, role: str, address: str, port: int, *, times: int = 24, udp: bool = False) -> set[str]:
    ask = world.udp if udp else world.tcp
    return {(await ask(role, address, port))[0] for _ in range(times)}


@pytest.mark.parametrize("protocol", ["TCP", "UDP"])
async def test_cluster_ip_and_node_port_reach_all_backends(world: World, proxy: Proxy, protocol: str) -> None:
    await proxy.show((service(node_port=NODE_PORT, protocol=protocol), [A, B, C]))
    udp = protocol == "UDP"
    everyone = {"pod-a", "pod-b", "pod-c"}
    assert await reached(world, "pod-a", IP, 80, udp=udp) == everyone
    assert await reached(world, "node", IP, 80, udp=udp) == everyone
    assert await reached(world, "client", ADDRESSES["node"], NODE_PORT, udp=udp) == everyone
    assert await reached(world, "node", ADDRESSES["node"], NODE_PORT, udp=udp) == everyone
    assert await reached(world, "pod-b", ADDRESSES["node"], NODE_PORT, udp=udp) == everyone


async def test_masquerade_only_where_needed(world: World, proxy: Proxy) -> None:
    await proxy.show((service(node_port=NODE_PORT), [C]))
    assert await world.tcp("pod-a", IP, 80) == ("pod-c", ADDRESSES["pod-a"])
    assert await world.tcp("client", ADDRESSES["node"], NODE_PORT) == ("pod-c", "198.51.100.1")
    await proxy.show((service(node_port=NODE_PORT), [B]))
    assert await world.tcp("pod-a", IP, 80) == ("pod-b", ADDRESSES["pod-a"])
    assert await world.tcp("client", ADDRESSES["node"], NODE_PORT) == ("pod-b", ADDRESSES["client"])


async def test_a_pod_reaches_itself(world: World, proxy: Proxy) -> None:
    await proxy.show((service(node_port=NODE_PORT), [A]))
    pod, seen = await world.tcp("pod-a", IP, 80)
    assert pod == "pod-a"
    assert seen != ADDRESSES["pod-a"]
    assert (await world.tcp("pod-a", ADDRESSES["node"], NODE_PORT))[0] == "pod-a"


async def test_external_traffic_policy_local(world: World, proxy: Proxy) -> None:
    local = service(node_port=NODE_PORT, externalTrafficPolicy="Local")
    await proxy.show((local, [B, C]))
    assert await reached(world, "client", ADDRESSES["node"], NODE_PORT) == {"pod-b"}
    assert await world.tcp("client", ADDRESSES["node"], NODE_PORT) == ("pod-b", ADDRESSES["client"])
    assert await reached(world, "pod-a", ADDRESSES["node"], NODE_PORT) == {"pod-b", "pod-c"}
    assert await reached(world, "node", ADDRESSES["node"], NODE_PORT) == {"pod-b", "pod-c"}
    await proxy.show((local, [C]))
    with pytest.raises(TimeoutError):
        await world.tcp("client", ADDRESSES["node"], NODE_PORT, timeout=0.3)
    assert await reached(world, "pod-a", ADDRESSES["node"], NODE_PORT) == {"pod-c"}


async def test_internal_traffic_policy_local(world: World, proxy: Proxy) -> None:
    local = service(internalTrafficPolicy="Local")
    await proxy.show((local, [B, C]))
    assert await reached(world, "pod-a", IP, 80) == {"pod-b"}
    await proxy.show((local, [C]))
    with pytest.raises(TimeoutError):
        await world.tcp("pod-a", IP, 80, timeout=0.3)


@pytest.mark.parametrize("protocol", ["TCP", "UDP"])
async def test_without_endpoints_clients_are_refused_at_once(world: World, proxy: Proxy, protocol: str) -> None:
    await proxy.show((service(node_port=NODE_PORT, protocol=protocol), []))
    ask = world.udp if protocol == "UDP" else world.tcp
    for role, address, port in (
        ("pod-a", IP, 80),
        ("node", IP, 80),
        ("client", ADDRESSES["node"], NODE_PORT),
        ("node", ADDRESSES["node"], NODE_PORT),
    ):
        # The kernel tells a local process of a refused datagram when it sends it: EPERM.
        with pytest.raises((ConnectionRefusedError, PermissionError)):
            await ask(role, address, port)
    await proxy.show((service(node_port=NODE_PORT, protocol=protocol), [B]))
    assert (await ask("client", ADDRESSES["node"], NODE_PORT))[0] == "pod-b"
    assert (await ask("pod-a", IP, 80))[0] == "pod-b"


async def test_an_unknown_port_of_a_cluster_ip_is_refused(world: World, proxy: Proxy) -> None:
    await proxy.show((service(), [A]))
    with pytest.raises(ConnectionRefusedError):
        await world.tcp("pod-b", IP, 81)


async def test_session_affinity(world: World, proxy: Proxy) -> None:
    sticky = service(node_port=NODE_PORT, sessionAffinity="ClientIP")
    await proxy.show((sticky, [A, B, C]))
    chosen = await reached(world, "client", ADDRESSES["node"], NODE_PORT)
    assert len(chosen) == 1
    assert len(await reached(world, "pod-b", IP, 80)) == 1
    others = [e for e, pod in ((A, "pod-a"), (B, "pod-b"), (C, "pod-c")) if pod not in chosen]
    await proxy.show((sticky, others))
    moved = await reached(world, "client", ADDRESSES["node"], NODE_PORT)
    assert len(moved) == 1
    assert moved != chosen
    await proxy.show((sticky, [A, B, C]))
    assert await reached(world, "client", ADDRESSES["node"], NODE_PORT) == moved


async def test_session_affinity_ends_with_its_time(world: World, proxy: Proxy) -> None:
    sticky = service(sessionAffinity="ClientIP", sessionAffinityConfig={"clientIP": {"timeoutSeconds": 1}})
    await proxy.show((sticky, [A, B, C]))
    chosen = await world.tcp("client", IP, 80)
    async with asyncio.timeout(30):
        while await world.tcp("client", IP, 80) == chosen:  # noqa: ASYNC110
            await asyncio.sleep(1.1)  # asking more often would renew the time


async def test_host_network_backends(world: World, proxy: Proxy) -> None:
    """Their address is the node's own: connections to it end here, also those that the node's own processes make."""
    await world.serve("node")
    await proxy.show((service(node_port=NODE_PORT), [endpoint(ADDRESSES["node"])]))
    for role in ("pod-a", "node"):
        assert (await world.tcp(role, IP, 80))[0] == "node"
    for role in ("client", "pod-a", "node"):
        assert (await world.tcp(role, ADDRESSES["node"], NODE_PORT))[0] == "node"
    assert (await world.tcp("client", ADDRESSES["node"], NODE_PORT))[1] == ADDRESSES["client"]


async def test_loopback_belongs_to_the_node(world: World, proxy: Proxy) -> None:
    """A node port is none of 127.0.0.1, whether or not it has backends."""
    with socket.create_server(("127.0.0.1", NODE_PORT)):
        for endpoints in ([A], []):
            await proxy.show((service(node_port=NODE_PORT), endpoints))
            await (await world.connect("node", "127.0.0.1", NODE_PORT)).close()


async def test_every_address_of_the_node_has_its_node_ports(world: World, proxy: Proxy) -> None:
    await proxy.show((service(node_port=NODE_PORT), [A]))
    for address in (ADDRESSES["node"], "198.51.100.1", "10.64.0.1"):
        assert (await world.tcp("client", address, NODE_PORT))[0] == "pod-a"
    with pytest.raises(ConnectionRefusedError):
        await world.tcp("client", ADDRESSES["node"], NODE_PORT + 1)


async def test_sctp_services_do_not_disturb_others(world: World, proxy: Proxy) -> None:
    signalling = service("sctp", address="10.96.0.30", protocol="SCTP", node_port=NODE_PORT + 1)
    for endpoints in ([], [A], [A, C], []):
        await proxy.show((signalling, endpoints), (service(), [B]))
        assert await proxy.backend.intact()
        assert (await world.tcp("pod-a", IP, 80))[0] == "pod-b"


async def test_the_nodes_own_resolver_answers_at_the_services_address(world: World, proxy: Proxy) -> None:
    """Where the address of cluster DNS is the node's, the Service of that address is not redirected."""
    dns = service("kube-dns", address=CLUSTER.dns_address, port=PORT)
    await proxy.show((dns, [A]))
    assert (await world.tcp("pod-b", CLUSTER.dns_address, PORT))[0] == "pod-a"
    ip("address", "add", f"{CLUSTER.dns_address}/32", "dev", "lo")
    with socket.create_server((CLUSTER.dns_address, PORT)) as resolver:
        connection = await world.connect("pod-b", CLUSTER.dns_address, PORT)
        accepted, peer = resolver.accept()
        assert peer[0] == ADDRESSES["pod-b"]
        accepted.close()
        await connection.close()


async def test_load_balancer_addresses_and_source_ranges(world: World, proxy: Proxy) -> None:
    balanced = service(type="LoadBalancer", externalIPs=["203.0.113.7"], loadBalancerSourceRanges=["192.0.2.0/24"])
    balanced["status"] = {"loadBalancer": {"ingress": [{"ip": "203.0.113.8"}]}}
    await proxy.show((balanced, [A, B]))
    assert await reached(world, "client", "203.0.113.7", 80) == {"pod-a", "pod-b"}
    assert await reached(world, "client", "203.0.113.8", 80) == {"pod-a", "pod-b"}
    balanced["spec"]["loadBalancerSourceRanges"] = ["198.51.100.0/24"]
    await proxy.show((service(), []))
    await proxy.show((balanced, [A, B]))
    with pytest.raises(TimeoutError):
        await world.tcp("client", "203.0.113.8", 80, timeout=0.3)
    assert (await world.tcp("client", "203.0.113.7", 80))[0] in {"pod-a", "pod-b"}


async def test_established_connections_outlive_every_change(world: World, proxy: Proxy) -> None:
    await proxy.show((service(node_port=NODE_PORT), [A]))
    first = await world.connect("pod-b", IP, 80)
    second = await world.connect("client", ADDRESSES["node"], NODE_PORT)
    assert (await first.ask())[0] == (await second.ask())[0] == "pod-a"
    await proxy.show((service(node_port=NODE_PORT), [B, C]))
    assert await reached(world, "client", ADDRESSES["node"], NODE_PORT) == {"pod-b", "pod-c"}
    assert (await first.ask())[0] == (await second.ask())[0] == "pod-a"
    await proxy.show()
    assert (await first.ask())[0] == (await second.ask())[0] == "pod-a"
    await first.close()
    await second.close()


def tool(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def ruleset() -> str:
    """Everything the kernel holds of nftables and of both iptables, with handles."""
    return tool("nft", "-a", "list", "ruleset") + tool("iptables-legacy-save")


async def test_a_restart_changes_nothing(world: World, proxy: Proxy, make_backend: Callable[[], Backend]) -> None:
    sticky = service("sticky", address="10.96.0.21", sessionAffinity="ClientIP")
    services = (
        (service(node_port=NODE_PORT, externalTrafficPolicy="Local"), [A, B, C]),
        (sticky, [A, B]),
        (service("empty", address="10.96.0.22"), []),
    )
    await proxy.show(*services)
    connection = await world.connect("pod-a", IP, 80)
    await connection.ask()
    chosen = await reached(world, "client", "10.96.0.21", 80)
    before = ruleset().count("handle")
    again = Proxy(make_backend())
    assert await again.backend.sync(proxy.rules) == 0
    assert await again.backend.intact()
    assert ruleset().count("handle") == before
    await connection.ask()
    assert await reached(world, "client", "10.96.0.21", 80) == chosen
    await connection.close()


async def test_what_somebody_else_flushed_comes_back(world: World, proxy: Proxy) -> None:
    await proxy.show((service(), [A]))
    assert await proxy.backend.intact()
    tool("nft", "flush", "ruleset")
    for table in ("nat", "filter"):
        tool("iptables-legacy", "-t", table, "-F")
    assert not await proxy.backend.intact()
    assert await proxy.backend.sync(proxy.rules) > 0
    assert await proxy.backend.intact()
    assert await world.tcp("pod-b", IP, 80) == ("pod-a", ADDRESSES["pod-b"])


async def test_cleanup_leaves_nothing_of_ours_and_all_of_others(world: World, proxy: Proxy) -> None:
    foreign = ("-t", "nat", "-A", "PREROUTING", "-p", "tcp", "--dport", "9", "-j", "ACCEPT")
    tool("iptables-nft", *foreign)
    tool("iptables-legacy", *foreign)
    tool("nft", "add", "table", "ip", "theirs")
    await proxy.backend.cleanup()
    await proxy.show((service(node_port=NODE_PORT, sessionAffinity="ClientIP"), [A, B]), (service("empty"), []))
    assert "covey" in ruleset().lower()
    await proxy.backend.cleanup()
    left = ruleset()
    assert "covey" not in left.lower()
    assert "table ip theirs" in left
    assert "tcp dport 9 counter" in left
    assert "-A PREROUTING -p tcp -m tcp --dport 9 -j ACCEPT" in left
    await proxy.backend.cleanup()


async def test_bursts(world: World, proxy: Proxy) -> None:
    """Many Services at once, as a full sync and as one large difference."""
    many = [(service(f"s{i}", address=f"10.96.1.{i}", node_port=31000 + i), [A, B, C][: i % 4]) for i in range(200)]
    await proxy.show(*many[:100])
    await proxy.show(*many)
    assert await reached(world, "pod-a", "10.96.1.199", 80) == {"pod-a", "pod-b", "pod-c"}
    assert await reached(world, "client", ADDRESSES["node"], 31001) == {"pod-a"}
    await proxy.show(*many[190:])
    with pytest.raises(ConnectionRefusedError):
        await world.tcp("pod-a", "10.96.1.1", 80)
    assert await reached(world, "pod-a", "10.96.1.199", 80) == {"pod-a", "pod-b", "pod-c"}


@pytest.mark.parametrize("seed", [1, 2])
async def test_any_sequence_of_changes_ends_where_a_full_sync_would(
    world: World, proxy: Proxy, make_backend: Callable[[], Backend], seed: int
) -> None:
    rng = random.Random(seed)
    fresh = make_backend()
    worlds: dict[str, tuple[Object, list[Object]]] = {}
    for _ in range(25):
        for _ in range(rng.choice([1, 1, 1, 3, 10])):
            name = f"s{rng.randrange(6)}"
            if rng.random() < 0.2:
                worlds.pop(name, None)
            else:
                worlds[name] = random_service(rng, name), rng.sample([A, B, C], rng.randrange(4))
        await proxy.show(*worlds.values())
        assert await proxy.backend.intact()
        assert await fresh.sync(proxy.rules) == 0


def random_service(rng: random.Random, name: str) -> Object:
    number = int(name[1:])
    spec: Object = {"protocol": rng.choice(["TCP", "UDP"]), "address": f"10.96.2.{number}"}
    if rng.random() < 0.5:
        spec["node_port"] = 30100 + number
    if rng.random() < 0.3:
        spec["sessionAffinity"] = "ClientIP"
        spec["sessionAffinityConfig"] = {"clientIP": {"timeoutSeconds": rng.choice([10, 600])}}
    if rng.random() < 0.3:
        spec["externalTrafficPolicy"] = "Local"
    if rng.random() < 0.2:
        spec["internalTrafficPolicy"] = "Local"
    if rng.random() < 0.3:
        spec["externalIPs"] = [f"203.0.113.{number}"]
    made = service(name, **spec)
    if rng.random() < 0.3:
        made["spec"]["type"] = "LoadBalancer"
        made["status"] = {"loadBalancer": {"ingress": [{"ip": f"203.0.113.{100 + number}"}]}}
        made["spec"]["loadBalancerSourceRanges"] = rng.sample(["192.0.2.0/24", "10.0.0.0/8", "192.0.2.7/32"], 2)
    return made


async def test_udp_clients_leave_a_backend_that_is_gone(world: World, proxy: Proxy) -> None:
    """A client that keeps its source port is one flow to the kernel, and would stay with its backend for ever."""
    conntrack = Conntrack(CLUSTER.service_cidrs)
    echo = service(protocol="UDP", node_port=NODE_PORT)
    ways = ((IP, 80, "pod-b"), (ADDRESSES["node"], NODE_PORT, "client"), ("198.51.100.1", NODE_PORT, "client"))
    for number, (address, port, role) in enumerate(ways):
        await proxy.show((echo, []))
        with pytest.raises(OSError, match="refused"):
            await world.udp(role, address, port, source_port=40000 + number)
        for item, pod in ((A, "pod-a"), (C, "pod-c")):
            changes = await proxy.show((echo, [item]))
            await conntrack.reconcile(proxy.rules, affected(changes))
            assert (await world.udp(role, address, port, source_port=40000 + number))[0] == pod


async def test_udp_flows_of_a_service_that_went_while_no_proxy_ran(world: World, proxy: Proxy) -> None:
    conntrack = Conntrack(CLUSTER.service_cidrs)
    await proxy.show((service(protocol="UDP"), [A]))
    assert (await world.udp("pod-b", IP, 80, source_port=40010))[0] == "pod-a"
    await proxy.show()
    await conntrack.reconcile(proxy.rules)
    with pytest.raises(ConnectionRefusedError):
        await world.udp("pod-b", IP, 80, source_port=40010)

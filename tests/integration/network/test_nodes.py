"""Pods on several nodes, on the real kernel: by direct routes, by VXLAN, with nodes that come, move and go."""

import asyncio
import os
import shlex
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import pytest

from agents.network import names
from agents.network.machine import node_netns
from agents.network.node import open_network, remove_network
from mesh import netns
from mesh.config import AgentConfig, BusConfig, NetworkConfig
from mesh.errors import Terminal
from tests.support.fakenodes import FakeNodes, node_object
from tests.support.netlab import namespace, pings, raised, routed, sh, unique, until

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

CIDRS = ["10.250.1.0/24", "10.250.2.0/24", "10.250.3.0/24"]


def config_of(name: str, address: str, state_dir) -> AgentConfig:
    return AgentConfig(
        cluster="t",
        node=name,
        addresses=[address],
        bus=BusConfig(servers=[], seed_file=""),
        state_dir=str(state_dir / name),
        network=NetworkConfig(pod_cidrs=["10.250.0.0/16"], service_cidrs=["10.251.0.0/16"], dns_address="10.251.0.10"),
    )


@asynccontextmanager
async def agent(name, address, path, nodes, state_dir):
    """One node's pod network, running."""
    network = await open_network(config_of(name, address, state_dir), nodes, netns=str(path))
    task = asyncio.create_task(network.run())
    try:
        yield network
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await network.close()


@asynccontextmanager
async def pods_on(places, state_dir, nodes=None):
    """An agent and one pod on each (path, address); yields (pod namespace, pod address, sandbox id) of each."""
    nodes = nodes or FakeNodes(*(node_object(f"n{i}", a, CIDRS[i]) for i, (_, a) in enumerate(places)))
    async with AsyncExitStack() as stack:
        pods = []
        for i, (path, address) in enumerate(places):
            network = await stack.enter_async_context(agent(f"n{i}", address, path, nodes, state_dir))
            pod, sandbox = stack.enter_context(namespace()), unique("s")
            pods.append((pod, (await network.pods.attach(sandbox, str(pod))).addresses[0]))
        yield pods


@pytest.fixture(params=["shared link", "vxlan"])
def places(request):
    if request.param == "vxlan":
        with routed(3) as found:
            yield found
    else:
        with raised(3) as topology:
            yield [(node_netns(topology.cluster, p.name), p.address) for p in topology.nodes]


async def test_pods_of_all_nodes_and_the_nodes_reach_each_other(places, tmp_path):
    async with pods_on(places, tmp_path) as pods:
        for pod, _ in pods:
            for path, address in pods:
                await until(lambda pod=pod, address=address: pings(address, pod), f"{pod} to {path}")
        for node, address in places:
            assert all(pings(address, pod) for pod, _ in pods)
            assert all(pings(pod_address, node) for _, pod_address in pods)


async def test_large_packets_pass_and_too_large_ones_are_answered_with_the_mtu(places, tmp_path):
    async with pods_on(places[:2], tmp_path) as pods:
        (one, _), (_, there) = pods
        await until(lambda: pings(there, one), "pods reach each other")
        tunnel = names.VXLAN_DEVICE in sh("ip link", places[0][0])
        assert pings(there, one, size=(1450 if tunnel else 1500) - 28, fragment=False)
        if tunnel:
            pings(there, one, size=1472, fragment=False)
            assert "mtu 1450" in sh(f"ip route get {there}", one)
        assert pings(there, one, size=4000)


async def test_tcp_carries_much_through(places, tmp_path):
    async with pods_on(places[:2], tmp_path) as pods:
        (one, _), (two, there) = pods
        await until(lambda: pings(there, one), "pods reach each other")
        server = await asyncio.create_subprocess_exec(
            "nsenter", f"--net={two}", "python3", "-c", SINK, stdout=asyncio.subprocess.PIPE
        )
        assert server.stdout is not None
        await server.stdout.readline()
        sh(f"python3 -c {shlex.quote(SOURCE.format(address=there))}", one)
        assert await server.stdout.read() == b"3000000"
        await server.wait()


SINK = """
import socket, sys
listener = socket.create_server(("0.0.0.0", 5000))
print("listening", flush=True)
connection, _ = listener.accept()
print(sum(map(len, iter(lambda: connection.recv(65536), b""))), end="")
"""
SOURCE = "import socket; socket.create_connection(('{address}', 5000), 10).sendall(bytes(3000000))"


async def test_a_node_that_goes_takes_its_route_along_and_one_that_comes_gets_one(places, tmp_path):
    objects = [node_object(f"n{i}", a, CIDRS[i]) for i, (_, a) in enumerate(places)]
    nodes = FakeNodes(*objects[:2])

    def routes() -> str:
        return sh("ip route show proto 202", places[0][0])

    async with agent("n0", places[0][1], places[0][0], nodes, tmp_path):
        await until(lambda: CIDRS[1] in routes(), "a route to n1")
        nodes.become(objects[0], objects[2])
        await until(lambda: CIDRS[2] in routes() and CIDRS[1] not in routes(), "a route to n2 in place of n1's")
        nodes.become(objects[0], node_object("n2", places[2][1], CIDRS[1]))
        await until(lambda: CIDRS[1] in routes() and CIDRS[2] not in routes(), "n2 with another range")
        nodes.become(objects[0])
        await until(lambda: routes() == "", "no routes")
        assert names.VXLAN_DEVICE not in sh("ip link", places[0][0])


async def test_a_restarted_agent_changes_nothing(places, tmp_path):
    objects = [node_object(f"n{i}", a, CIDRS[i]) for i, (_, a) in enumerate(places)]
    everything = "ip -d -o link; ip addr; ip route; ip neigh show nud permanent; bridge fdb; nft -a list ruleset"
    path, address = places[0]
    async with agent("n0", address, path, FakeNodes(*objects), tmp_path):
        await until(lambda: CIDRS[2] in sh("ip route", path), "routes")
    before = sh(everything, path)
    async with agent("n0", address, path, FakeNodes(), tmp_path) as network:  # it knows no Node yet
        with namespace() as pod:
            assert (await network.pods.attach(unique("s"), str(pod))).addresses == ("10.250.1.2",)
    assert CIDRS[2] in sh("ip route", path)
    async with agent("n0", address, path, FakeNodes(*objects), tmp_path) as network:
        await network.pods.retain(frozenset())
        assert sh(everything, path) == before


async def test_what_others_flush_comes_back(places, tmp_path):
    objects = [node_object(f"n{i}", a, CIDRS[i]) for i, (_, a) in enumerate(places)]
    nodes, (path, address) = FakeNodes(*objects), places[0]
    async with agent("n0", address, path, nodes, tmp_path):
        await until(lambda: CIDRS[2] in sh("ip route", path), "routes")
        sh("nft flush ruleset; ip route flush proto 202; ip addr del 10.251.0.10/32 dev lo", path)
        nodes.become(*objects)
        await until(lambda: CIDRS[2] in sh("ip route", path), "routes again")
        assert "masquerade" in sh("nft list ruleset", path)
        assert "10.251.0.10" in sh("ip addr show lo", path)


async def test_a_pod_leaves_the_cluster_with_its_nodes_address(places, tmp_path):
    with namespace() as outside:
        (path, _), name = places[0], outside.name
        sh(
            f"ip link add name out type veth peer name eth0 netns {name} && ip addr add 198.18.0.1/24 dev out"
            f" && ip link set out up",
            path,
        )
        sh("ip link set lo up; ip addr add 198.18.0.2/24 dev eth0; ip link set eth0 up", outside)
        async with pods_on(places[:1], tmp_path) as pods:
            assert pings(
                "198.18.0.2", pods[0][0]
            )  # no route leads back to the pod: only a masqueraded ping is answered


async def test_other_peoples_packet_filters_let_pods_through(places, tmp_path):
    for path, _ in places[:2]:
        sh("iptables -P FORWARD DROP; iptables -P INPUT DROP; iptables -A FORWARD -i nobody -j ACCEPT", path)
        sh("iptables -A INPUT -p icmp -j ACCEPT", path)
    async with pods_on(places[:2], tmp_path) as pods:
        (one, _), (_, there) = pods
        await until(lambda: pings(there, one), "pods reach each other")
    assert "nobody" in sh("iptables-save", places[0][0])


async def test_leaving_the_cluster_removes_everything_of_ours_and_nothing_else(places, tmp_path):
    path, address = places[0]
    everything = "ip -br link | cut -d' ' -f1; ip route; ip -o -4 addr; nft list ruleset"
    sh("ip route add 203.0.113.0/24 dev lo; nft add table ip theirs", path)
    before = sh(everything, path)
    with namespace() as pod:
        nodes = FakeNodes(*(node_object(f"n{i}", a, CIDRS[i]) for i, (_, a) in enumerate(places)))
        async with agent("n0", address, path, nodes, tmp_path) as network:
            await network.pods.attach(unique("s"), str(pod))
            await until(lambda: CIDRS[2] in sh("ip route", path), "routes")

        def leave() -> None:
            with netns.within(path):
                remove_network(config_of("n0", address, tmp_path))

        await asyncio.to_thread(leave)
        assert sh(everything, path) == before


async def test_an_address_that_the_machine_does_not_have(places, tmp_path):
    with pytest.raises(Terminal, match=r"none of the node's addresses \(203\.0\.113\.9\) is on any interface"):
        await open_network(config_of("n0", "203.0.113.9", tmp_path), FakeNodes(), netns=str(places[0][0]))

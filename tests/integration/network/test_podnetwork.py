"""Pods on one node, on the real kernel: attached, reachable, adopted after a restart, detached without trace."""

import errno
import os
import re
import shlex
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from agents.network import ledger_file, names
from agents.network.machine import node_netns, raise_nodes
from agents.network.netlink import Netlink
from agents.network.podnetwork import KernelPodNetwork
from agents.network.worker import Worker
from agents.node.network_port import NetworkFailure
from mesh import netns
from tests.support.netlab import namespace, pings, raised, sh, unique

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]


@pytest.fixture
def node():
    with raised(1) as topology:
        yield topology.nodes[0].address, node_netns(topology.cluster, "n1"), topology


@asynccontextmanager
async def network(node, state: Path, cidr: str = "10.250.7.0/24", machine: Path = Path("/run/nowhere")):
    worker = Worker(str(node[1]))
    try:
        pods = KernelPodNetwork(worker, state_dir=state, node_addresses=[node[0]], mtu=1500, machine=machine)
        await pods.start()
        if cidr:
            await pods.configure([cidr])
        yield pods
    finally:
        worker.close()


async def test_pods_reach_each_other_their_node_the_host_and_themselves(node, tmp_path):
    with namespace() as one, namespace() as two:
        async with network(node, tmp_path) as pods:
            first = (await pods.attach(unique("s"), str(one))).addresses[0]
            second = (await pods.attach(unique("s"), str(two))).addresses[0]
        assert (first, second) == ("10.250.7.2", "10.250.7.3")
        assert pings(second, one)
        assert pings(first, one)
        assert pings(node[0], one)
        assert pings(first, node[1])


def wiring(pod: Path) -> str:
    """Links, addresses, routes and neighbours; a link's state is left out, for it settles by itself a little later."""
    return re.sub(r"state \w+", "", sh("ip -d addr; ip route; ip neigh show nud permanent", pod))


async def test_attaching_twice_answers_the_same_and_changes_nothing(node, tmp_path):
    sandbox = unique("s")
    with namespace() as pod:
        async with network(node, tmp_path) as pods:
            first = await pods.attach(sandbox, str(pod))
            before = wiring(pod)
            assert await pods.attach(sandbox, str(pod)) == first
            assert wiring(pod) == before


async def test_the_pods_own_sysctls_are_set_and_restored(node, tmp_path):
    sandbox, ttl = unique("s"), "cat /proc/sys/net/ipv4/ip_default_ttl /proc/sys/net/ipv4/conf/eth0/forwarding"
    asked = {"net.ipv4.ip_default_ttl": "32", "net/ipv4/conf/eth0/forwarding": "1"}
    with namespace() as pod:
        async with network(node, tmp_path) as pods:
            await pods.attach(sandbox, str(pod))
            await pods.attach(sandbox, str(pod), asked)  # as a warm sandbox when a pod takes it
            assert sh(ttl, pod).split() == ["32", "1"]
            sh("echo 33 > /proc/sys/net/ipv4/ip_default_ttl", pod)
            await pods.attach(sandbox, str(pod), asked)
            assert sh(ttl, pod).split() == ["32", "1"]


async def test_a_sysctl_that_the_namespace_does_not_have_is_told(node, tmp_path):
    with namespace() as pod:
        async with network(node, tmp_path) as pods:
            with pytest.raises(NetworkFailure, match="net/ipv4/nothing"):
                await pods.attach(unique("s"), str(pod), {"net.ipv4.nothing": "1"})


async def test_what_was_lost_inside_the_pod_is_restored_by_attaching_again(node, tmp_path):
    sandbox = unique("s")
    with namespace() as pod:
        async with network(node, tmp_path) as pods:
            address = (await pods.attach(sandbox, str(pod))).addresses[0]
            sh("ip route del default; ip addr flush dev eth0", pod)
            sh(f"ip route del {address}", node[1])
            await pods.attach(sandbox, str(pod))
            assert pings(node[0], pod)


async def test_a_sandbox_with_a_new_namespace_keeps_its_address(node, tmp_path):
    sandbox = unique("s")
    async with network(node, tmp_path) as pods:
        with namespace() as old, namespace() as new:
            first = await pods.attach(sandbox, str(old))
            assert await pods.attach(sandbox, str(new)) == first
            assert pings(node[0], new)
            assert "eth0" not in sh("ip link", old)


async def test_pods_are_wired_anew_when_the_nodes_namespace_was_deleted_and_made_anew(node, tmp_path):
    sandbox = unique("s")
    address, path, topology = node
    with namespace() as pod, path.open():  # a process of the old namespace keeps it, and its end of the pod's link
        async with network(node, tmp_path) as pods:
            first = await pods.attach(sandbox, str(pod))
        sh(f"ip netns delete {path.name}")
        raise_nodes(topology)
        async with network(node, tmp_path) as pods:
            assert await pods.attach(sandbox, str(pod)) == first
            assert pings(address, pod)


@pytest.mark.parametrize("ledger_survives", [True, False])
async def test_a_restarted_agent_adopts_what_is_there(node, tmp_path, ledger_survives):
    kept, dropped = unique("s"), unique("s")
    with namespace() as one, namespace() as two, namespace() as three:
        async with network(node, tmp_path) as pods:
            address = await pods.attach(kept, str(one))
            await pods.attach(dropped, str(two))
        if not ledger_survives:
            (tmp_path / "network" / "addresses.json").write_text("not json")
        async with network(node, tmp_path, cidr="" if ledger_survives else "10.250.7.0/24") as pods:
            await pods.retain(frozenset({kept}))
            assert await pods.attach(kept, str(one)) == address
            assert names.pod_link(dropped) not in sh("ip link", node[1])
            assert (await pods.attach(unique("s"), str(three))).addresses != address.addresses
            assert pings(node[0], one)


async def test_detaching_leaves_nothing_on_the_node(node, tmp_path):
    sandbox = unique("s")
    before = sh("ip -o link; ip route; ip neigh show nud permanent", node[1])
    async with network(node, tmp_path) as pods:
        with namespace() as pod:
            await pods.attach(sandbox, str(pod))
            await pods.detach(sandbox)
            assert "eth0" not in sh("ip link", pod)
            await pods.detach(sandbox)
        with namespace() as pod:
            await pods.attach(sandbox, str(pod))
        await pods.detach(sandbox)  # its namespace is gone already
    assert sh("ip -o link; ip route; ip neigh show nud permanent", node[1]) == before


async def test_failures_are_told_and_retried(node, tmp_path):
    async with network(node, tmp_path, cidr="10.250.7.0/30") as pods:
        sandbox = unique("s")
        with pytest.raises(NetworkFailure, match="No such file"):
            await pods.attach(sandbox, "/run/netns/there-is-none")
        with namespace() as pod, namespace() as other:
            assert (await pods.attach(sandbox, str(pod))).addresses == ("10.250.7.2",)
            with pytest.raises(NetworkFailure, match=r"no free address in 10\.250\.7\.0/30"):
                await pods.attach(unique("s"), str(other))


@pytest.mark.parametrize("whose", ["the node's", "the machine's"])
async def test_a_namespace_that_is_no_pods_is_not_wired(node, tmp_path, whose):
    """That of a sandbox which has not moved into one of its own yet."""
    with namespace() as machine, namespace() as pod:
        path = node[1] if whose == "the node's" else machine
        before = sh("ip -o link; ip route", path)
        async with network(node, tmp_path, cidr="10.250.7.0/30", machine=machine) as pods:
            with pytest.raises(NetworkFailure, match="no pod's namespace"):
                await pods.attach(unique("s"), str(path))
            assert sh("ip -o link; ip route", path) == before
            await pods.attach(unique("s"), str(pod))  # the only address is still free


async def test_a_pod_cannot_take_anothers_address(node, tmp_path):
    with namespace() as one, namespace() as two:
        async with network(node, tmp_path) as pods:
            await pods.attach(unique("s"), str(one))
            await pods.attach(unique("s"), str(two))
        sh("ip addr add 10.250.7.99/32 dev eth0", one)
        sh("ip route replace default via 169.254.1.1 dev eth0 onlink src 10.250.7.99", one)
        assert not pings("10.250.7.3", one)


def test_the_callers_thread_stays_where_it_was(node):
    with netns.within(node[1]):
        assert netns.same("/proc/thread-self/ns/net", node[1])
    assert netns.same("/proc/thread-self/ns/net", "/proc/self/ns/net")


@pytest.mark.skipif(not Path("/proc/sys/net/ipv6").exists(), reason="IPv6 is off")
async def test_both_families(node, tmp_path):
    sh("sysctl -qw net.ipv6.conf.all.forwarding=1", node[1])
    with namespace() as one, namespace() as two:
        async with network(node, tmp_path) as pods:
            await pods.configure(["10.250.7.0/24", "fd00:7::/64"])
            sandbox = unique("s")
            first = await pods.attach(sandbox, str(one))
            assert first.addresses == ("10.250.7.2", "fd00:7::2")
            second = await pods.attach(unique("s"), str(two))
            before = sh("ip -d addr; ip route; ip -6 route; ip neigh show nud permanent", one)
            assert await pods.attach(sandbox, str(one)) == first
            assert sh("ip -d addr; ip route; ip -6 route; ip neigh show nud permanent", one) == before
        sh(f"python3 -c {shlex.quote(_KNOCK.format(address=second.addresses[1]))}", one)


_KNOCK = """
import socket
try:
    socket.create_connection(("{address}", 9), 5)
except ConnectionRefusedError:
    pass  # the other pod answered
"""


async def test_addresses_are_given_back_on_a_full_disk(node, tmp_path, monkeypatch):
    """Those of pods that ended while no agent ran, and of pods that end now."""
    gone, ending = unique("s"), unique("s")
    save, full = ledger_file.save, True

    def write(path, ledger):
        if full:
            raise OSError(errno.ENOSPC, "No space left on device")
        save(path, ledger)

    with namespace() as one, namespace() as two, namespace() as three:
        async with network(node, tmp_path) as pods:
            await pods.attach(gone, str(one))
            await pods.attach(ending, str(two))
        monkeypatch.setattr(ledger_file, "save", write)
        async with network(node, tmp_path, cidr="") as pods:
            await pods.retain(frozenset({ending}))
            assert names.pod_link(gone) not in sh("ip link", node[1])
            await pods.detach(ending)
            with pytest.raises(NetworkFailure, match="No space left"):
                await pods.attach(unique("s"), str(three))
            full = False
            newest = unique("s")
            await pods.attach(newest, str(three))
            assert ledger_file.load(tmp_path / "network" / "addresses.json").holders.keys() == {newest}


async def test_what_could_not_be_given_back_goes_with_the_next_sandbox(node, tmp_path, monkeypatch):
    gone, ending = unique("s"), unique("s")

    def busy(*_):
        raise OSError(errno.EBUSY, "Device or resource busy")

    with namespace() as one, namespace() as two:
        async with network(node, tmp_path) as pods:
            await pods.attach(gone, str(one))
            await pods.attach(ending, str(two))
        async with network(node, tmp_path, cidr="") as pods:
            with monkeypatch.context() as broken:
                broken.setattr(Netlink, "remove_links", busy)
                with pytest.raises(NetworkFailure, match=gone):
                    await pods.retain(frozenset({ending}))
            await pods.detach(ending)
        links = sh("ip link", node[1])
        assert names.pod_link(gone) not in links
        assert names.pod_link(ending) not in links

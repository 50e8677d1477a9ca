"""The contract of `PodNetwork`, kept by the fake and by the real one."""

import os

import pytest

from agents.network.fake import FakePodNetwork
from agents.network.machine import node_netns
from agents.network.podnetwork import KernelPodNetwork
from agents.network.worker import Worker
from agents.node.network_port import NetworkFailure
from mesh.netns import machine_path
from tests.support.netlab import namespace, raised

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

CIDR = "10.250.9.0/29"  # five addresses for pods


@pytest.fixture(params=["fake", "kernel"])
async def network(request, tmp_path):
    if request.param == "fake":
        fake = FakePodNetwork()
        await fake.configure([CIDR])
        yield fake
        return
    with raised(1) as topology:
        worker = Worker(str(node_netns(topology.cluster, "n1")))
        real = KernelPodNetwork(
            worker,
            state_dir=tmp_path,
            node_addresses=[topology.nodes[0].address],
            mtu=topology.mtu,
            machine=machine_path(topology.cluster),
        )
        await real.start()
        await real.configure([CIDR])
        yield real
        worker.close()


async def test_each_sandbox_has_an_address_of_its_own_and_keeps_it(network):
    with namespace() as one, namespace() as two:
        first = await network.attach("a", str(one))
        second = await network.attach("b", str(two))
        assert first.addresses != second.addresses
        assert await network.attach("a", str(one)) == first


async def test_a_released_address_is_not_the_next_to_be_given_out(network):
    with namespace() as one, namespace() as two:
        first = await network.attach("a", str(one))
        await network.detach("a")
        await network.detach("a")
        assert await network.attach("b", str(two)) != first


async def test_retain_releases_everybody_else(network):
    with namespace() as one, namespace() as two:
        kept = await network.attach("a", str(one))
        await network.attach("b", str(two))
        await network.retain(frozenset({"a", "unknown"}))
        assert await network.attach("a", str(one)) == kept
        for i in range(4):
            await network.attach(f"more-{i}", str(two))
            await network.detach(f"more-{i}")


async def test_running_out(network):
    await_all = []
    for i in range(5):
        with namespace() as pod:
            await_all.append(await network.attach(f"s{i}", str(pod)))
    assert len({a.addresses for a in await_all}) == 5
    with namespace() as pod, pytest.raises(NetworkFailure, match="no free address in"):
        await network.attach("one-too-many", str(pod))

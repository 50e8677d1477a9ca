"""What the proxy sets beside its rules: forwarding past other people's firewalls, kernel settings."""

from __future__ import annotations

import os
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from netproxy import sysctls
from netproxy.acceptance import Acceptance
from netproxy.cluster import MARK, Cluster
from netproxy.iptables.backend import IptablesBackend
from netproxy.model import NodeView, rules_of
from netproxy.nftables.backend import NftablesBackend
from tests.support.service_world import ADDRESSES, World
from tests.support.services import endpoint, service, slice_of

pytestmark = pytest.mark.root

CLUSTER = Cluster(("10.64.0.0/16",), ("10.96.0.0/16",), "10.96.0.10")
REMOTE = endpoint(ADDRESSES["pod-c"], node="other")
OUTSIDE_PODS = endpoint(ADDRESSES["other"], node="other")


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World(f"ns{os.getpid()}")
    made.remove()
    made.build()
    await made.serve("pod-a", "pod-b", "pod-c", "other")
    with made.entered("node"):
        yield made
    await made.stop()
    made.remove()


def tool(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("flavour", ["iptables-nft", "iptables-legacy"])
async def test_services_work_where_forward_drops(world: World, flavour: str) -> None:
    backend = NftablesBackend(CLUSTER)
    web = service(node_port=30080)
    await backend.sync(rules_of(web, [slice_of("web", [REMOTE])], NodeView("node")))
    tool(flavour, "-P", "FORWARD", "DROP")
    tool(flavour, "-A", "FORWARD", "-i", "nothing", "-j", "ACCEPT")
    with pytest.raises(TimeoutError):
        await world.tcp("client", ADDRESSES["node"], 30080, timeout=0.3)
    acceptance = Acceptance(CLUSTER.pod_cidrs, CLUSTER.service_cidrs, MARK)
    await acceptance.ensure()
    assert (await world.tcp("client", ADDRESSES["node"], 30080))[0] == "pod-c"
    assert (await world.tcp("pod-a", "10.96.0.20", 80))[0] == "pod-c"
    assert (await world.tcp("pod-a", ADDRESSES["pod-b"], 8080))[0] == "pod-b"

    await backend.sync(rules_of(web, [slice_of("web", [OUTSIDE_PODS])], NodeView("node")))
    assert (await world.tcp("client", ADDRESSES["node"], 30080))[0] == "other"
    assert (await world.tcp("pod-a", "10.96.0.20", 80))[0] == "other"
    with pytest.raises(TimeoutError):
        await world.tcp("client", ADDRESSES["other"], 8080, timeout=0.3)

    before = tool(flavour, "-S")
    await acceptance.ensure()
    assert tool(flavour, "-S") == before
    await acceptance.cleanup()
    assert tool(flavour, "-S").splitlines() == [
        "-P INPUT ACCEPT",
        "-P FORWARD DROP",
        "-P OUTPUT ACCEPT",
        "-A FORWARD -i nothing -j ACCEPT",
    ]
    backend.close()


@pytest.mark.parametrize("flavour", ["iptables-nft", "iptables-legacy"])
async def test_acceptance_goes_ahead_of_what_came_before_it(world: World, flavour: str) -> None:
    backend = NftablesBackend(CLUSTER)
    await backend.sync(rules_of(service(), [slice_of("web", [REMOTE])], NodeView("node")))
    tool(flavour, "-P", "FORWARD", "DROP")
    acceptance = Acceptance(CLUSTER.pod_cidrs, CLUSTER.service_cidrs, MARK)
    await acceptance.ensure()
    assert (await world.tcp("pod-a", "10.96.0.20", 80))[0] == "pod-c"
    tool(flavour, "-I", "FORWARD", "-j", "DROP")
    with pytest.raises(TimeoutError):
        await world.tcp("pod-a", "10.96.0.20", 80, timeout=0.3)
    await acceptance.ensure()
    assert (await world.tcp("pod-a", "10.96.0.20", 80))[0] == "pod-c"
    assert tool(flavour, "-S").count("-j COVEY-FORWARD") == 1
    backend.close()


@pytest.mark.parametrize("flavour", ["iptables-nft", "iptables-legacy"])
async def test_what_has_no_backends_is_refused_before_pods_are_let_through(world: World, flavour: str) -> None:
    """Nothing else would refuse an external address: it is outside the range of Services."""
    backend = IptablesBackend(CLUSTER, flavour)
    await backend.sync(rules_of(service(externalIPs=["203.0.113.7"]), [slice_of("web", [])], NodeView("node")))
    tool(flavour, "-P", "FORWARD", "DROP")
    tool(flavour, "-I", "FORWARD", "-s", "10.64.0.0/16", "-j", "ACCEPT")
    acceptance = Acceptance(CLUSTER.pod_cidrs, CLUSTER.service_cidrs, MARK)
    for _ in range(2):
        await acceptance.ensure()
        with pytest.raises(ConnectionRefusedError):
            await world.tcp("pod-a", "203.0.113.7", 80)
    assert (await world.tcp("pod-a", ADDRESSES["pod-b"], 8080))[0] == "pod-b"
    await backend.cleanup()
    await acceptance.ensure()
    await acceptance.cleanup()
    assert "COVEY" not in tool(flavour, "-S")
    backend.close()


@pytest.mark.parametrize("flavour", ["iptables-nft", "iptables-legacy"])
async def test_services_lead_to_the_node_itself_where_input_drops(world: World, flavour: str) -> None:
    """A pod with the node's network, or the API on this machine. What is not a Service's stays outside."""
    backend = NftablesBackend(CLUSTER)
    await world.serve("node")
    itself = slice_of("web", [endpoint(ADDRESSES["node"])])
    await backend.sync(rules_of(service(node_port=30080), [itself], NodeView("node")))
    tool(flavour, "-P", "INPUT", "DROP")
    with pytest.raises(TimeoutError):
        await world.tcp("pod-a", "10.96.0.20", 80, timeout=0.3)
    acceptance = Acceptance(CLUSTER.pod_cidrs, CLUSTER.service_cidrs, MARK)
    await acceptance.ensure()
    assert (await world.tcp("pod-a", "10.96.0.20", 80))[0] == "node"
    assert (await world.tcp("client", ADDRESSES["node"], 30080))[0] == "node"
    with pytest.raises(TimeoutError):
        await world.tcp("client", ADDRESSES["node"], 8080, timeout=0.3)
    await acceptance.cleanup()
    assert tool(flavour, "-S").splitlines() == ["-P INPUT DROP", "-P FORWARD ACCEPT", "-P OUTPUT ACCEPT"]
    backend.close()


async def test_nothing_is_hooked_in_where_forward_accepts(world: World) -> None:
    await Acceptance(CLUSTER.pod_cidrs, CLUSTER.service_cidrs, MARK).ensure()
    assert "COVEY" not in tool("nft", "list", "ruleset")


def test_kernel_settings(world: World) -> None:
    forward = Path("/proc/sys/net/ipv4/ip_forward")
    forward.write_text("0")
    sysctls.ensure()
    assert forward.read_text().strip() == "1"
    assert Path("/proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal").read_text().strip() == "1"

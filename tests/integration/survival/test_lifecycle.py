"""A cluster's own life: brought up twice, with more nodes and fewer, its supervisor killed, all of it down and up."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from agents.network import names
from agents.network.machine import node_netns
from cli.cluster import configurations, read_cluster, save_cluster
from cli.layout import Layout
from cli.pidfiles import Running
from cli.supervisor import supervisor_pid
from mesh.config import dump
from mesh.durable import update_private
from mesh.netns import same
from mesh.objects.kinds import CONFIGMAPS, DEPLOYMENTS, NODES, PODS
from mesh.objects.types import Object
from tests.support.cluster import await_, free_port
from tests.support.survival.harm import await_another, kill, process
from tests.support.survival.world import NAMESPACE, Ran, World, deployment, until

pytestmark = [pytest.mark.root, pytest.mark.docker, pytest.mark.nats]
REPLICAS = 4


@pytest.fixture(scope="module")
def web(world: World) -> World:
    """With a Deployment."""
    world.create(DEPLOYMENTS, deployment("web", REPLICAS))
    world.await_pods("web", REPLICAS)
    return world


def processes(world: World) -> dict[str, Running]:
    """The cluster's processes by name, the supervisor apart."""
    files = sorted((world.cluster.home / "run").glob("*.pid"))
    return {f.stem: process(world.cluster, f.stem) for f in files if f.stem != "supervisor"}


def containers(world: World, pods: list[Object]) -> dict[str, dict[str, Ran]]:
    """All containers of these pods."""
    return {pod["metadata"]["name"]: world.containers(pod) for pod in pods}


def written(world: World) -> dict[Path, bytes]:
    """The files that `covey up` writes."""
    home = world.cluster.home
    files = [f for folder in ("config", "identities", "pki") for f in (home / folder).rglob("*") if f.is_file()]
    files += [home / name for name in ("cluster.json", "context.json", "identities.json", "kubeconfig")]
    files += [home / "nats" / "nats.conf", home / "run" / "processes.json"]
    return {file: file.read_bytes() for file in files}


def test_up_again_changes_nothing(web: World) -> None:
    pods = web.await_pods("web", REPLICAS)
    before = processes(web), supervisor_pid(web.cluster.home), containers(web, pods), written(web)
    web.cluster.covey("up")
    assert (processes(web), supervisor_pid(web.cluster.home), containers(web, pods), written(web)) == before
    assert web.await_pods("web", REPLICAS) == pods


def test_a_killed_supervisor_takes_nothing_with_it_and_is_replaced(web: World) -> None:
    pods = web.await_pods("web", REPLICAS)
    before = processes(web), containers(web, pods)
    killed = kill(web.cluster, "supervisor")
    await_(lambda: supervisor_pid(web.cluster.home) is None, what="the supervisor to be gone")
    assert processes(web) == before[0]

    web.cluster.covey("up")
    assert supervisor_pid(web.cluster.home) not in {None, killed}
    assert (processes(web), containers(web, pods)) == before
    # It keeps what it found as it keeps what it started.
    victim = kill(web.cluster, "proxy-node-1")
    await_another(web.cluster, "proxy-node-1", victim)


def test_a_nodes_namespace_that_was_deleted_is_made_anew_with_everything_in_it(web: World) -> None:
    pods = web.await_pods("web", REPLICAS)
    node = web.node_names[0]
    before = processes(web), containers(web, pods)
    netns = node_netns(web.cluster.name, node)
    subprocess.run(["ip", "netns", "delete", netns.name], check=True)
    web.cluster.covey("up", within=120)
    after = processes(web)
    moved = {f"agent-{node}", f"proxy-{node}"}
    assert {name for name, running in after.items() if running != before[0][name]} == moved
    assert all(same(f"/proc/{after[name].pid}/ns/net", netns) for name in moved)
    web.await_nodes_well()
    pods = web.await_pods("web", REPLICAS)  # some elsewhere, where it took longer than a node may be silent
    assert all(before[1].get(name, found) == found for name, found in containers(web, pods).items())
    until(lambda: all(connects(web, n, pods) for n in web.node_names), what="every node to reach every pod")


def connects(world: World, node: str, pods: list[Object]) -> bool:
    """Whether each of these pods takes connections from a node."""
    addresses = [pod["status"]["podIP"] for pod in pods]
    code = f"import socket\nfor a in {addresses}: socket.create_connection((a, 8080), 2).close()"
    line = ["nsenter", f"--net={node_netns(world.cluster.name, node)}", sys.executable, "-c", code]
    return subprocess.run(line, check=False, capture_output=True).returncode == 0


def test_another_proxy_mode_leaves_nothing_of_the_old(web: World) -> None:
    pods = web.await_pods("web", REPLICAS)
    before = containers(web, pods)
    for mode, ours, other in (
        ("iptables", ("iptables-save", "COVEY-SERVICES"), ("nft list tables", "covey-proxy")),
        ("nftables", ("nft list tables", "covey-proxy"), ("iptables-save", "COVEY-SERVICES")),
    ):
        web.cluster.covey("up", "--proxy-mode", mode, within=120)
        for node in web.node_names:
            await_(lambda n=node, o=ours: says(web, n, *o), what=f"the rules of mode {mode} on {node}")
            await_(lambda n=node, o=other: not says(web, n, *o), what=f"the other mode's rules to leave {node}")
    assert containers(web, pods) == before


def test_an_up_that_was_killed_before_it_restarted_anything_is_made_good_by_the_next(web: World) -> None:
    layout = Layout(web.cluster.home)
    known = read_cluster(layout)
    assert known is not None
    proxies = {f"proxy-{node}" for node in web.node_names}
    for mode in ("iptables", "nftables"):
        before = processes(web)
        changed = msgspec.structs.replace(known, proxy_mode=mode)
        save_cluster(layout, changed)  # all that the first one came to do
        for name, configuration in configurations(changed, layout).items():
            update_private(layout.config_file(name), dump(configuration))
        assert processes(web) == before
        web.cluster.covey("up", within=120)
        after = processes(web)
        assert {name for name in after if after[name] != before[name]} == proxies
    web.await_nodes_well()


def says(world: World, node: str, command: str, word: str) -> bool:
    """Whether a command's output in a node's namespace holds this word."""
    line = ["nsenter", f"--net={node_netns(world.cluster.name, node)}", *command.split()]
    return word in subprocess.run(line, check=True, capture_output=True, text=True).stdout


def test_ports_cannot_be_changed_while_the_cluster_is_up(web: World) -> None:
    before = processes(web), written(web)
    told = web.cluster.refused("covey", "up", "--api-port", str(free_port()))
    assert "while it is up\n  covey down --keep-data, then covey up --api-port" in told
    assert (processes(web), written(web)) == before


def test_a_node_more(web: World) -> None:
    pods = web.await_pods("web", REPLICAS)
    before = processes(web), containers(web, pods)
    web.cluster.covey("up", "--nodes", "4", within=120)
    web.await_nodes_well()
    assert len(web.node_names) == 4
    after = processes(web)
    assert {name: after.pop(name) for name in before[0]} == before[0]
    assert set(after) == {"agent-node-4", "proxy-node-4"}
    assert containers(web, pods) == before[1]
    web.api.merge(DEPLOYMENTS, NAMESPACE, "web", {"spec": {"replicas": 2 * REPLICAS}})
    assert "node-4" in {pod["spec"]["nodeName"] for pod in web.await_pods("web", 2 * REPLICAS)}


def test_nodes_fewer(web: World) -> None:
    pods = web.await_pods("web", 2 * REPLICAS)
    kept = [pod for pod in pods if pod["spec"]["nodeName"] in {"node-1", "node-2"}]
    before = containers(web, kept)
    web.cluster.covey("up", "--nodes", "2", within=120)
    assert web.node_names == ["node-1", "node-2"]
    web.await_nodes_well()
    assert set(processes(web)) == {"nats", "server", *(f"{k}-node-{i}" for k in ("agent", "proxy") for i in (1, 2))}
    for node in ("node-3", "node-4"):
        assert not node_netns(web.cluster.name, node).exists()
        assert not Path("/sys/class/net", names.node_link(web.cluster.name, node)).exists()
        labels = {"label": [f"dev.covey.cluster={web.cluster.name}", f"dev.covey.node={node}"]}
        assert web.docker.containers.list(all=True, filters=labels) == []
        assert not (web.cluster.home / "nodes" / node).exists()
    after = web.await_pods("web", 2 * REPLICAS)
    assert {pod["spec"]["nodeName"] for pod in after} == {"node-1", "node-2"}
    assert containers(web, kept) == before
    until(lambda: gone(web, pods, kept), what="the pods of the removed nodes to be gone")


def gone(world: World, pods: list[Object], kept: list[Object]) -> bool:
    """Whether of `pods` only `kept` are left in the API."""
    there = {pod["metadata"]["uid"] for pod in world.api.list(PODS, NAMESPACE)}
    return {p["metadata"]["uid"] for p in pods} & there == {p["metadata"]["uid"] for p in kept}


def test_objects_are_there_again_after_down_and_up(web: World) -> None:
    data = {"key": "value"}
    made = web.create(
        CONFIGMAPS,
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kept", "namespace": NAMESPACE}, "data": data},
    )
    nodes = {node["metadata"]["name"]: node["metadata"]["uid"] for node in web.api.list(NODES)}
    web.cluster.covey("down", "--keep-data", within=120)
    assert web.docker.containers.list(all=True, filters={"label": f"dev.covey.cluster={web.cluster.name}"}) == []
    moved = free_port()
    web.cluster.covey("up", "--api-port", str(moved), within=120)
    web.api.close()
    del web.api
    assert f":{moved}" in (web.cluster.home / "kubeconfig").read_text()
    assert web.api.get(CONFIGMAPS, NAMESPACE, "kept") == made
    assert {node["metadata"]["name"]: node["metadata"]["uid"] for node in web.api.list(NODES)} == nodes
    web.await_nodes_well()
    pods = web.await_pods("web", 2 * REPLICAS)
    until(lambda: all(any(c.running for c in web.containers(pod).values()) for pod in pods), what="the pods to run")

"""One machine's topology on the real kernel: raised, reachable, raised again unchanged, removed without trace."""

import os
import subprocess
from pathlib import Path

import pytest

from agents.network import machine, names
from agents.network.machine import existing_routes, node_netns, raise_nodes, remove_nodes
from agents.network.ranges import choose_ranges
from agents.network.topology import lay_out
from mesh import netns
from mesh.netns import machine_path
from tests.support.netlab import pings, raised, sh, unique

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]


def test_nodes_reach_each_other_the_host_and_are_reached_from_it():
    with raised(3) as topology:
        paths = [node_netns(topology.cluster, place.name) for place in topology.nodes]
        for path in paths:
            assert pings(topology.gateway, path)
        for place in topology.nodes:
            assert pings(place.address)
            for path in paths:
                assert pings(place.address, path)


def test_raising_again_changes_nothing():
    with raised(2) as topology:
        before = _traces(topology.cluster)
        assert raise_nodes(topology) == ()
        assert _traces(topology.cluster) == before


def test_what_others_broke_is_made_whole():
    with raised(2) as topology:
        first = topology.nodes[0]
        sh(f"ip link delete {machine.node_link(topology, first).name}")
        sh("ip addr flush dev eth0", node_netns(topology.cluster, "n2"))
        sh(f"ip netns delete {node_netns(topology.cluster, 'n1').name}")
        sh(f"iptables -D FORWARD -i {topology.bridge} -m comment --comment covey:{topology.cluster} -j ACCEPT")
        assert raise_nodes(topology) != ()
        assert pings(first.address, node_netns(topology.cluster, "n2"))


def test_a_namespace_recreated_under_its_name_is_wired_again():
    with raised(1) as topology:
        path = node_netns(topology.cluster, "n1")
        with subprocess.Popen(["nsenter", f"--net={path}", "sleep", "1000"]) as keeper:
            sh(f"ip netns delete {path.name}")
            raise_nodes(topology)
            assert pings(topology.nodes[0].address)
            keeper.kill()


def test_somebodys_copy_of_run_stands_in_nobodys_way(tmp_path: Path):
    with raised(1) as topology:
        sh(f"mount --rbind {machine_path(topology.cluster).parent} {tmp_path}")
        try:
            sh(f"mount --make-rprivate {tmp_path}")
            remove_nodes(topology.cluster)
            raise_nodes(topology)
            remove_nodes(topology.cluster)
        finally:
            sh(f"umount --recursive {tmp_path}")
    remove_nodes(topology.cluster)
    assert not machine_path(topology.cluster).parent.exists()


def test_the_last_cluster_takes_the_folder_of_all_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = tmp_path / "covey"
    monkeypatch.setattr(netns, "machine_path", lambda cluster: folder / cluster / "machine.netns")
    clusters = unique("one"), unique("other")
    try:
        for cluster in clusters:
            machine._bind_machine_namespace(cluster)
        machine._unbind_machine_namespace(clusters[0])
        assert [path.name for path in folder.iterdir()] == [clusters[1]]
    finally:
        for cluster in clusters:
            machine._unbind_machine_namespace(cluster)
    assert not folder.exists()


def test_a_file_that_only_looks_like_a_namespace_is_replaced():
    with raised(1) as topology:
        path = node_netns(topology.cluster, "n1")
        sh(f"umount {path}")
        raise_nodes(topology)
        assert pings(topology.nodes[0].address)


def test_a_directory_that_docker_made_in_place_of_a_namespace_is_replaced():
    """After a boot its containers may start before the cluster does."""
    with raised(1) as topology:
        path = node_netns(topology.cluster, "n1")
        sh(f"ip netns delete {path.name}")
        path.mkdir()
        raise_nodes(topology)
        assert pings(topology.nodes[0].address)


def test_fewer_nodes_leave_the_others_alone():
    with raised(3) as topology:
        raise_nodes(lay_out(topology.cluster, topology.subnet, ["n1"]))
        assert not node_netns(topology.cluster, "n2").exists()
        assert pings(topology.nodes[0].address)


def test_removal_leaves_nothing_and_touches_no_other_cluster():
    with raised(1) as neighbour:
        before = _traces(neighbour.cluster)
        cluster = f"{neighbour.cluster}-n"  # its namespaces share a prefix with the neighbour's
        raise_nodes(lay_out(cluster, choose_ranges(existing_routes()).nodes, ["a", "b"]))
        remove_nodes(cluster)
        assert _traces(cluster) == []
        assert _traces(neighbour.cluster) == before
        assert pings(neighbour.nodes[0].address)
    assert _traces(neighbour.cluster) == []


def test_removing_a_cluster_that_never_was_does_nothing():
    remove_nodes(unique("t"))


def test_routes_of_every_kind_are_known():
    name = unique("routes")
    sh(f"ip netns add {name}")
    try:
        path = netns.path_of(name)
        routes = (
            "10.1.0.0/16 dev lo",
            "blackhole 10.2.0.0/16",
            "unreachable 10.3.0.0/16 metric 9",
            "10.4.0.0/16 dev lo table 52",
            "10.5.0.0/16 nexthop dev lo nexthop dev one",
            "10.6.0.7 dev lo",
        )
        sh(
            "ip link set lo up; ip link add one type bridge; ip link set one up; ip address add 10.7.0.1/24 dev one",
            path,
        )
        sh("; ".join(f"ip route add {route}" for route in routes), path)
        with netns.within(path):
            found = set(existing_routes())
        expected = {f"10.{i}.0.0/16" for i in range(1, 6)} | {"10.6.0.7/32", "10.7.0.0/24", "10.7.0.1/24"}
        assert expected <= found
    finally:
        sh(f"ip netns delete {name}")


def _traces(cluster: str) -> list[str]:
    """Every line about the cluster in the packet filter, links, addresses, routes and namespaces of the host."""
    listed = sh(
        "iptables-save | sed 's/\\[.*//'; ip -o link | sed 's/ state [A-Z]* / /'; ip -o -4 addr; ip route;ip netns list"
    )
    marks = (
        f"covey:{cluster} ",
        f'covey:{cluster}"',
        f"covey cluster {cluster}",
        names.bridge(cluster),
        f"covey-{cluster}-",
    )
    others = f"covey-{cluster}-n-"
    return [line for line in listed.splitlines() if any(m in line for m in marks) and others not in line]

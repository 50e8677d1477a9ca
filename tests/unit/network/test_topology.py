"""Where the nodes of one machine lie."""

import pytest

from agents.network.items import Veth
from agents.network.names import bridge, namespace, node_link
from agents.network.topology import NodePlace, lay_out, on_host
from mesh.errors import Terminal


def test_nodes_have_addresses_in_the_order_of_their_names():
    topology = lay_out("c", "10.63.0.0/24", ["a", "b"])
    assert topology.nodes == (NodePlace("a", "10.63.0.10"), NodePlace("b", "10.63.0.11"))
    assert topology.gateway == "10.63.0.1"


def test_too_many_nodes():
    with pytest.raises(Terminal, match=r"7 nodes do not fit into 10\.63\.0\.0/28"):
        lay_out("c", "10.63.0.0/28", [str(i) for i in range(7)])


def test_every_node_is_a_port_of_the_bridge_under_names_that_fit():
    topology = lay_out("a-rather-long-cluster-name", "10.63.0.0/24", ["a", "b"])
    links = [item for item in on_host(topology) if isinstance(item, Veth)]
    assert [link.master for link in links] == [topology.bridge] * 2
    assert len({link.name for link in links}) == len({link.mac for link in links}) == 2
    assert all(len(name) <= 15 for name in (topology.bridge, *(link.name for link in links)))


def test_names_of_two_clusters_never_meet():
    assert namespace("a", "b") == "covey-a-b"
    assert node_link("a", "b-c") != node_link("a-b", "c")
    assert bridge("a") != bridge("b")

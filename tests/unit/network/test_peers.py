"""Routes to other nodes' pods: direct on a shared link, by VXLAN otherwise."""

from agents.network.items import Address, Ensure, Forwarding, Neighbour, Remove, Route, Vxlan, difference
from agents.network.peers import Peer, Tunnel, Underlay, peer_of, wanted_routes

OWN = Peer("a", ("10.63.0.10",), ("10.64.0.0/24",))
NEAR = Peer("b", ("10.63.0.11",), ("10.64.1.0/24",))
FAR = Peer("c", ("192.0.2.7",), ("10.64.2.0/24",))
UNDERLAY = Underlay("eth0", ("10.63.0.10/24",), 1500)
TUNNEL = Tunnel(1, 8472)
TO_NEAR = Route("10.64.1.0/24", "eth0", gateway="10.63.0.11", protocol=202)


def _wanted(*peers: Peer):
    return wanted_routes(OWN, peers, UNDERLAY, TUNNEL)


def test_a_node_on_the_same_link_is_a_direct_route():
    assert _wanted(OWN, NEAR) == (TO_NEAR,)


def test_a_node_elsewhere_goes_through_the_tunnel():
    mac = "02:c0:c0:00:02:07"
    direct, device, sysctl, address, *rest = _wanted(NEAR, FAR)
    assert direct == TO_NEAR
    assert device == Vxlan("covey.vxlan", "covey pod network", 1450, "02:c0:0a:3f:00:0a", 1, 8472, "10.63.0.10")
    assert (sysctl.name, address) == ("net/ipv4/conf/covey.vxlan/rp_filter", Address("10.64.0.1/32", "covey.vxlan"))
    assert rest == [
        Neighbour("10.64.2.1", "covey.vxlan", mac),
        Forwarding(mac, "covey.vxlan", "192.0.2.7"),
        Route("10.64.2.0/24", "covey.vxlan", gateway="10.64.2.1", on_link=True, protocol=202),
    ]


def test_nodes_without_address_or_range_wait():
    assert _wanted(Peer("d", (), ("10.64.3.0/24",)), Peer("e", ("10.63.0.14",), ())) == ()


def test_two_claims_to_one_range_are_settled_the_same_way_everywhere():
    rival = Peer("bb", ("10.63.0.12",), NEAR.pod_cidrs)
    assert _wanted(NEAR, rival) == _wanted(rival, NEAR) == (TO_NEAR,)
    assert _wanted(Peer("d", ("10.63.0.14",), OWN.pod_cidrs)) == ()


def test_a_node_that_goes_takes_its_items_along():
    observed = _wanted(NEAR, FAR)
    actions = difference(_wanted(NEAR), observed)
    assert all(isinstance(action, Remove) for action in actions)
    assert {action.item for action in actions} == set(observed) - {TO_NEAR}


def test_a_node_that_moves_is_replaced_in_place():
    moved = Peer("b", ("10.63.0.21",), NEAR.pod_cidrs)
    assert difference(_wanted(moved), _wanted(NEAR)) == (
        Ensure(Route("10.64.1.0/24", "eth0", gateway="10.63.0.21", protocol=202)),
    )


def test_a_node_object_as_a_peer():
    node = {
        "metadata": {"name": "n"},
        "spec": {"podCIDR": "10.64.1.0/24", "podCIDRs": ["10.64.1.0/24", "fd00::/64"]},
        "status": {
            "addresses": [{"type": "Hostname", "address": "n"}, {"type": "InternalIP", "address": "10.63.0.11"}]
        },
    }
    assert peer_of(node) == Peer("n", ("10.63.0.11",), ("10.64.1.0/24", "fd00::/64"))
    assert peer_of({"metadata": {"name": "n"}}) == Peer("n", (), ())


def test_an_address_that_is_none_harms_nobody_else():
    odd = {
        "metadata": {"name": "0"},
        "spec": {"podCIDRs": ["10.64.9.0/24"]},
        "status": {"addresses": [{"type": "InternalIP", "address": "bogus"}]},
    }
    assert _wanted(OWN, peer_of(odd), NEAR) == (TO_NEAR,)

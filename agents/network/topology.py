"""Several nodes on one machine: what the host's namespace and each node's namespace hold.

    host:  bridge (gateway of the nodes; NATS and the API server listen there)
             |-- veth -- eth0 in /run/netns/covey-<cluster>-<node 1>
             |-- veth -- eth0 in /run/netns/covey-<cluster>-<node 2>

Nodes share the bridge as their link, so that their routes to each other are direct. What leaves the link is masqueraded
by the host. Docker sets the policy of FORWARD to DROP and has bridged frames filtered too (bridge-nf-call-iptables),
so our accepting rules stand first in FORWARD; on a host whose INPUT is closed (ufw) nodes must still reach the bridge.
Pure.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from agents.network import names
from agents.network.items import Address, Alias, Bridge, Item, Route, Sysctl, Up, Veth
from agents.network.rules import Rule
from mesh.errors import Terminal


@dataclass(frozen=True, slots=True)
class NodePlace:
    """One node of the machine: its name and its address on the cluster's link."""

    name: str
    address: str


@dataclass(frozen=True, slots=True)
class Topology:
    """The nodes of one cluster on this machine. `subnet` is their link's CIDR; its first address is the host's."""

    cluster: str
    subnet: str
    nodes: tuple[NodePlace, ...]
    mtu: int = 1500

    @property
    def bridge(self) -> str:
        """The host's bridge."""
        return names.bridge(self.cluster)

    @property
    def gateway(self) -> str:
        """The host's address on the bridge: the nodes' default route, and where servers listen for them."""
        return str(ipaddress.ip_network(self.subnet)[1])

    def with_length(self, address: str) -> str:
        """An address of the link with the link's prefix length."""
        return f"{address}/{ipaddress.ip_network(self.subnet).prefixlen}"


def lay_out(cluster: str, subnet: str, node_names: Sequence[str], *, mtu: int = 1500) -> Topology:
    """Nodes with addresses from the tenth of the subnet on, in the order of their names as given: a node keeps its
    address as long as those before it stay. Raises `Terminal` when the subnet is too small."""
    network = ipaddress.ip_network(subnet)
    if 10 + len(node_names) >= network.num_addresses:
        raise Terminal(f"{len(node_names)} nodes do not fit into {subnet}")
    places = tuple(NodePlace(name, str(network[10 + i])) for i, name in enumerate(node_names))
    return Topology(cluster, subnet, places, mtu)


def on_host(topology: Topology) -> tuple[Item, ...]:
    """Items of the host's namespace."""
    bridge = Bridge(topology.bridge, names.bridge_alias(topology.cluster), topology.mtu, names.mac_of(topology.gateway))
    items: list[Item] = [
        Sysctl("net/ipv4/ip_forward", "1"),
        bridge,
        Address(topology.with_length(topology.gateway), bridge.name),
    ]
    return (*items, *(node_link(topology, place) for place in topology.nodes))


def node_link(topology: Topology, place: NodePlace) -> Veth:
    """The host's end of a node's veth; the other end is eth0 in the node's namespace."""
    return Veth(
        names.node_link(topology.cluster, place.name),
        names.node_alias(topology.cluster, place.name),
        topology.mtu,
        mac=names.mac_of(f"169.254.{_host_part(topology, place)}"),
        master=topology.bridge,
        peer="eth0",
        peer_netns=f"/run/netns/{names.namespace(topology.cluster, place.name)}",
        peer_mac=names.mac_of(place.address),
    )


def in_node(topology: Topology, place: NodePlace) -> tuple[Item, ...]:
    """Items of a node's namespace. The alias of lo marks the namespace as this cluster's."""
    return (
        Alias("lo", names.node_alias(topology.cluster, place.name)),
        Up("lo"),
        Sysctl("net/ipv4/ip_forward", "1"),
        Up("eth0"),
        Address(topology.with_length(place.address), "eth0"),
        Route("0.0.0.0/0", "eth0", gateway=topology.gateway),
    )


def host_rules(topology: Topology) -> tuple[Rule, ...]:
    """The host's packet filter rules, to stand first in their chains."""
    bridge, comment = topology.bridge, comment_of(topology.cluster)
    return (
        Rule("filter", "INPUT", ("-d", f"{topology.gateway}/32", "-i", bridge), comment, "ACCEPT"),
        Rule("filter", "FORWARD", ("-i", bridge), comment, "ACCEPT"),
        Rule("filter", "FORWARD", ("-o", bridge), comment, "ACCEPT"),
        Rule("nat", "POSTROUTING", ("-s", topology.subnet, "!", "-o", bridge), comment, "MASQUERADE"),
    )


def comment_of(cluster: str) -> str:
    """The comment that marks a cluster's packet filter rules."""
    return f"covey:{cluster}"


def _host_part(topology: Topology, place: NodePlace) -> str:
    offset = int(ipaddress.ip_address(place.address)) - int(ipaddress.ip_network(topology.subnet).network_address)
    return f"{offset >> 8 & 255}.{offset & 255}"

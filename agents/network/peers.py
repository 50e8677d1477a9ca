"""Routes to the pods of other nodes, from the Node objects: direct where nodes share a link, VXLAN otherwise.

Every node works out the same tunnel addresses for itself, from Node objects alone: a tunnel's MAC follows from its
node's address (`names.mac_of`), its inner address is the first of the node's pod CIDR. Nothing has to be published.
Pure.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

from agents.network import names
from agents.network.addresses import node_address
from agents.network.items import PROTOCOL_NODES, Address, Forwarding, Item, Neighbour, Route, Sysctl, Vxlan
from mesh.objects.types import Object

VXLAN_OVERHEAD = 50
"""Bytes that VXLAN over IPv4 adds to a packet (RFC 7348): outer IP 20, UDP 8, VXLAN 8, inner Ethernet 14."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A node as the pod network sees it: its addresses and its pods' CIDRs, primary family first."""

    name: str
    addresses: tuple[str, ...]
    pod_cidrs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Underlay:
    """What this node's own link tells: device, its addresses with prefix lengths, and its MTU in bytes."""

    device: str
    addresses: tuple[str, ...]
    mtu: int


@dataclass(frozen=True, slots=True)
class Tunnel:
    """The cluster's VXLAN: network identifier and UDP port."""

    vni: int
    port: int


def peer_of(node: Object) -> Peer:
    """A Node object as a peer (`spec.podCIDRs`, `status.addresses` of type InternalIP). The API does not check
    addresses: what is none counts as absent, or one Node would end the pod network of all."""
    spec = node.get("spec") or {}
    single = [spec["podCIDR"]] if spec.get("podCIDR") else []
    addresses = [a["address"] for a in (node.get("status") or {}).get("addresses") or () if a["type"] == "InternalIP"]
    addresses = [a for a in addresses if _is_address(a)]
    return Peer(str(node["metadata"]["name"]), tuple(addresses), tuple(spec.get("podCIDRs") or single))


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def wanted_routes(own: Peer, peers: Iterable[Peer], underlay: Underlay, tunnel: Tunnel) -> tuple[Item, ...]:
    """All items that lead to the other nodes' pods, in the order of making: direct routes first, so that trouble with
    the tunnel does not hold them up.

    A peer without an address or a CIDR of a family is left out until it has both. Where two nodes claim one CIDR, the
    first by name has it: the answer must not depend on the order in which they were seen.
    """
    claimed = set(own.pod_cidrs)
    direct: list[Item] = []
    tunnelled: list[Item] = []
    for peer in sorted(peers, key=lambda p: p.name):
        for cidr in () if peer.name == own.name else peer.pod_cidrs:
            version = ipaddress.ip_network(cidr).version
            address = next((a for a in peer.addresses if ipaddress.ip_address(a).version == version), "")
            if not address or cidr in claimed:
                continue
            claimed.add(cidr)
            if _shares_link(address, underlay):
                direct.append(Route(cidr, underlay.device, gateway=address, protocol=PROTOCOL_NODES))
            elif version == 4:
                tunnelled += _through_tunnel(cidr, address)
    device = _tunnel_device(own, underlay, tunnel) if tunnelled else ()
    return (*direct, *device, *tunnelled)


def _shares_link(address: str, underlay: Underlay) -> bool:
    return any(ipaddress.ip_address(address) in ipaddress.ip_interface(own).network for own in underlay.addresses)


def _through_tunnel(cidr: str, address: str) -> tuple[Item, Item, Item]:
    gateway, mac = node_address(cidr), names.mac_of(address)
    device = names.VXLAN_DEVICE
    return (
        Neighbour(gateway, device, mac),
        Forwarding(mac, device, address),
        Route(cidr, device, gateway=gateway, on_link=True, protocol=PROTOCOL_NODES),
    )


def _tunnel_device(own: Peer, underlay: Underlay, tunnel: Tunnel) -> tuple[Item, ...]:
    """The device holds the first address of our own pod CIDR: packets that this node itself sends through the tunnel
    (probes, masqueraded NodePort traffic) carry it as source, and so their answers come back through the tunnel."""
    local = next((a for a in own.addresses if ipaddress.ip_address(a).version == 4), "")
    mtu = underlay.mtu - VXLAN_OVERHEAD
    name = names.VXLAN_DEVICE
    items: list[Item] = [
        Vxlan(name, "covey pod network", mtu, names.mac_of(local), tunnel.vni, tunnel.port, local),
        Sysctl(f"net/ipv4/conf/{name}/rp_filter", "0"),
    ]
    items += [Address(f"{node_address(c)}/32", name) for c in own.pod_cidrs if ipaddress.ip_network(c).version == 4]
    return tuple(items)

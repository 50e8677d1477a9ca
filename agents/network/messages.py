"""Items as rtnetlink(7) messages and back. Indexes of devices are looked up in the calling thread's namespace."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
from contextlib import ExitStack
from dataclasses import dataclass

from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.ndmsg import ndmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from agents.network.items import (
    Address,
    Alias,
    Bridge,
    Forwarding,
    Link,
    Neighbour,
    Route,
    Up,
    Veth,
    Vxlan,
)
from mesh.errors import CoveyError
from mesh.objects.types import Json, Object

NEWLINK, DELLINK, GETLINK = 16, 17, 18
NEWADDR, DELADDR, GETADDR = 20, 21, 22
NEWROUTE, DELROUTE, GETROUTE = 24, 25, 26
NEWNEIGH, DELNEIGH, GETNEIGH = 28, 29, 30
CREATE, EXCL, REPLACE = 0x400, 0x200, 0x100
AF_BRIDGE = 7
NUD_PERMANENT = 0x80
MAIN_TABLE = 254
UNICAST = 1
_IFF_UP = 1
_NTF_SELF = 0x2
_SCOPE_LINK = 253
_RTNH_F_ONLINK = 4


class KernelRefusal(CoveyError):
    """The kernel refused an action; `errno` is its number."""

    def __init__(self, what: str, number: int) -> None:
        super().__init__(f"cannot {what}: {os.strerror(number)}")
        self.errno = number


@dataclass(frozen=True, slots=True)
class Message:
    """One request: pyroute2's message class, the operation (RTM_*), flags beyond REQUEST and ACK, header fields and
    attributes."""

    kind: Json
    operation: int
    flags: int
    fields: Object
    attributes: list[tuple[str, Json]]


def set_link(device: str, attributes: list[tuple[str, Json]], *, up: bool = True) -> Message:
    """Change a link that exists."""
    fields = {"index": _index(device)} | ({"flags": _IFF_UP, "change": _IFF_UP} if up else {})
    return Message(ifinfmsg, NEWLINK, 0, fields, attributes)


def ensure(item: Up | Alias | Address | Route | Neighbour | Forwarding) -> Message:
    """The request that makes or replaces the item."""
    match item:
        case Up():
            return set_link(item.device, [])
        case Alias():
            return set_link(item.device, [("IFLA_IFALIAS", item.text)], up=False)
        case Address():
            return Message(ifaddrmsg, NEWADDR, CREATE | REPLACE, *_address(item))
        case Route():
            return Message(rtmsg, NEWROUTE, CREATE | REPLACE, *_route(item))
        case Neighbour() | Forwarding():
            return Message(ndmsg, NEWNEIGH, CREATE | REPLACE, *_neighbour(item))


def remove_link(device: str) -> Message:
    """The request that removes a link."""
    return Message(ifinfmsg, DELLINK, 0, {"index": _index(device)}, [])


def remove(item: Link | Address | Route | Neighbour | Forwarding) -> Message:
    """The request that removes the item."""
    match item:
        case Bridge() | Veth() | Vxlan():
            return remove_link(item.name)
        case Address():
            return Message(ifaddrmsg, DELADDR, 0, *_address(item))
        case Route():
            return Message(rtmsg, DELROUTE, 0, *_route(item))
        case Neighbour() | Forwarding():
            return Message(ndmsg, DELNEIGH, 0, *_neighbour(item))


def index_of(device: str) -> int:
    """The index of a device in the calling thread's namespace, 0 when there is none."""
    try:
        return socket.if_nametoindex(device)
    except OSError:
        return 0


def name_of(index: int) -> str:
    """The name of a device in the calling thread's namespace, "" when there is none."""
    try:
        return socket.if_indextoname(index)
    except OSError:  # the device went between the dump and now
        return ""


def _index(device: str) -> int:
    index = index_of(device)
    if not index:
        raise KernelRefusal(f"find device {device}", errno.ENODEV)
    return index


def create_link(link: Link, opened: ExitStack) -> Message:
    """The request that creates a link; what had to be opened for it is closed by `opened`."""
    attributes: list[tuple[str, Json]] = [
        ("IFLA_IFNAME", link.name),
        ("IFLA_MTU", link.mtu),
        ("IFLA_ADDRESS", link.mac),
    ]
    match link:
        case Bridge():
            info: Object = {"attrs": [("IFLA_INFO_KIND", "bridge")]}
        case Veth():
            descriptor = os.open(link.peer_netns, os.O_RDONLY | os.O_CLOEXEC)
            opened.callback(os.close, descriptor)
            peer: list[tuple[str, Json]] = [
                ("IFLA_IFNAME", link.peer),
                ("IFLA_MTU", link.mtu),
                ("IFLA_NET_NS_FD", descriptor),
            ]
            if link.peer_mac:
                peer.append(("IFLA_ADDRESS", link.peer_mac))
            data: Object = {"attrs": [("VETH_INFO_PEER", {"family": 0, "attrs": peer})]}
            info = {"attrs": [("IFLA_INFO_KIND", "veth"), ("IFLA_INFO_DATA", data)]}
        case Vxlan():
            settings: list[tuple[str, Json]] = [
                ("IFLA_VXLAN_ID", link.vni),
                ("IFLA_VXLAN_LOCAL", link.local),
                ("IFLA_VXLAN_PORT", link.port),
                ("IFLA_VXLAN_LEARNING", 0),
            ]
            info = {"attrs": [("IFLA_INFO_KIND", "vxlan"), ("IFLA_INFO_DATA", {"attrs": settings})]}
    attributes.append(("IFLA_LINKINFO", info))
    return Message(ifinfmsg, NEWLINK, CREATE | EXCL, {"family": 0}, attributes)


def _address(item: Address) -> tuple[Object, list[tuple[str, Json]]]:
    interface = ipaddress.ip_interface(item.address)
    fields = {
        "family": _family(interface.version),
        "prefixlen": interface.network.prefixlen,
        "index": _index(item.device),
    }
    text = str(interface.ip)
    return fields, [("IFA_LOCAL", text), ("IFA_ADDRESS", text)]


def _route(item: Route) -> tuple[Object, list[tuple[str, Json]]]:
    network = ipaddress.ip_network(item.destination)
    fields = {
        "family": _family(network.version),
        "dst_len": network.prefixlen,
        "table": 254,
        "proto": item.protocol,
        "type": 1,
        "scope": 0 if item.gateway or network.version == 6 else _SCOPE_LINK,
        "flags": _RTNH_F_ONLINK if item.on_link else 0,
    }
    attributes: list[tuple[str, Json]] = [("RTA_OIF", _index(item.device))]
    if network.prefixlen:
        attributes.append(("RTA_DST", str(network.network_address)))
    if item.gateway:
        attributes.append(("RTA_GATEWAY", item.gateway))
    if item.source:
        attributes.append(("RTA_PREFSRC", item.source))
    return fields, attributes


def route_item(message: Json, device: str) -> Route:
    """A route message as an item."""
    default = "0.0.0.0" if message["family"] == socket.AF_INET else "::"
    return Route(
        f"{message.get_attr('RTA_DST') or default}/{message['dst_len']}",
        device,
        gateway=message.get_attr("RTA_GATEWAY") or "",
        source=message.get_attr("RTA_PREFSRC") or "",
        on_link=bool(message["flags"] & _RTNH_F_ONLINK),
        protocol=message["proto"],
    )


def _neighbour(item: Neighbour | Forwarding) -> tuple[Object, list[tuple[str, Json]]]:
    index = _index(item.device)
    if isinstance(item, Forwarding):
        fields = {"family": AF_BRIDGE, "ifindex": index, "state": NUD_PERMANENT, "flags": _NTF_SELF}
        return fields, [("NDA_LLADDR", item.mac), ("NDA_DST", item.node)]
    family = _family(ipaddress.ip_address(item.address).version)
    fields = {"family": family, "ifindex": index, "state": NUD_PERMANENT}
    return fields, [("NDA_DST", item.address), ("NDA_LLADDR", item.mac)]


def link_facts(message: Json) -> Object:
    """A link message as `Netlink.links` describes it."""
    info = message.get_attr("IFLA_LINKINFO")
    data = info.get_attr("IFLA_INFO_DATA") if info else None
    return {
        "index": message["index"],
        "name": message.get_attr("IFLA_IFNAME"),
        "alias": message.get_attr("IFLA_IFALIAS") or "",
        "kind": (info.get_attr("IFLA_INFO_KIND") if info else "") or "",
        "mtu": message.get_attr("IFLA_MTU"),
        "mac": message.get_attr("IFLA_ADDRESS") or "",
        "up": bool(message["flags"] & _IFF_UP),
        "master": message.get_attr("IFLA_MASTER") or 0,
        "peer": message.get_attr("IFLA_LINK") or 0,
        "info": data,
    }


def link_item(link: Object) -> Link | None:
    """The link as an item, or None when it is of another kind or down."""
    if not link["up"]:
        return None
    name, alias, mtu, mac = link["name"], link["alias"], link["mtu"], link["mac"]
    match link["kind"]:
        case "bridge":
            return Bridge(name, alias, mtu, mac)
        case "veth":
            return Veth(name, alias, mtu, mac=mac, master=name_of(link["master"]))
        case "vxlan":
            info = link["info"]
            return Vxlan(
                name, alias, mtu, mac, info.get_attr("IFLA_VXLAN_ID"), info.get_attr("IFLA_VXLAN_PORT"),
                info.get_attr("IFLA_VXLAN_LOCAL"),
            )  # fmt: skip
    return None


def _family(version: int) -> int:
    return socket.AF_INET if version == 4 else socket.AF_INET6

"""What can exist in a network namespace, as values, and the difference between what should and what does.

An item equals another when the kernel would behave the same; its `key` says which other item it would replace. Only
items that are certainly ours (by name, alias, routing protocol or label) may be given to `difference` as observed.
Pure: no I/O may enter.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

PROTOCOL_PODS = 201
"""Routing protocol number (rtnetlink(7), `rtm_protocol`) of routes to pods on this node."""
PROTOCOL_NODES = 202
"""Routing protocol number of routes to the pods of other nodes."""
PROTOCOL_STATIC = 4
"""RTPROT_STATIC: an administrator's routes; what we write inside pods and nodes that we made ourselves."""


@dataclass(frozen=True, slots=True)
class Sysctl:
    """A kernel setting under /proc/sys, by its dotted path with "/" as separator ("net/ipv4/ip_forward")."""

    name: str
    value: str

    @property
    def key(self) -> Hashable:
        """Two values of one setting replace each other."""
        return ("sysctl", self.name)

    def __str__(self) -> str:
        return f"sysctl {self.name}={self.value}"


@dataclass(frozen=True, slots=True)
class Bridge:
    """A Linux bridge. `alias` (IFLA_IFALIAS) says whose it is; with a MAC of its own it does not take on a port's."""

    name: str
    alias: str
    mtu: int
    mac: str

    @property
    def key(self) -> Hashable:
        """Links are told apart by name."""
        return ("link", self.name)

    def __str__(self) -> str:
        return f"bridge {self.name}"


@dataclass(frozen=True, slots=True)
class Veth:
    """One end of a veth pair; the other is made as `peer` in the namespace at path `peer_netns`.

    What cannot be seen from this end takes no part in equality.
    """

    name: str
    alias: str
    mtu: int
    mac: str
    """Of this end."""
    master: str = ""
    """Bridge that this end is a port of, or ""."""
    peer: str = field(default="", compare=False)
    peer_netns: str = field(default="", compare=False)
    peer_mac: str = field(default="", compare=False)

    @property
    def key(self) -> Hashable:
        """Links are told apart by name."""
        return ("link", self.name)

    def __str__(self) -> str:
        return f"veth {self.name}"


@dataclass(frozen=True, slots=True)
class Vxlan:
    """A VXLAN device without learning: every remote address comes from `Neighbour` and `Forwarding` items."""

    name: str
    alias: str
    mtu: int
    mac: str
    vni: int
    port: int
    local: str

    @property
    def key(self) -> Hashable:
        """Links are told apart by name."""
        return ("link", self.name)

    def __str__(self) -> str:
        return f"vxlan {self.name} id {self.vni} local {self.local}"


@dataclass(frozen=True, slots=True)
class Up:
    """A link that exists anyway (lo, or eth0 made from the other side) is up."""

    device: str

    @property
    def key(self) -> Hashable:
        """One state for each device."""
        return ("up", self.device)

    def __str__(self) -> str:
        return f"{self.device} up"


@dataclass(frozen=True, slots=True)
class Alias:
    """A link that exists anyway carries this alias: how a namespace is marked as ours."""

    device: str
    text: str

    @property
    def key(self) -> Hashable:
        """One alias for each device."""
        return ("alias", self.device)

    def __str__(self) -> str:
        return f"{self.device} alias {self.text!r}"


@dataclass(frozen=True, slots=True)
class Address:
    """An address with prefix length ("10.64.1.7/32") on a device."""

    address: str
    device: str

    @property
    def key(self) -> Hashable:
        """A device may hold many addresses."""
        return ("address", self.device, self.address)

    def __str__(self) -> str:
        return f"address {self.address} on {self.device}"


@dataclass(frozen=True, slots=True)
class Route:
    """A unicast route in the main table. Without `gateway` the destination is on the link itself."""

    destination: str
    device: str
    gateway: str = ""
    source: str = ""
    """Address this node uses towards it; "" leaves it to the kernel."""
    on_link: bool = False
    """The gateway is reached through `device` although no address there says so."""
    protocol: int = PROTOCOL_STATIC

    @property
    def key(self) -> Hashable:
        """One route for each destination."""
        return ("route", self.destination)

    def __str__(self) -> str:
        via = f" via {self.gateway}" if self.gateway else ""
        return f"route {self.destination}{via} dev {self.device}"


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A permanent ARP or NDP entry."""

    address: str
    device: str
    mac: str

    @property
    def key(self) -> Hashable:
        """One entry for each address on a device."""
        return ("neighbour", self.device, self.address)

    def __str__(self) -> str:
        return f"neighbour {self.address} is {self.mac} on {self.device}"


@dataclass(frozen=True, slots=True)
class Forwarding:
    """A permanent entry of a VXLAN device's forwarding database: frames to `mac` go to the node at `node`."""

    mac: str
    device: str
    node: str

    @property
    def key(self) -> Hashable:
        """Without learning there is one destination for each MAC; `replace` moves it."""
        return ("forwarding", self.device, self.mac)

    def __str__(self) -> str:
        return f"forwarding {self.mac} to {self.node} on {self.device}"


Link: TypeAlias = Bridge | Veth | Vxlan
Item: TypeAlias = Sysctl | Link | Up | Alias | Address | Route | Neighbour | Forwarding


@dataclass(frozen=True, slots=True)
class Ensure:
    """Make the item exist as it is described, replacing one with the same key."""

    item: Item

    def __str__(self) -> str:
        return f"ensure {self.item}"


@dataclass(frozen=True, slots=True)
class Remove:
    """Make the item not exist; gone already is fine."""

    item: Item

    def __str__(self) -> str:
        return f"remove {self.item}"


Action: TypeAlias = Ensure | Remove


def difference(wanted: Iterable[Item], observed: Iterable[Item]) -> tuple[Action, ...]:
    """What turns the observed items into the wanted ones, removals first and in reverse order.

    `wanted` is in the order of making: what an item needs stands before it. An item whose key is wanted with another
    value is replaced in place rather than removed, so that traffic finds a route at every moment; only a link that
    exists with the wrong properties is removed first, since the kernel cannot change most of them.
    """
    wants = tuple(wanted)
    seen = tuple(observed)
    present, keys = frozenset(seen), {item.key for item in wants}
    gone = [item for item in seen if item not in wants and (item.key not in keys or isinstance(item, Link))]
    removals = tuple(Remove(item) for item in reversed(gone))
    lost = {item.name for item in gone if isinstance(item, Link)}
    missing = (item for item in wants if item not in present or _device(item) in lost)
    return removals + tuple(Ensure(item) for item in missing)


def _device(item: Item) -> str:
    """The device without which the item cannot exist, or ""."""
    return item.device if isinstance(item, Up | Alias | Address | Route | Neighbour | Forwarding) else ""

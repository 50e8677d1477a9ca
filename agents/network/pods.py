"""What a wired pod looks like from the node's side and from inside.

A pod's link is point to point: a veth whose end in the pod is eth0 with a /32 address, and whose end on the node has
none. The node routes to the address over the veth; the pod's default route leads to a link-local next hop that a
permanent neighbour entry maps to the node's end. So there is no bridge (and no bridge filtering, no flooding, no ARP on
the way of the first packet), a pod reaches itself through a Service by the same link (hairpin), and no pod can take
another's address: reverse path filtering on its link accepts its own only.
Pure.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from agents.network import names
from agents.network.items import (
    PROTOCOL_PODS,
    Action,
    Address,
    Item,
    Neighbour,
    Remove,
    Route,
    Sysctl,
    Up,
    Veth,
    difference,
)


@dataclass(frozen=True, slots=True)
class Wiring:
    """One pod's link: `netns` is the path of its namespace, `node_addresses` are the node's own, one per family."""

    sandbox_id: str
    netns: str
    addresses: tuple[str, ...]
    node_addresses: tuple[str, ...]
    mtu: int
    sysctls: tuple[Sysctl, ...] = ()
    """What the pod asks for."""

    @property
    def link(self) -> Veth:
        """The veth as the node sees it."""
        return Veth(
            names.pod_link(self.sandbox_id),
            names.pod_alias(self.sandbox_id),
            self.mtu,
            mac=names.HOST_MAC,
            peer=names.POD_INTERFACE,
            peer_netns=self.netns,
            peer_mac=names.mac_of(self.addresses[0]),
        )


@dataclass(frozen=True, slots=True)
class Observed:
    """What is there already: items on the node that concern this pod's link, and items in the pod's namespace.

    `joined` says whether the pod's eth0 really is the other end of this link.
    """

    node: tuple[Item, ...] = ()
    pod: tuple[Item, ...] = ()
    joined: bool = False


NOTHING = Observed()
_UNPRIVILEGED = (
    Sysctl("net/ipv4/ip_unprivileged_port_start", "0"),
    Sysctl("net/ipv4/ping_group_range", "0\t2147483647"),
)
"""A namespace of its own has no ports to protect: whoever runs in a pod may listen on 80, and ping, as container runtimes
allow (containerd's `enable_unprivileged_ports` and `enable_unprivileged_icmp`, Docker's defaults)."""


def on_node(wiring: Wiring) -> tuple[Item, ...]:
    """The node's side, in the order of making. Sysctls come before the routes that let packets in."""
    link = wiring.link
    items: list[Item] = [link, Sysctl(f"net/ipv4/conf/{link.name}/rp_filter", "1")]
    for address in wiring.addresses:
        family = ipaddress.ip_address(address)
        source = next((a for a in wiring.node_addresses if ipaddress.ip_address(a).version == family.version), "")
        items.append(Neighbour(address, link.name, link.peer_mac))
        items.append(Route(f"{address}/{family.max_prefixlen}", link.name, source=source, protocol=PROTOCOL_PODS))
    return tuple(items)


def in_pod(wiring: Wiring) -> tuple[Item, ...]:
    """The pod's side. ICMP redirects are refused: a hairpinned packet would make the node send one. What the pod itself
    asks for comes last, when all devices are there."""
    device = names.POD_INTERFACE
    asked = {item.key for item in wiring.sysctls}
    items: list[Item] = [
        Up("lo"),
        *(item for item in _UNPRIVILEGED if item.key not in asked),
        Sysctl("net/ipv4/conf/all/accept_redirects", "0"),
        Sysctl(f"net/ipv4/conf/{device}/accept_redirects", "0"),
        Up(device),
    ]
    for text in wiring.addresses:
        address = ipaddress.ip_address(text)
        gateway = names.GATEWAYS[address.version]
        items += [
            Address(f"{text}/{address.max_prefixlen}", device),
            Neighbour(gateway, device, names.HOST_MAC),
            Route("0.0.0.0/0" if address.version == 4 else "::/0", device, gateway=gateway, on_link=True),
        ]
    return (*items, *wiring.sysctls)


@dataclass(frozen=True, slots=True)
class Plan:
    """Actions on the node, then actions inside the pod."""

    node: tuple[Action, ...]
    pod: tuple[Action, ...]


def plan_attach(wiring: Wiring, observed: Observed) -> Plan:
    """What is missing. A link that leads elsewhere (to a namespace that is gone or going) is removed first."""
    if not observed.joined:
        stale = any(isinstance(item, Veth) for item in observed.node)
        removal: tuple[Action, ...] = (Remove(wiring.link),) if stale else ()
        return Plan(removal + difference(on_node(wiring), ()), difference(in_pod(wiring), ()))
    return Plan(difference(on_node(wiring), observed.node), difference(in_pod(wiring), observed.pod))

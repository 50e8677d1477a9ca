"""Names by which everything that Covey makes in the kernel is found again: links, aliases, namespaces, MAC addresses.

Link names hold at most 15 bytes (IFNAMSIZ), so they carry a digest, and the alias carries the words. Pure.
"""

from __future__ import annotations

import hashlib
import ipaddress

VXLAN_DEVICE = "covey.vxlan"
POD_INTERFACE = "eth0"
HOST_MAC = "ee:ee:ee:ee:ee:ee"
"""MAC of the node's end of every pod's veth: the links are point to point, so one serves all."""
POD_LINK_PREFIX = "cvp"
POD_ALIAS_PREFIX = "covey pod "
GATEWAYS = {4: "169.254.1.1", 6: "fe80::ecee:eeff:feee:eeee"}
"""The pods' next hop by IP version: a link-local address that no device holds; a permanent neighbour entry leads to
the node's end of the veth. (The IPv6 one is what HOST_MAC gives by EUI-64.)"""


def digest(*parts: str) -> str:
    """Twelve hexadecimal digits for these words."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


def pod_link(sandbox_id: str) -> str:
    """The node's end of a sandbox's veth."""
    return POD_LINK_PREFIX + digest(sandbox_id)


def pod_alias(sandbox_id: str) -> str:
    """What the node's end of a sandbox's veth says about itself."""
    return POD_ALIAS_PREFIX + sandbox_id


def sandbox_of(alias: str) -> str:
    """The sandbox a veth's alias names, or ""."""
    return alias.removeprefix(POD_ALIAS_PREFIX) if alias.startswith(POD_ALIAS_PREFIX) else ""


def mac_of(address: str) -> str:
    """A locally administered MAC that every node can work out from an address, so that none has to be told."""
    packed = ipaddress.ip_address(address).packed
    tail = packed if len(packed) == 4 else hashlib.sha256(packed).digest()[:4]
    return ":".join(f"{byte:02x}" for byte in b"\x02\xc0" + tail)


def namespace(cluster: str, node: str) -> str:
    """Name of a node's network namespace under /run/netns."""
    return f"covey-{cluster}-{node}"


def bridge(cluster: str) -> str:
    """Name of the host's bridge to a cluster's nodes."""
    return "cvb" + digest(cluster)


def bridge_alias(cluster: str) -> str:
    """What the host's bridge says about itself."""
    return f"covey cluster {cluster}"


def node_link(cluster: str, node: str) -> str:
    """The host's end of a node's veth."""
    return "cvn" + digest(cluster, node)


def node_alias(cluster: str, node: str) -> str:
    """What marks a node's veth and namespace as this cluster's. Neither name can hold a space."""
    return f"covey cluster {cluster} node {node}"

"""What one Service means to the kernel: a pure function from a Service, its EndpointSlices and the node to rules.

A `Rule` says what becomes of new connections to one `Frontend`. Behaviour is that of Kubernetes 1.36
(https://kubernetes.io/docs/reference/networking/virtual-ips/). How rules become packets' fate is the back ends'
business; nothing of nftables or iptables may enter here, nor I/O, clocks or randomness.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_address, ip_network
from typing import TypeAlias

from mesh.objects.meta import labels_of, name_of, namespace_of
from mesh.objects.types import Object
from netproxy.endpoints import Backend, Endpoint, choose, endpoints_of

SERVICE_PROXY_NAME = "service.kubernetes.io/service-proxy-name"
"""Label of Services that some other proxy takes care of."""

DEFAULT_AFFINITY_SECONDS = 10800
"""`sessionAffinityConfig.clientIP.timeoutSeconds` when the Service does not say (three hours)."""


class Masquerade(Enum):
    """For which sources a connection's source address is replaced by the node's, so that answers come back this way.

    Whatever it says, a connection whose backend is on this node keeps its source (answers pass here anyway), unless
    that backend is the very pod that connects (hairpin), which would otherwise answer itself directly.
    """

    NEVER = "never"
    OUTSIDE = "outside"
    """Sources that are not pods: the node's own processes, and hosts that route ClusterIPs to this node."""
    ALWAYS = "always"


class Refusal(Enum):
    """What becomes of a connection for which there is no backend."""

    REJECT = "reject"
    """The client is told at once: TCP reset or ICMP port unreachable."""
    DROP = "drop"
    """Endpoints exist, but the traffic policy forbids those that are not on this node."""


@dataclass(frozen=True, slots=True, order=True)
class Frontend:
    """Where clients connect to. An unspecified address (0.0.0.0, ::) means the node's own addresses: a NodePort."""

    address: str
    protocol: str
    """tcp, udp or sctp."""
    port: int

    @property
    def is_node_port(self) -> bool:
        """Whether this is a port on the node's own addresses."""
        return self.address in {"0.0.0.0", "::"}

    @property
    def family(self) -> int:
        """4 or 6."""
        return 6 if ":" in self.address else 4


@dataclass(frozen=True, slots=True)
class Rule:
    """What becomes of new connections to a frontend. Backends are sorted, so that equal rules compare equal."""

    service: str
    """`namespace/name:port`, for people."""
    backends: tuple[Backend, ...]
    masquerade: Masquerade = Masquerade.OUTSIDE
    inside: tuple[Backend, ...] = ()
    """Backends for clients inside the cluster (pods and this node) where `externalTrafficPolicy: Local` restricts those
    of all others; empty when there is no such difference."""
    affinity_seconds: int = 0
    """How long a client stays with the backend it had after its last connection; 0 is no session affinity."""
    source_ranges: tuple[str, ...] = ()
    """CIDRs that clients must come from; empty allows all."""
    refusal: Refusal = Refusal.REJECT


Rules: TypeAlias = Mapping[Frontend, Rule]


@dataclass(frozen=True, slots=True)
class NodeView:
    """What the rules depend on in the node they are for."""

    name: str
    zone: str = ""
    """Label topology.kubernetes.io/zone."""
    families: frozenset[int] = frozenset({4})


def rules_of(service: Object, slices: Iterable[Object], node: NodeView) -> dict[Frontend, Rule]:
    """The rules of one Service; empty for a Service that needs none (headless, ExternalName, another proxy's).

    `slices` are all EndpointSlices of the Service, in any order.
    """
    spec = service.get("spec") or {}
    if not _is_ours(service, spec):
        return {}
    slices = list(slices)
    rules: dict[Frontend, Rule] = {}
    for port in spec.get("ports") or ():
        for family in sorted(node.families):
            endpoints = endpoints_of(slices, port.get("name", ""), port.get("protocol", "TCP"), family, node.name)
            for frontend, rule in _rules_of_port(service, port, family, endpoints, node):
                rules.setdefault(frontend, rule)
    return rules


def _is_ours(service: Object, spec: Object) -> bool:
    if SERVICE_PROXY_NAME in labels_of(service) or spec.get("type") == "ExternalName":
        return False
    return spec.get("clusterIP", "None") not in {"", "None"}


def _rules_of_port(
    service: Object, port: Object, family: int, endpoints: Sequence[Endpoint], node: NodeView
) -> Iterator[tuple[Frontend, Rule]]:
    """Rules of one port of a Service for one address family."""
    spec = service["spec"]
    label = f"{namespace_of(service)}/{name_of(service)}" + (f":{port['name']}" if port.get("name") else "")
    protocol = port.get("protocol", "TCP").lower()
    everywhere = choose(endpoints, node_name=node.name, zone=node.zone)
    here = choose([e for e in endpoints if e.backend.local], node_name="", zone="")
    affinity = _affinity_seconds(spec)

    internal_local = spec.get("internalTrafficPolicy") == "Local"
    internal = Rule(
        label,
        here if internal_local else everywhere,
        Masquerade.OUTSIDE,
        affinity_seconds=affinity,
        refusal=Refusal.DROP if internal_local and everywhere else Refusal.REJECT,
    )
    for address in _of_family(spec.get("clusterIPs") or [spec["clusterIP"]], family):
        yield Frontend(address, protocol, port["port"]), internal

    external = _external_rule(label, spec, everywhere, here, affinity)
    for address in _of_family(spec.get("externalIPs") or (), family):
        yield Frontend(address, protocol, port["port"]), external
    ranges = _source_ranges(spec, family)
    for address in _of_family(_load_balancer_addresses(service), family):
        restricted = Rule(
            label, external.backends, external.masquerade, external.inside, affinity, ranges, external.refusal
        )
        yield Frontend(address, protocol, port["port"]), restricted
    if spec.get("type") in {"NodePort", "LoadBalancer"} and port.get("nodePort"):
        yield Frontend("::" if family == 6 else "0.0.0.0", protocol, port["nodePort"]), external


def _external_rule(
    label: str, spec: Object, everywhere: tuple[Backend, ...], here: tuple[Backend, ...], affinity: int
) -> Rule:
    """The rule for traffic that comes by a NodePort, a load balancer's address or an external IP."""
    if spec.get("externalTrafficPolicy") != "Local":
        return Rule(label, everywhere, Masquerade.ALWAYS, affinity_seconds=affinity)
    return Rule(
        label,
        here,
        Masquerade.NEVER,
        inside=everywhere,
        affinity_seconds=affinity,
        refusal=Refusal.DROP if everywhere else Refusal.REJECT,
    )


def _affinity_seconds(spec: Object) -> int:
    if spec.get("sessionAffinity") != "ClientIP":
        return 0
    config = (spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}
    return int(config.get("timeoutSeconds") or DEFAULT_AFFINITY_SECONDS)


def _load_balancer_addresses(service: Object) -> list[str]:
    """Ingress addresses that this node answers for; those with ipMode Proxy belong to the load balancer alone."""
    if service["spec"].get("type") != "LoadBalancer":
        return []
    ingress = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    return [i["ip"] for i in ingress if i.get("ip") and i.get("ipMode", "VIP") == "VIP"]


def _source_ranges(spec: Object, family: int) -> tuple[str, ...]:
    """`loadBalancerSourceRanges` of one family, without overlaps; empty means all."""
    networks = [ip_network(r.strip(), strict=False) for r in spec.get("loadBalancerSourceRanges") or ()]
    if family == 6:
        merged6 = collapse_addresses(n for n in networks if isinstance(n, IPv6Network))
        return tuple(str(n) for n in merged6 if n.prefixlen)
    merged = collapse_addresses(n for n in networks if isinstance(n, IPv4Network))
    return tuple(str(n) for n in merged if n.prefixlen)


def _of_family(addresses: Iterable[str], family: int) -> list[str]:
    return [a for a in addresses if ip_address(a).version == family]

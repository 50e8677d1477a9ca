"""How rules look as elements of nftables' maps. Pure: values in, text in `nft -nn list` notation out.

A new connection is looked up by (address, protocol, port) in the verdict map `services`, or by (protocol, port) in
`node-ports` when it came to one of the node's own addresses. The verdict leads to a chain such as `tcp-cluster-3`, that
all Services with three backends share: it draws a number below 3 and looks up (address, port, number) in `tcp-backends`
to find where to. So endpoints come and go by a few map elements; chains are made only when some Service is the first
with that many backends. (A map for each protocol, since nft 1.0.6 takes the port beside a drawn number for one's.)

Session affinity: `remember` chains note in `affinity`, once the backend is known, who went where; `*-sticky` chains
look there first. `externalTrafficPolicy: Local`: `shortcuts` leads clients inside the cluster to all backends, which
are filed from number `INSIDE` on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from netproxy.endpoints import Backend
from netproxy.model import Frontend, Masquerade, Refusal, Rule

INSIDE = 65536
"""First number under which backends for clients inside the cluster are filed."""

PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132}
"""Protocol numbers, as `nft -nn` prints them."""

_MODES = {Masquerade.OUTSIDE: "cluster", Masquerade.ALWAYS: "external", Masquerade.NEVER: "local"}


@dataclass(frozen=True, slots=True)
class SetSpec:
    """One named set or map: types of its key and, for a map, of its values, in nft's words."""

    key: tuple[str, ...]
    value: tuple[str, ...] = ()
    interval: bool = False


_FRONTEND = ("ipv4_addr", "inet_proto", "inet_service")
_NODE_PORT = ("inet_proto", "inet_service")
_BACKEND = ("ipv4_addr", "inet_service")

SETS: dict[str, SetSpec] = {
    "services": SetSpec(_FRONTEND, ("verdict",)),
    "node-ports": SetSpec(_NODE_PORT, ("verdict",)),
    **{f"{p}-backends": SetSpec(("ipv4_addr", "inet_service", "index"), _BACKEND) for p in PROTOCOLS},
    **{f"node-{p}-backends": SetSpec(("inet_service", "index"), _BACKEND) for p in PROTOCOLS},
    "shortcuts": SetSpec(_FRONTEND, ("verdict",)),
    "node-shortcuts": SetSpec(_NODE_PORT, ("verdict",)),
    "sticky": SetSpec(_FRONTEND, ("verdict",)),
    "node-sticky": SetSpec(_NODE_PORT, ("verdict",)),
    "restricted": SetSpec(_FRONTEND, ("verdict",)),
    "allowed-sources": SetSpec((*_FRONTEND, "ipv4_addr"), interval=True),
    "local-backends": SetSpec(("ipv4_addr",)),
    "hairpin": SetSpec(("ipv4_addr", "ipv4_addr")),
}
"""The sets whose elements follow from the rules."""

AFFINITY = SetSpec(("ipv4_addr", *_FRONTEND), _BACKEND)
"""The map `affinity` that packets fill: (client, address, protocol, port) to backend, forgotten after the Service's
affinity time. For a NodePort the address is the one of the node's that the client used."""


@dataclass(frozen=True, slots=True)
class Element:
    """One element of a set or, with a value, of a map."""

    set: str
    key: str
    value: str = ""


def frontend_key(frontend: Frontend) -> str:
    """A frontend as the key it has in `services` or `node-ports`."""
    port = f"{PROTOCOLS[frontend.protocol]} . {frontend.port}"
    return port if frontend.is_node_port else f"{frontend.address} . {port}"


def backend_value(backend: Backend) -> str:
    """A backend as the value it has in `backends` and `affinity`."""
    return f"{backend.address} . {backend.port}"


def backends_set(frontend: Frontend) -> str:
    """The map in which the backends of `frontend` are filed."""
    return f"{'node-' if frontend.is_node_port else ''}{frontend.protocol}-backends"


def backends_key(frontend: Frontend) -> str:
    """What keys of that map begin with; the number follows."""
    return f"{frontend.port}" if frontend.is_node_port else f"{frontend.address} . {frontend.port}"


def elements_of(frontend: Frontend, rule: Rule) -> Iterator[Element]:
    """All elements that `rule` needs. `local-backends` and `hairpin` elements may be needed by several rules."""
    node = "node-" if frontend.is_node_port else ""
    key, backends = frontend_key(frontend), backends_key(frontend)
    sticky = "-sticky" if rule.affinity_seconds else ""
    yield Element("node-ports" if node else "services", key, _verdict(frontend, rule, sticky))
    for number, backend in enumerate(rule.backends):
        yield Element(backends_set(frontend), f"{backends} . {number}", backend_value(backend))
    if rule.inside:
        chain = f"{node}{frontend.protocol}-inside-{len(rule.inside)}{sticky}"
        yield Element(f"{node}shortcuts", key, f"jump {chain}")
        for number, backend in enumerate(rule.inside):
            yield Element(backends_set(frontend), f"{backends} . {INSIDE + number}", backend_value(backend))
    if sticky and (rule.backends or rule.inside):
        yield Element(f"{node}sticky", key, f"jump remember-{rule.affinity_seconds}")
    if rule.source_ranges:
        yield Element("restricted", key, "jump check-source")
        for source in rule.source_ranges:
            yield Element("allowed-sources", f"{key} . {source.removesuffix('/32')}")
    for backend in {*rule.backends, *rule.inside}:
        if backend.local:
            yield Element("local-backends", backend.address)
            yield Element("hairpin", f"{backend.address} . {backend.address}")


def _verdict(frontend: Frontend, rule: Rule, sticky: str) -> str:
    if rule.backends:
        node = "node-" if frontend.is_node_port else ""
        return f"goto {node}{frontend.protocol}-{_MODES[rule.masquerade]}-{len(rule.backends)}{sticky}"
    return "goto refuse" if rule.refusal is Refusal.REJECT else "drop"


def chain_of(value: str) -> str:
    """The chain of our making that a map's value leads to; "" for backends and for verdicts that lead to none such."""
    word, _, name = value.partition(" ")
    return name if word in {"goto", "jump"} and name not in {"refuse", "check-source"} else ""


_DYNAMIC = re.compile(r"(node-)?(tcp|udp|sctp)-(cluster|external|local|inside)-(\d+)(-sticky)?")
_REMEMBER = re.compile(r"remember-(\d+)")


def chain_rules(name: str, pod_cidrs: tuple[str, ...]) -> tuple[str, ...]:
    """The rules of a chain that elements lead to, by its name; empty for a name that we never give.

    Names are `remember-<seconds>` and `[node-]<protocol>-<mode>-<count>[-sticky]`, where mode is cluster, external or
    local (for `Masquerade` OUTSIDE, ALWAYS and NEVER) or inside.
    """
    if match := _REMEMBER.fullmatch(name):
        return tuple(
            f"meta l4proto {p} update @affinity {{ ip saddr . ct original ip daddr . meta l4proto . "
            f"ct original proto-dst timeout {match[1]}s : ip daddr . th dport }}"
            for p in PROTOCOLS
        )
    if not (match := _DYNAMIC.fullmatch(name)):
        return ()
    node, protocol, mode, number, sticky = match.groups(default="")
    pods = f"{{ {', '.join(pod_cidrs)} }}"
    rules = [f"ip saddr != {pods} fib saddr type != local return"] if mode == "inside" else []
    if mode in {"cluster", "inside"}:
        rules.append("jump mark-outside")
    if mode == "external":
        rules.append("jump mark-always")
    if sticky:
        rules.append(f"dnat ip to ip saddr . ip daddr . meta l4proto . {protocol} dport map @affinity")
    key = f"{protocol} dport" if node else f"ip daddr . {protocol} dport"
    offset = f" offset {INSIDE}" if mode == "inside" else ""
    rules.append(f"dnat ip to {key} . numgen random mod {number}{offset} map @{node}{protocol}-backends")
    return tuple(rules)

"""How rules look as iptables chains. Pure: values in, rule text in `iptables-save` notation out.

A connection finds its Service by a few comparisons: `COVEY-SERVICES` leads to a chain for the address's /20, that one
to a chain for its /24, and there is one line for each frontend (`COVEY-NODEPORTS` does the same by ranges of ports).
The line leads to the chain of the Service port, `COVEY-SVC-...`, which marks for masquerading where needed and redirects
to one of the backends at random. Only session affinity needs a chain for each backend, `COVEY-SEP-...`, where the
client is remembered. What has no backends is refused in the filter table (`COVEY-REFUSE`), since nat must not drop.
`COVEY-LOCAL` holds what postrouting must know of backends on this node.

Chains are few and short because all costs grow with them: a transaction through nftables visits every rule below the
built-in chains, and the legacy kernel interface takes nothing but whole tables. Text is exactly what iptables-save
prints, so that what the kernel holds can be compared with what it should.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from ipaddress import ip_network
from typing import NamedTuple

from netproxy.cluster import MARK, Cluster
from netproxy.endpoints import Backend
from netproxy.model import Frontend, Masquerade, Refusal, Rule


class Place(NamedTuple):
    """A chain of a table."""

    table: str
    chain: str


SERVICES, NODE_PORTS = Place("nat", "COVEY-SERVICES"), Place("nat", "COVEY-NODEPORTS")
REFUSE, REFUSE_PORTS = Place("filter", "COVEY-REFUSE"), Place("filter", "COVEY-REFUSE-PORTS")
LOCAL = Place("nat", "COVEY-LOCAL")
ROOTS = (SERVICES, NODE_PORTS, REFUSE, REFUSE_PORTS, LOCAL)
"""Chains of lines that fixed chains lead to, so that they must be there even when they are empty."""

_PREFIXES = (20, 24)
"""How far down the address each level of chains looks: a Service range of 65,536 addresses takes 16 lines, then 16."""

_PORTS = 64
"""How many node ports share a chain."""

_MARKING = {
    Masquerade.OUTSIDE: ("-j COVEY-MARK-OUT",),
    Masquerade.ALWAYS: ("-j COVEY-MARK-MASQ",),
    Masquerade.NEVER: (),
}


@dataclass(frozen=True, slots=True)
class Chain:
    """A whole chain that a rule needs; several frontends of one Service may need the same."""

    place: Place
    rules: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Line:
    """One rule of a chain that holds such lines of many frontends, in the order of their text."""

    place: Place
    rule: str


def pieces_of(frontend: Frontend, rule: Rule, cluster: Cluster) -> Iterator[Chain | Line]:
    """The chains and lines that `rule` needs; a chain comes after those it leads to."""
    comment = f'-m comment --comment "{rule.service}"'
    to = f"-p {frontend.protocol} {comment} -m {frontend.protocol} --dport {frontend.port}"
    if not frontend.is_node_port:
        to = f"-d {frontend.address}/32 {to}"
    if rule.backends or rule.inside:
        entry = yield from _service_chains(frontend.protocol, rule, cluster)
        place = yield from _way(NODE_PORTS if frontend.is_node_port else SERVICES, frontend)
        yield Line(place, f"{to} -j {entry}")
    if not rule.backends or rule.source_ranges:
        # What nat has not redirected although there are backends came from where it may not.
        reject = not rule.backends and rule.refusal is Refusal.REJECT
        place = yield from _way(REFUSE_PORTS if frontend.is_node_port else REFUSE, frontend)
        yield Line(place, f"{to} -j {'REJECT --reject-with icmp-port-unreachable' if reject else 'DROP'}")
    for address in sorted({b.address for b in (*rule.backends, *rule.inside) if b.local}):
        # Answers of a backend on this node pass here anyway, so its clients keep their address, unless it is itself
        # the client. Lines stand in the order of their text, so the exception comes second.
        yield Line(LOCAL, f"-d {address}/32 -j COVEY-UNMARK")
        yield Line(LOCAL, f"-s {address}/32 -d {address}/32 -j COVEY-MARK-MASQ")


def _way(place: Place, frontend: Frontend) -> Generator[Line, None, Place]:
    """The lines that lead from a root to the small chain for the line of `frontend`; returns that chain."""
    if frontend.is_node_port:
        first = frontend.port - frontend.port % _PORTS
        below = Place(place.table, f"COVEY-PORT-{frontend.protocol}-{first}")
        ports = f"-m {frontend.protocol} --dport {first}:{first + _PORTS - 1}"
        yield Line(place, f"-p {frontend.protocol} {ports} -j {below.chain}")
        return below
    for length in _PREFIXES:
        network = ip_network(f"{frontend.address}/{length}", strict=False)
        below = Place(place.table, f"COVEY-NET-{network.network_address}-{length}")
        yield Line(place, f"-d {network} -j {below.chain}")
        place = below
    return place


def _service_chains(protocol: str, rule: Rule, cluster: Cluster) -> Generator[Chain | Line, None, str]:
    """The chains of one Service port; returns the name of the one that connections enter."""
    identity = (rule.service, protocol, rule.masquerade.value)
    if rule.affinity_seconds:
        for backend in sorted({*rule.backends, *rule.inside}):
            yield _remembering_chain(protocol, rule, backend)
    rules: list[str] = []
    if rule.inside:
        inside = chain_name("COVEY-INS", *identity)
        yield Chain(Place("nat", inside), ("-j COVEY-MARK-OUT", *_spread(protocol, rule, rule.inside)))
        rules += [f"-s {cidr} -j {inside}" for cidr in cluster.pod_cidrs]
        rules.append(f"-m addrtype --src-type LOCAL -j {inside}")
    entry = chain_name("COVEY-SVC", *identity)
    yield Chain(Place("nat", entry), (*rules, *_MARKING[rule.masquerade], *_spread(protocol, rule, rule.backends)))
    if not rule.source_ranges:
        return entry
    restricted = chain_name("COVEY-FW", *identity)
    yield Chain(Place("nat", restricted), tuple(f"-s {source} -j {entry}" for source in rule.source_ranges))
    return restricted


def _remembering_chain(protocol: str, rule: Rule, backend: Backend) -> Chain:
    """The chain that leads to one backend and remembers who went there."""
    name = _remembering_name(protocol, rule, backend)
    remember = f"-m recent --set --name {name} --mask 255.255.255.255 --rsource"
    return Chain(Place("nat", name), (remember, f"-p {protocol} {_redirect(backend)}"))


def _redirect(backend: Backend) -> str:
    return f"-j DNAT --to-destination {backend.address}:{backend.port}"


def _spread(protocol: str, rule: Rule, backends: tuple[Backend, ...]) -> Iterator[str]:
    """Rules that lead to each backend with the same probability, and back to the one a client had."""
    leads = [f"-p {protocol} {{}}{_redirect(b)}" for b in backends]
    if rule.affinity_seconds:
        names = [_remembering_name(protocol, rule, b) for b in backends]
        for name in names:
            seconds = f"--rcheck --seconds {rule.affinity_seconds} --reap"
            yield f"-m recent {seconds} --name {name} --mask 255.255.255.255 --rsource -j {name}"
        leads = [f"{{}}-j {name}" for name in names]
    for number, lead in enumerate(leads):
        left = len(leads) - number
        yield lead.format("" if left == 1 else f"-m statistic --mode random --probability {_share(left)} ")


def _share(left: int) -> str:
    """1/left as iptables-save prints it: a multiple of 2^-31."""
    return f"{round((1 << 31) / left) / (1 << 31):.11f}"


def _remembering_name(protocol: str, rule: Rule, backend: Backend) -> str:
    return chain_name("COVEY-SEP", rule.service, protocol, f"{backend.address}:{backend.port}")


def chain_name(prefix: str, *identity: str) -> str:
    """A chain's name within iptables' 28 characters: the same for the same identity."""
    digest = hashlib.sha256("\0".join(identity).encode()).digest()
    return f"{prefix}-{base64.b32encode(digest)[:16].decode()}"


def fixed_chains(cluster: Cluster) -> dict[Place, tuple[str, ...]]:
    """What does not depend on Services."""
    dns = f"-d {cluster.dns_address}/32 -m addrtype --dst-type LOCAL -j RETURN"
    own_address = "! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL"
    mark = f"-j MARK --set-xmark {MARK:#x}/{MARK:#x}"
    unmark = f"-j MARK --set-xmark 0x0/{MARK:#x}"
    pods = [f"-s {cidr} -j RETURN" for cidr in cluster.pod_cidrs]
    unknown = "-m addrtype ! --dst-type LOCAL -j REJECT --reject-with icmp-port-unreachable"
    nat: dict[str, tuple[str, ...]] = {
        "COVEY-ENTRY": (dns, f"-j {SERVICES.chain}", f"{own_address} -j {NODE_PORTS.chain}"),
        "COVEY-MARK-MASQ": (mark,),
        "COVEY-MARK-OUT": (*pods, mark),
        "COVEY-UNMARK": (unmark,),
        "COVEY-POSTROUTING": (
            "-o lo -j RETURN",
            f"-m conntrack --ctstate DNAT -j {LOCAL.chain}",
            f"-m mark ! --mark {MARK:#x}/{MARK:#x} -j RETURN",
            unmark,
            "-j MASQUERADE --random-fully",
        ),
    }
    refusals = (
        dns,
        f"-j {REFUSE.chain}",
        f"{own_address} -j {REFUSE_PORTS.chain}",
        *(f"-d {cidr} {unknown}" for cidr in cluster.service_cidrs),
    )
    return {**{Place("nat", name): rules for name, rules in nat.items()}, Place("filter", "COVEY-FILTER"): refusals}


HOOKS: dict[Place, str] = {
    Place("nat", "PREROUTING"): '-m comment --comment "covey: Services" -j COVEY-ENTRY',
    Place("nat", "OUTPUT"): '-m comment --comment "covey: Services" -j COVEY-ENTRY',
    Place("nat", "POSTROUTING"): '-m comment --comment "covey: masquerade where needed" -j COVEY-POSTROUTING',
    **{
        Place("filter", chain): '-m conntrack --ctstate NEW -m comment --comment "covey: Services without backends" '
        "-j COVEY-FILTER"
        for chain in ("INPUT", "FORWARD", "OUTPUT")
    },
}
"""By which rule ours are entered from the built-in chains, first in each."""

ACCEPTING = {"FORWARD": "COVEY-FORWARD", "INPUT": "COVEY-INPUT"}
"""Chains that `netproxy.acceptance` hooks into built-in ones of the filter table, in every mode."""

"""How rules look as iptables chains. Pure: values in, rule text in `iptables-save` notation out.

The chains are kube-proxy's under our own name: `COVEY-SERVICES` and `COVEY-NODEPORTS` send a connection to the chain of
its Service port (`COVEY-SVC-...`), which marks it for masquerading where needed and picks at random one of the chains
of the backends (`COVEY-SEP-...`), which redirect. What has no backends is refused in the filter table
(`COVEY-REFUSE`), since nat must not drop. Text is exactly what iptables-save prints, so that what the kernel holds can
be compared with what it should.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Generator, Iterator
from dataclasses import dataclass

from netproxy.cluster import MARK, Cluster
from netproxy.endpoints import Backend
from netproxy.model import Frontend, Masquerade, Refusal, Rule

SERVICES, NODE_PORTS, REFUSE = "COVEY-SERVICES", "COVEY-NODEPORTS", "COVEY-REFUSE"
TABLE_OF = {SERVICES: "nat", NODE_PORTS: "nat", REFUSE: "filter"}
"""The chains that hold one line for each frontend, in no particular order; all other changing chains are in nat."""

_MARKING = {
    Masquerade.OUTSIDE: ("-j COVEY-MARK-OUT",),
    Masquerade.ALWAYS: ("-j COVEY-MARK-MASQ",),
    Masquerade.NEVER: (),
}


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain of the nat table that a rule needs; several frontends of one Service may need the same."""

    name: str
    rules: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Line:
    """One frontend's rule in one of the chains that hold a line for each."""

    chain: str
    rule: str


def pieces_of(frontend: Frontend, rule: Rule, cluster: Cluster) -> Iterator[Chain | Line]:
    """The chains and lines that `rule` needs; a chain comes after those it leads to."""
    comment = f'-m comment --comment "{rule.service}"'
    to = f"-p {frontend.protocol} {comment} -m {frontend.protocol} --dport {frontend.port}"
    if not frontend.is_node_port:
        to = f"-d {frontend.address}/32 {to}"
    if rule.backends or rule.inside:
        entry = yield from _service_chains(frontend.protocol, rule, cluster)
        yield Line(NODE_PORTS if frontend.is_node_port else SERVICES, f"{to} -j {entry}")
    if not rule.backends or rule.source_ranges:
        if frontend.is_node_port:
            local = "-m addrtype --dst-type LOCAL"
            to = f"-p {frontend.protocol} {comment} {local} -m {frontend.protocol} --dport {frontend.port}"
        # What nat has not redirected although there are backends came from where it may not.
        reject = not rule.backends and rule.refusal is Refusal.REJECT
        yield Line(REFUSE, f"{to} -j {'REJECT --reject-with icmp-port-unreachable' if reject else 'DROP'}")


def _service_chains(protocol: str, rule: Rule, cluster: Cluster) -> Generator[Chain | Line, None, str]:
    """The chains of one Service port; returns the name of the one that connections enter."""
    identity = (rule.service, protocol, rule.masquerade.value)
    for backend in sorted({*rule.backends, *rule.inside}):
        yield _backend_chain(protocol, rule, backend)
    rules: list[str] = []
    if rule.inside:
        inside = chain_name("COVEY-INS", *identity)
        yield Chain(inside, ("-j COVEY-MARK-OUT", *_spread(protocol, rule, rule.inside)))
        rules += [f"-s {cidr} -j {inside}" for cidr in cluster.pod_cidrs]
        rules.append(f"-m addrtype --src-type LOCAL -j {inside}")
    entry = chain_name("COVEY-SVC", *identity)
    yield Chain(entry, (*rules, *_MARKING[rule.masquerade], *_spread(protocol, rule, rule.backends)))
    if not rule.source_ranges:
        return entry
    restricted = chain_name("COVEY-FW", *identity)
    yield Chain(restricted, tuple(f"-s {source} -j {entry}" for source in rule.source_ranges))
    return restricted


def _backend_chain(protocol: str, rule: Rule, backend: Backend) -> Chain:
    """The chain that leads to one backend. Answers of a backend on this node pass here anyway, so its clients keep
    their address, unless it is itself the client."""
    name = _backend_name(protocol, rule, backend)
    rules = []
    if backend.local:
        rules.append(f"-s {backend.address}/32 -j COVEY-MARK-MASQ")
        rules.append(f"! -s {backend.address}/32 -j COVEY-UNMARK")
    if rule.affinity_seconds:
        rules.append(f"-m recent --set --name {name} --mask 255.255.255.255 --rsource")
    rules.append(f"-p {protocol} -j DNAT --to-destination {backend.address}:{backend.port}")
    return Chain(name, tuple(rules))


def _spread(protocol: str, rule: Rule, backends: tuple[Backend, ...]) -> Iterator[str]:
    """Rules that lead to each backend with the same probability, and back to the one a client had."""
    names = [_backend_name(protocol, rule, b) for b in backends]
    if rule.affinity_seconds:
        for name in names:
            seconds = f"--rcheck --seconds {rule.affinity_seconds} --reap"
            yield f"-m recent {seconds} --name {name} --mask 255.255.255.255 --rsource -j {name}"
    for number, name in enumerate(names):
        left = len(names) - number
        yield f"-j {name}" if left == 1 else f"-m statistic --mode random --probability {_share(left)} -j {name}"


def _share(left: int) -> str:
    """1/left as iptables-save prints it: a multiple of 2^-31."""
    return f"{round((1 << 31) / left) / (1 << 31):.11f}"


def _backend_name(protocol: str, rule: Rule, backend: Backend) -> str:
    return chain_name("COVEY-SEP", rule.service, protocol, f"{backend.address}:{backend.port}")


def chain_name(prefix: str, *identity: str) -> str:
    """A chain's name within iptables' 28 characters: the same for the same identity."""
    digest = hashlib.sha256("\0".join(identity).encode()).digest()
    return f"{prefix}-{base64.b32encode(digest)[:16].decode()}"


def fixed_chains(cluster: Cluster) -> dict[str, dict[str, tuple[str, ...]]]:
    """Table to chain to rules, for what does not depend on Services."""
    dns = f"-d {cluster.dns_address}/32 -m addrtype --dst-type LOCAL -j RETURN"
    mark = f"-j MARK --set-xmark {MARK:#x}/{MARK:#x}"
    pods = [f"-s {cidr} -j RETURN" for cidr in cluster.pod_cidrs]
    unknown = "-m addrtype ! --dst-type LOCAL -j REJECT --reject-with icmp-port-unreachable"
    return {
        "nat": {
            "COVEY-ENTRY": (
                dns,
                f"-j {SERVICES}",
                f"! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j {NODE_PORTS}",
            ),
            "COVEY-MARK-MASQ": (mark,),
            "COVEY-MARK-OUT": (*pods, mark),
            "COVEY-UNMARK": (f"-j MARK --set-xmark 0x0/{MARK:#x}",),
            "COVEY-POSTROUTING": (
                "-o lo -j RETURN",
                f"-m mark ! --mark {MARK:#x}/{MARK:#x} -j RETURN",
                f"-j MARK --set-xmark 0x0/{MARK:#x}",
                "-j MASQUERADE --random-fully",
            ),
        },
        "filter": {
            "COVEY-FILTER": (dns, f"-j {REFUSE}", *(f"-d {cidr} {unknown}" for cidr in cluster.service_cidrs)),
        },
    }


HOOKS: dict[str, dict[str, str]] = {
    "nat": {
        "PREROUTING": '-m comment --comment "covey: Services" -j COVEY-ENTRY',
        "OUTPUT": '-m comment --comment "covey: Services" -j COVEY-ENTRY',
        "POSTROUTING": '-m comment --comment "covey: masquerade where needed" -j COVEY-POSTROUTING',
    },
    "filter": dict.fromkeys(
        ("INPUT", "FORWARD", "OUTPUT"),
        '-m conntrack --ctstate NEW -m comment --comment "covey: Services without backends" -j COVEY-FILTER',
    ),
}
"""Table to built-in chain to the rule by which ours is entered, first in its chain."""

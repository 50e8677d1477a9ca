"""What the cluster says to a question: records, that there are none, that the name does not exist, or "ask others".

Pure; the wire format is `packets.py`'s business, the order in which equal records are sent the server's.
"""

from __future__ import annotations

import enum
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from agents.dns.records import Record, Srv, address_of, address_record, undashed
from agents.dns.table import Table

TTL_SECONDS = 5
"""How long clients may keep an answer: the time for which they may not see a Service change."""
SCHEMA_VERSION = "1.1.0"
_CNAME_LIMIT = 8


class Outcome(enum.Enum):
    """What became of a question. Values are response codes where there is one."""

    FOUND = 0
    NAME_ERROR = 3
    NOT_OURS = -1
    UNKNOWN_YET = 2
    """The Services are not known yet: the client shall ask again (SERVFAIL), not learn that a name does not exist."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Records in the order of the sections. `zone` is the name whose SOA goes along when there is nothing to answer;
    `follow` is the name outside the cluster to which a CNAME led."""

    outcome: Outcome
    answers: tuple[tuple[str, Record], ...] = ()
    additional: tuple[tuple[str, Record], ...] = ()
    zone: str = ""
    follow: str = ""


NOT_OURS = Answer(Outcome.NOT_OURS)


@dataclass(frozen=True, slots=True)
class Cluster:
    """What the answers are made of beside the table. `ranges` are the pods' and Services' CIDRs."""

    domain: str
    dns_address: str
    pod_cidrs: tuple[str, ...]
    service_cidrs: tuple[str, ...]

    def in_domain(self, name: str) -> bool:
        """Whether the cluster decides about a name."""
        return name == self.domain or name.endswith("." + self.domain)

    def owns(self, address: str, cidrs: Sequence[str]) -> bool:
        """Whether an address lies in one of the CIDRs."""
        value = ipaddress.ip_address(address)
        return any(value in ipaddress.ip_network(cidr) for cidr in cidrs)


def answer(cluster: Cluster, table: Table, name: str, kind: str, *, complete: bool) -> Answer:
    """Answer a question for records of type `kind` ("A", "ANY", ...) at `name` (lower case, no final dot).

    `complete` says whether the table holds all Services: only then is a missing name known not to exist.
    """
    if cluster.in_domain(name):
        return _in_domain(cluster, table, name, kind, complete=complete)
    address = address_of(name)
    if not address:
        return NOT_OURS
    found = table.lookup(name)
    if found:
        return _select(table, name, found, kind, zone=_reverse_zone(name))
    if not cluster.owns(address, cluster.pod_cidrs + cluster.service_cidrs):
        return NOT_OURS
    return Answer(Outcome.NAME_ERROR if complete else Outcome.UNKNOWN_YET, zone=_reverse_zone(name))


def _in_domain(cluster: Cluster, table: Table, name: str, kind: str, *, complete: bool) -> Answer:
    chain: list[tuple[str, Record]] = []
    for _ in range(_CNAME_LIMIT):
        found = table.lookup(name) if (fixed := _fixed(cluster, name)) is None else fixed
        if found is None:
            outcome = Outcome.NAME_ERROR if complete else Outcome.UNKNOWN_YET
            return Answer(outcome, tuple(chain), zone=cluster.domain)
        alias = next((r for r in found if r.type == "CNAME"), None)
        if alias is None or kind in {"CNAME", "ANY"}:
            selected = _select(table, name, found, kind, zone=cluster.domain)
            return Answer(selected.outcome, (*chain, *selected.answers), selected.additional, selected.zone)
        chain.append((name, alias))
        name = str(alias.data)
        if not cluster.in_domain(name):
            return Answer(Outcome.FOUND, tuple(chain), follow=name)
    return Answer(Outcome.UNKNOWN_YET, zone=cluster.domain)  # a chain without end: nobody can resolve it


def _fixed(cluster: Cluster, name: str) -> frozenset[Record] | None:
    """Names that exist whatever Services there are, among them those of pods; None for all others."""
    domain = cluster.domain
    if name == domain:
        return frozenset({Record("NS", f"ns.dns.{domain}")})
    if name == f"dns-version.{domain}":
        return frozenset({Record("TXT", SCHEMA_VERSION)})
    if name == f"ns.dns.{domain}":
        return frozenset({address_record(cluster.dns_address)})
    if name in {f"svc.{domain}", f"pod.{domain}", f"dns.{domain}"}:
        return frozenset()
    suffix = f".pod.{domain}"
    if not name.endswith(suffix):
        return None
    labels = name.removesuffix(suffix).split(".")
    if len(labels) == 1:
        return frozenset()
    address = undashed(labels[0]) if len(labels) == 2 else ""
    return frozenset({address_record(address)}) if address and cluster.owns(address, cluster.pod_cidrs) else None


def _select(table: Table, name: str, found: frozenset[Record], kind: str, *, zone: str) -> Answer:
    """The records of the type asked for, with the addresses that SRV targets have."""
    chosen = tuple((name, record) for record in sorted(found) if kind in {record.type, "ANY"})
    targets = sorted({r.data.target for _, r in chosen if isinstance(r.data, Srv)})
    additional = tuple(
        (target, record)
        for target in targets
        for record in sorted(table.lookup(target) or ())
        if record.type in {"A", "AAAA"}
    )
    return Answer(Outcome.FOUND, chosen, additional, zone="" if chosen else zone)


def _reverse_zone(name: str) -> str:
    return "in-addr.arpa" if name.endswith(".in-addr.arpa") else "ip6.arpa"

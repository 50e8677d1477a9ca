"""What our chains hold, as a value; the difference between two such values; how iptables-save is read. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from netproxy.cluster import Cluster
from netproxy.iptables.layout import HOOKS, TABLE_OF, Chain, Line, fixed_chains, pieces_of
from netproxy.model import Frontend, Rule, Rules
from netproxy.plan import Changes


@dataclass(slots=True)
class TableDelta:
    """What to do in one table, in this order."""

    chains: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Chains to make or to rewrite, with all their rules."""
    remove: list[Line] = field(default_factory=list)
    add: list[Line] = field(default_factory=list)
    hooks: list[Line] = field(default_factory=list)
    """Rules to insert at the top of built-in chains."""
    drop: list[str] = field(default_factory=list)
    """Chains to empty and delete."""

    @property
    def size(self) -> int:
        """How many rules it writes or removes, and chains it drops."""
        rewritten = sum(max(1, len(rules)) for rules in self.chains.values())
        return rewritten + len(self.remove) + len(self.add) + len(self.hooks) + len(self.drop)


@dataclass(slots=True)
class Delta:
    """What to do, table by table."""

    nat: TableDelta = field(default_factory=TableDelta)
    filter: TableDelta = field(default_factory=TableDelta)

    @property
    def size(self) -> int:
        """How many kernel entries it touches."""
        return self.nat.size + self.filter.size

    def table(self, name: str) -> TableDelta:
        """The part for table `name`."""
        return self.nat if name == "nat" else self.filter


class Contents:
    """The chains and lines that a rule table needs, kept up to date change by change."""

    def __init__(self, cluster: Cluster, rules: Rules | None = None) -> None:
        self._cluster = cluster
        self.chains: dict[str, tuple[str, ...]] = {}
        """Changing chains of the nat table."""
        self.lines: dict[str, Counter[str]] = {chain: Counter() for chain in TABLE_OF}
        self._uses: Counter[str] = Counter()
        for frontend, rule in (rules or {}).items():
            self._need(frontend, rule)

    def apply(self, changes: Changes) -> Delta:
        """Take the changes in; returns the least that makes the kernel follow."""
        chains_before: dict[str, tuple[str, ...] | None] = {}
        lines: Counter[Line] = Counter()
        for change in changes:
            for rule, sign in ((change.before, -1), (change.after, 1)):
                for piece in pieces_of(change.frontend, rule, self._cluster) if rule is not None else ():
                    if isinstance(piece, Chain):
                        chains_before.setdefault(piece.name, self.chains.get(piece.name))
                    else:
                        lines[piece] += sign
            if change.before is not None:
                self._forget(change.frontend, change.before)
            if change.after is not None:
                self._need(change.frontend, change.after)
        delta = Delta()
        for name, before in chains_before.items():
            after = self.chains.get(name)
            if after is None:
                delta.nat.drop.append(name)
            elif after != before:
                delta.nat.chains[name] = after
        for line, count in lines.items():
            table = delta.table(TABLE_OF[line.chain])
            (table.add if count > 0 else table.remove).extend([line] * abs(count))
        return delta

    def _need(self, frontend: Frontend, rule: Rule) -> None:
        for piece in pieces_of(frontend, rule, self._cluster):
            if isinstance(piece, Chain):
                self._uses[piece.name] += 1
                self.chains[piece.name] = piece.rules
            else:
                self.lines[piece.chain][piece.rule] += 1

    def _forget(self, frontend: Frontend, rule: Rule) -> None:
        for piece in pieces_of(frontend, rule, self._cluster):
            if isinstance(piece, Line):
                lines = self.lines[piece.chain]
                lines[piece.rule] -= 1
                if not lines[piece.rule]:
                    del lines[piece.rule]
            elif self._uses[piece.name] > 1:
                self._uses[piece.name] -= 1
            else:
                del self._uses[piece.name]
                del self.chains[piece.name]


@dataclass(slots=True)
class Observed:
    """What one table of the kernel holds: its chains, ours and the built-in ones, with their rules."""

    chains: dict[str, list[str]] = field(default_factory=dict)


def parse(lines: Iterable[str]) -> Observed:
    """Read `iptables-save -t TABLE`; rules of other people's chains are left out, but not those of built-in chains."""
    found = Observed()
    for line in lines:
        if line.startswith(":"):
            name, policy = line[1:].split()[:2]
            if policy != "-" or is_ours(name):
                found.chains[name] = []
        elif line.startswith("-A "):
            _, chain, rule = line.rstrip("\n").split(" ", 2)
            if chain in found.chains:
                found.chains[chain].append(rule)
    return found


def is_ours(chain: str) -> bool:
    """Whether a chain is this back end's (`COVEY-FORWARD` belongs to `netproxy.forwarding`)."""
    return chain.startswith("COVEY-") and chain != "COVEY-FORWARD"


def difference(observed: dict[str, Observed], wanted: Contents, cluster: Cluster) -> Delta:
    """What leads from what is there (table name to contents) to what is wanted."""
    delta = Delta()
    for table, fixed in fixed_chains(cluster).items():
        there = {name: tuple(rules) for name, rules in observed[table].chains.items() if is_ours(name)}
        part = delta.table(table)
        exact = {**fixed, **(wanted.chains if table == "nat" else {})}
        part.chains.update({name: rules for name, rules in exact.items() if there.get(name) != rules})
        keyed = {name: lines for name, lines in wanted.lines.items() if TABLE_OF[name] == table}
        for name, lines in keyed.items():
            if name not in there:
                part.chains[name] = tuple(lines.elements())
                continue
            present = Counter(there[name])
            part.remove += [Line(name, rule) for rule in (present - lines).elements()]
            part.add += [Line(name, rule) for rule in (lines - present).elements()]
        part.drop += sorted(there.keys() - exact.keys() - keyed.keys())
        for chain, rule in HOOKS[table].items():
            if rule not in observed[table].chains.get(chain, ()):
                part.hooks.append(Line(chain, rule))
    return delta

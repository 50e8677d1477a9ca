"""What our chains hold, as a value; the difference between two such values; how iptables-save is read. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from netproxy.cluster import Cluster
from netproxy.iptables.layout import ACCEPTING, HOOKS, ROOTS, Chain, Line, Place, fixed_chains, pieces_of
from netproxy.model import Frontend, Rule, Rules
from netproxy.plan import Changes

Chains: TypeAlias = Mapping[Place, tuple[str, ...]]


@dataclass(slots=True)
class Delta:
    """What to do, in this order; what is written is written whole, for chains are short."""

    write: dict[Place, tuple[str, ...]] = field(default_factory=dict)
    """Chains to make or to rewrite, with all their rules."""
    hooks: list[Place] = field(default_factory=list)
    """Built-in chains to hook into."""
    drop: list[Place] = field(default_factory=list)
    """Chains to empty and delete."""

    @property
    def size(self) -> int:
        """How many rules it writes, and chains it drops."""
        return sum(max(1, len(rules)) for rules in self.write.values()) + len(self.hooks) + len(self.drop)


class Contents:
    """The chains that a rule table needs, kept up to date change by change."""

    def __init__(self, cluster: Cluster, rules: Rules | None = None) -> None:
        self._cluster = cluster
        self._fixed = {**dict.fromkeys(ROOTS, ()), **fixed_chains(cluster)}
        self._whole: dict[Place, tuple[str, ...]] = {}
        self._lines: dict[Place, set[str]] = {}
        self._uses: Counter[Place | Line] = Counter()
        for frontend, rule in (rules or {}).items():
            self._need(frontend, rule)

    @property
    def chains(self) -> Chains:
        """All our chains with their rules."""
        return {**self._fixed, **self._whole, **{place: tuple(sorted(lines)) for place, lines in self._lines.items()}}

    def apply(self, changes: Changes) -> Delta:
        """Take the changes in; returns the least that makes the kernel follow."""
        before: dict[Place, tuple[str, ...] | None] = {}
        for change in changes:
            for piece in (*self._pieces(change.frontend, change.before), *self._pieces(change.frontend, change.after)):
                if piece.place not in before:
                    before[piece.place] = self._rules(piece.place)
            if change.before is not None:
                self._forget(change.frontend, change.before)
            if change.after is not None:
                self._need(change.frontend, change.after)
        delta = Delta()
        for place, old in before.items():
            new = self._rules(place)
            if new is None and old is not None:
                delta.drop.append(place)
            elif new is not None and new != old:
                delta.write[place] = new
        return delta

    def _rules(self, place: Place) -> tuple[str, ...] | None:
        """What that chain holds; None when there is none."""
        if place in self._lines:
            return tuple(sorted(self._lines[place]))
        return self._whole.get(place, self._fixed.get(place))

    def _pieces(self, frontend: Frontend, rule: Rule | None) -> Iterator[Chain | Line]:
        return pieces_of(frontend, rule, self._cluster) if rule is not None else iter(())

    def _need(self, frontend: Frontend, rule: Rule) -> None:
        for piece in pieces_of(frontend, rule, self._cluster):
            self._uses[_identity(piece)] += 1
            if isinstance(piece, Chain):
                self._whole[piece.place] = piece.rules
            else:
                self._lines.setdefault(piece.place, set()).add(piece.rule)

    def _forget(self, frontend: Frontend, rule: Rule) -> None:
        for piece in pieces_of(frontend, rule, self._cluster):
            identity = _identity(piece)
            self._uses[identity] -= 1
            if self._uses[identity]:
                continue
            del self._uses[identity]
            if isinstance(piece, Chain):
                del self._whole[piece.place]
            else:
                self._lines[piece.place].remove(piece.rule)
                if not self._lines[piece.place]:
                    del self._lines[piece.place]


def _identity(piece: Chain | Line) -> Place | Line:
    """By what a piece is counted: a line by itself, a whole chain by its name, for its rules change."""
    return piece.place if isinstance(piece, Chain) else piece


@dataclass(slots=True)
class Observed:
    """What the kernel holds: chains, ours and the built-in ones, with their rules."""

    chains: dict[Place, list[str]] = field(default_factory=dict)


def parse(table: str, lines: Iterable[str]) -> Observed:
    """Read `iptables-save -t TABLE`; rules of other people's chains are left out, but not those of built-in chains."""
    found = Observed()
    for line in lines:
        if line.startswith(":"):
            name, policy = line[1:].split()[:2]
            if policy != "-" or is_ours(name):
                found.chains[Place(table, name)] = []
        elif line.startswith("-A "):
            _, chain, rule = line.rstrip("\n").split(" ", 2)
            place = Place(table, chain)
            if place in found.chains:
                found.chains[place].append(rule)
    return found


def is_ours(chain: str) -> bool:
    """Whether a chain is this back end's (`netproxy.acceptance` has others)."""
    return chain.startswith("COVEY-") and chain not in ACCEPTING.values()


def difference(observed: Observed, wanted: Contents) -> Delta:
    """What leads from what is there to what is wanted."""
    there = {place: tuple(rules) for place, rules in observed.chains.items() if is_ours(place.chain)}
    chains = wanted.chains
    return Delta(
        write={place: rules for place, rules in chains.items() if there.get(place) != rules},
        hooks=[place for place, rule in HOOKS.items() if rule not in observed.chains.get(place, ())],
        drop=sorted(there.keys() - chains.keys()),
    )

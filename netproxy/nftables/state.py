"""What our table holds, as a value; the difference between two such values; how `nft -nn list` text is read. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from netproxy.model import Frontend, Rule, Rules
from netproxy.nftables.layout import PROTOCOLS, SETS, Element, backend_value, chain_of, chain_rules, elements_of
from netproxy.nftables.skeleton import FIXED_CHAINS
from netproxy.plan import Changes


@dataclass(frozen=True, slots=True)
class Delta:
    """Element and chain operations, to be done in one transaction: remove, make chains, add; then drop chains."""

    remove: tuple[Element, ...] = ()
    add: tuple[Element, ...] = ()
    new_chains: tuple[str, ...] = ()
    old_chains: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """How many entries of the kernel it touches."""
        return len(self.remove) + len(self.add) + len(self.new_chains) + len(self.old_chains)


class Contents:
    """The elements that a rule table needs, kept up to date change by change, and how often each is needed."""

    def __init__(self, rules: Rules | None = None) -> None:
        self.sets: dict[str, dict[str, str]] = {name: {} for name in SETS}
        """Set name to its elements, key to value ("" in sets)."""
        self._shared: dict[Element, int] = {}
        self._chains: dict[str, int] = {}
        for frontend, rule in (rules or {}).items():
            for element in elements_of(frontend, rule):
                self._need(element)

    @property
    def chains(self) -> frozenset[str]:
        """Names of the chains that elements lead to."""
        return frozenset(self._chains)

    def apply(self, changes: Changes) -> Delta:
        """Take the changes in; returns the least that makes the kernel's table follow."""
        touched: dict[tuple[str, str], str | None] = {}
        before = set(self._chains)
        for change in changes:
            for element in _elements(change.frontend, change.before):
                touched.setdefault((element.set, element.key), self.sets[element.set].get(element.key))
                self._forget(element)
            for element in _elements(change.frontend, change.after):
                touched.setdefault((element.set, element.key), self.sets[element.set].get(element.key))
                self._need(element)
        remove, add = [], []
        for (name, key), old in touched.items():
            new = self.sets[name].get(key)
            if old == new:
                continue
            if old is not None:
                remove.append(Element(name, key, old))
            if new is not None:
                add.append(Element(name, key, new))
        after = set(self._chains)
        return Delta(tuple(remove), tuple(add), tuple(sorted(after - before)), tuple(sorted(before - after)))

    def _need(self, element: Element) -> None:
        elements = self.sets[element.set]
        if element.key in elements and not element.value:
            self._shared[element] = self._shared.get(element, 1) + 1
            return
        elements[element.key] = element.value
        if chain := chain_of(element.value):
            self._chains[chain] = self._chains.get(chain, 0) + 1

    def _forget(self, element: Element) -> None:
        uses = self._shared.get(element, 1)
        if uses > 1:
            self._shared[element] = uses - 1
            return
        self._shared.pop(element, None)
        self.sets[element.set].pop(element.key, None)
        if chain := chain_of(element.value):
            self._chains[chain] -= 1
            if not self._chains[chain]:
                del self._chains[chain]


def _elements(frontend: Frontend, rule: Rule | None) -> Iterable[Element]:
    return elements_of(frontend, rule) if rule is not None else ()


@dataclass(slots=True)
class Observed:
    """What the kernel's table holds."""

    version: str = ""
    """The table's comment; "" when there is no table or it is not ours."""
    sets: dict[str, dict[str, str]] = field(default_factory=dict)
    chains: dict[str, int] = field(default_factory=dict)
    """Chain name to number of rules."""
    affinity: list[tuple[str, str]] = field(default_factory=list)
    """(key, value) of each remembered client."""


def difference(observed: Observed, wanted: Contents) -> Delta:
    """What leads from what is there to what is wanted, for tables with the same fixed part."""
    remove, add = [], []
    for name, elements in wanted.sets.items():
        there = observed.sets.get(name, {})
        remove += [Element(name, k, v) for k, v in there.items() if elements.get(k) != v]
        add += [Element(name, k, v) for k, v in elements.items() if there.get(k) != v]
    return Delta(
        tuple(remove),
        tuple(add),
        tuple(sorted(wanted.chains - observed.chains.keys())),
        tuple(sorted(observed.chains.keys() - wanted.chains - FIXED_CHAINS.keys())),
    )


_ELEMENT = re.compile(r"([0-9][0-9a-f.:/]*(?: \. [0-9][0-9a-f.:/]*)*)([^,:]*?)(?: : ([a-z0-9.][^,}]*?))?\s*(?:,|}|$)")
_BLOCK = re.compile(r"^\t(map|set|chain) (\S+) {")


def parse(lines: Iterable[str]) -> Observed:
    """Read the text of `nft -nn list table`."""
    found = Observed()
    kind = name = ""
    in_elements = False
    for line in lines:
        if match := _BLOCK.match(line):
            kind, name = match[1], match[2]
            if kind == "chain":
                found.chains[name] = 0
            else:
                found.sets[name] = {}
        elif line.startswith("\t}"):
            kind, in_elements = "", False
        elif not kind:
            if line.lstrip().startswith('comment "'):
                found.version = line.split('"')[1]
        elif kind == "chain":
            if not line.lstrip().startswith("type "):
                found.chains[name] += 1
        elif in_elements or line.lstrip().startswith("elements = {"):
            in_elements = True
            _read_elements(found, name, line.replace("elements = {", ""))
    return found


def _read_elements(found: Observed, name: str, line: str) -> None:
    for match in _ELEMENT.finditer(line):
        key, value = match[1], (match[3] or "").strip()
        if name == "affinity":
            found.affinity.append((key, value))
        else:
            found.sets[name][key] = value


def is_whole(observed: Observed, version: str) -> bool:
    """Whether the table is of this version of the fixed part, with all its sets, and no chain is flushed, longer than
    it should be or unknown: then differences of elements are all there can be."""
    if observed.version != version or set(SETS) | {"affinity"} != set(observed.sets):
        return False
    if not FIXED_CHAINS.keys() <= observed.chains.keys():
        return False
    return all(length == _length(name) for name, length in observed.chains.items())


def _length(chain: str) -> int:
    """How many rules a chain of ours has; -1 for a name that we never give."""
    if chain in FIXED_CHAINS:
        return FIXED_CHAINS[chain]
    return len(chain_rules(chain, ("0.0.0.0/0",))) or -1


def stale_affinity(entries: Iterable[tuple[str, str]], sticky: Rules) -> Iterator[Element]:
    """Remembered clients whose backend does not serve their frontend any more; `sticky` are the rules with affinity."""
    names = {str(number): name for name, number in PROTOCOLS.items()}
    for key, value in entries:
        _client, address, protocol, port = key.split(" . ")
        rule = sticky.get(Frontend(address, names[protocol], int(port)))
        rule = rule or sticky.get(Frontend("0.0.0.0", names[protocol], int(port)))
        if rule is None or value not in {backend_value(b) for b in (*rule.backends, *rule.inside)}:
            yield Element("affinity", key, value)

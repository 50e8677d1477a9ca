"""The rule table of a node and the difference between two of them. Pure.

The table is kept up to date one Service at a time, so that a change costs as much as the Service is large, not as
the cluster is.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from mesh.objects.meta import Key
from netproxy.model import Frontend, Rule, Rules


@dataclass(frozen=True, slots=True)
class Change:
    """One frontend appears (`before` is None), disappears (`after` is None) or is served differently."""

    frontend: Frontend
    before: Rule | None
    after: Rule | None

    def __str__(self) -> str:
        rule = self.after or self.before
        verb = "add" if self.before is None else "remove" if self.after is None else "change"
        where = f"{self.frontend.address}:{self.frontend.port}/{self.frontend.protocol}"
        return f"{verb} {where} of {rule.service if rule else '?'}"


Changes: TypeAlias = tuple[Change, ...]


def diff(old: Rules, new: Rules) -> Changes:
    """What leads from `old` to `new`: removals first, then all else, each sorted by frontend."""
    gone = [Change(f, old[f], None) for f in sorted(old.keys() - new.keys())]
    other = [Change(f, old.get(f), new[f]) for f in sorted(new) if old.get(f) != new[f]]
    return (*gone, *other)


class RuleTable:
    """The rules of all Services. Where two Services claim one frontend, the first by namespace and name has it."""

    def __init__(self) -> None:
        self.rules: dict[Frontend, Rule] = {}
        """What the kernel should hold."""
        self._claims: dict[Key, Mapping[Frontend, Rule]] = {}
        self._claimants: dict[Frontend, tuple[Key, ...]] = {}

    def services(self) -> Collection[Key]:
        """The Services that have rules."""
        return self._claims.keys()

    def replace(self, service: Key, rules: Rules) -> Changes:
        """Make `rules` (empty: none) those of `service`; returns what that changes in the table."""
        before = self._claims.get(service, {})
        if rules:
            self._claims[service] = rules
        else:
            self._claims.pop(service, None)
        old: dict[Frontend, Rule] = {}
        new: dict[Frontend, Rule] = {}
        for frontend in before.keys() | rules.keys():
            if frontend in self.rules:
                old[frontend] = self.rules[frontend]
            claimants = set(self._claimants.get(frontend, ())) - {service}
            if frontend in rules:
                claimants.add(service)
            winner = self._settle(frontend, tuple(sorted(claimants)))
            if winner is not None:
                new[frontend] = winner
        return diff(old, new)

    def _settle(self, frontend: Frontend, claimants: tuple[Key, ...]) -> Rule | None:
        """Record who claims `frontend`, and whose rule counts."""
        if not claimants:
            self._claimants.pop(frontend, None)
            self.rules.pop(frontend, None)
            return None
        self._claimants[frontend] = claimants
        self.rules[frontend] = self._claims[claimants[0]][frontend]
        return self.rules[frontend]

"""Packet filter rules beside those of others: iptables rules marked with a comment, and their difference.

They go into the chains that Docker, ufw and administrators use, because an accepting verdict in a table of our own
cannot overrule a dropping one in theirs. `iptables-save` shows each as one line, which is also its identity.
Pure.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: `match` in the order and spelling in which iptables-save prints it."""

    table: str
    chain: str
    match: tuple[str, ...]
    comment: str
    target: str

    @property
    def arguments(self) -> tuple[str, ...]:
        """What follows the chain on iptables' command line."""
        return (*self.match, "-m", "comment", "--comment", self.comment, "-j", self.target)

    def __str__(self) -> str:
        return f"-t {self.table} {self.chain} {shlex.join(self.arguments)}"


@dataclass(frozen=True, slots=True)
class Insert:
    """Put the rule first into its chain."""

    rule: Rule

    @property
    def command(self) -> tuple[str, ...]:
        """Arguments for iptables."""
        return ("-t", self.rule.table, "-I", self.rule.chain, *self.rule.arguments)


@dataclass(frozen=True, slots=True)
class Delete:
    """Take one copy of the rule out of its chain."""

    rule: Rule

    @property
    def command(self) -> tuple[str, ...]:
        """Arguments for iptables."""
        return ("-t", self.rule.table, "-D", self.rule.chain, *self.rule.arguments)


def parse_saved(text: str, comment: str) -> tuple[Rule, ...]:
    """The rules marked with exactly `comment` in the output of iptables-save."""
    found, table = [], ""
    for line in text.splitlines():
        if line.startswith("*"):
            table = line[1:].strip()
        elif line.startswith("-A ") and "--comment" in line:
            words = shlex.split(line)
            at = words.index("--comment")
            if words[at + 1] == comment and words[-2] == "-j":
                found.append(Rule(table, words[1], tuple(words[2 : at - 2]), comment, words[-1]))
    return tuple(found)


def plan_rules(wanted: Iterable[Rule], observed: Iterable[Rule]) -> tuple[Delete | Insert, ...]:
    """Foreign-looking copies go, missing rules come. One too many (inserted twice by a race) goes too."""
    wants, left = tuple(wanted), list(observed)
    missing = []
    for rule in wants:
        if rule in left:
            left.remove(rule)
        else:
            missing.append(rule)
    return (*map(Delete, left), *map(Insert, reversed(missing)))

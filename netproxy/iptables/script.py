"""Input for `iptables-restore --noflush`: each table's part of a script is one transaction. Pure text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from netproxy.iptables.layout import HOOKS
from netproxy.iptables.state import Delta, Observed, TableDelta, is_ours

CHAINS_PER_SCRIPT = 500
"""How many chains one transaction may write: iptables-nft needs time with the square of their number (12,000 chains:
31 s at once, 5 s in parts)."""

_LEAVES = ("COVEY-MARK", "COVEY-UNMARK", "COVEY-SEP", "COVEY-SVC", "COVEY-INS", "COVEY-FW")
"""Chains that nothing enters but through lines of `COVEY-SERVICES` and `COVEY-NODEPORTS`."""


def delta_scripts(delta: Delta) -> Iterator[str]:
    """Do what `delta` says: one script, or for a large difference several, of which the last connects what those before
    it prepared. Every connection meets a chain as it was or as it is to be."""
    leaves = [item for item in delta.nat.chains.items() if item[0].startswith(_LEAVES)]
    if len(leaves) > CHAINS_PER_SCRIPT:
        # A chain must be there before a rule leads to it; sorting is stable, so other chains keep that order.
        leaves.sort(key=lambda item: not item[0].startswith(_LEAVES[:2]))
        for start in range(0, len(leaves), CHAINS_PER_SCRIPT):
            yield _script(Delta(nat=TableDelta(chains=dict(leaves[start : start + CHAINS_PER_SCRIPT]))))
        prepared = {name for name, _ in leaves}
        rest = {name: rules for name, rules in delta.nat.chains.items() if name not in prepared}
        delta = Delta(nat=replace(delta.nat, chains=rest), filter=delta.filter)
    if delta.size:
        yield _script(delta)


def _script(delta: Delta) -> str:
    """One run of iptables-restore, filter before nat: what is no longer redirected must be refused already."""
    lines = []
    for name in ("filter", "nat"):
        part = delta.table(name)
        if part.size:
            lines += [f"*{name}\n", *_lines(part), "COMMIT\n"]
    return "".join(lines)


def _lines(part: TableDelta) -> Iterator[str]:
    # Naming a chain empties it, or makes it; all of this is one step for packets.
    for name in (*part.chains, *part.drop):
        yield f":{name} - [0:0]\n"
    for line in part.remove:
        yield f"-D {line.chain} {line.rule}\n"
    for name, rules in part.chains.items():
        for rule in rules:
            yield f"-A {name} {rule}\n"
    for line in part.add:
        yield f"-A {line.chain} {line.rule}\n"
    for line in part.hooks:
        yield f"-I {line.chain} 1 {line.rule}\n"
    for name in part.drop:
        yield f"-X {name}\n"


def cleanup_script(table: str, observed: Observed) -> Iterator[str]:
    """Remove hooks and chains of ours from one table."""
    ours = [name for name in observed.chains if is_ours(name)]
    hooks = [(c, r) for c, r in HOOKS[table].items() for there in observed.chains.get(c, ()) if there == r]
    if not ours and not hooks:
        return
    yield f"*{table}\n"
    for name in ours:
        yield f":{name} - [0:0]\n"
    for chain, rule in hooks:
        yield f"-D {chain} {rule}\n"
    for name in ours:
        yield f"-X {name}\n"
    yield "COMMIT\n"

"""Input for `iptables-restore --noflush`: each table's part of a script is one transaction. Pure text."""

from __future__ import annotations

from collections.abc import Iterator

from netproxy.iptables.layout import HOOKS
from netproxy.iptables.state import Delta, Observed, is_ours

CHAINS_PER_SCRIPT = 500
"""How many chains one transaction may write: iptables-nft needs time with the square of their number (12,000 chains:
31 s at once, 5 s in parts)."""

_LEAVES = ("COVEY-MARK", "COVEY-UNMARK", "COVEY-SEP", "COVEY-SVC", "COVEY-INS", "COVEY-FW")
"""Chains that nothing enters but through the lines for frontends."""


def delta_scripts(delta: Delta) -> Iterator[str]:
    """Do what `delta` says: one script, or for a large difference several, of which the last connects what those before
    it prepared. Every connection meets a chain as it was or as it is to be."""
    leaves = [item for item in delta.write.items() if item[0].chain.startswith(_LEAVES)]
    if len(leaves) > CHAINS_PER_SCRIPT:
        # A chain must be there before a rule leads to it; sorting is stable, so other chains keep that order.
        leaves.sort(key=lambda item: not item[0].chain.startswith(_LEAVES[:2]))
        for start in range(0, len(leaves), CHAINS_PER_SCRIPT):
            yield _script(Delta(write=dict(leaves[start : start + CHAINS_PER_SCRIPT])))
        prepared = {place for place, _ in leaves}
        rest = {place: rules for place, rules in delta.write.items() if place not in prepared}
        delta = Delta(rest, delta.hooks, delta.drop)
    if delta.size:
        yield _script(delta)


def _script(delta: Delta) -> str:
    """One run of iptables-restore, filter before nat: what is no longer redirected must be refused already."""
    lines = []
    for table in ("filter", "nat"):
        if part := list(_lines(table, delta)):
            lines += [f"*{table}\n", *part, "COMMIT\n"]
    return "".join(lines)


def _lines(table: str, delta: Delta) -> Iterator[str]:
    write = {place.chain: rules for place, rules in delta.write.items() if place.table == table}
    drop = [place.chain for place in delta.drop if place.table == table]
    # Naming a chain empties it, or makes it; all of this is one step for packets.
    for chain in (*write, *drop):
        yield f":{chain} - [0:0]\n"
    for chain, rules in write.items():
        for rule in rules:
            yield f"-A {chain} {rule}\n"
    for place in delta.hooks:
        if place.table == table:
            yield f"-I {place.chain} 1 {HOOKS[place]}\n"
    for chain in drop:
        yield f"-X {chain}\n"


def cleanup_script(observed: Observed) -> str:
    """Remove our hooks and chains; "" when there are none."""
    hooks = [(place, rule) for place, rule in HOOKS.items() for r in observed.chains.get(place, ()) if r == rule]
    ours = [place for place in observed.chains if is_ours(place.chain)]
    lines = []
    for table in sorted({place.table for place in (*ours, *(place for place, _ in hooks))}):
        names = [place.chain for place in ours if place.table == table]
        lines.append(f"*{table}\n")
        lines += [f":{name} - [0:0]\n" for name in names]
        lines += [f"-D {place.chain} {rule}\n" for place, rule in hooks if place.table == table]
        lines += [f"-X {name}\n" for name in names]
        lines.append("COMMIT\n")
    return "".join(lines)

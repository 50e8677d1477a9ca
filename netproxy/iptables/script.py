"""Input for `iptables-restore --noflush`: each table's part is one transaction. Pure text."""

from __future__ import annotations

from collections.abc import Iterator

from netproxy.iptables.layout import HOOKS
from netproxy.iptables.state import Delta, Observed, TableDelta, is_ours


def delta_script(delta: Delta) -> Iterator[str]:
    """Do what `delta` says, filter before nat: what is no longer redirected must be refused already."""
    for name in ("filter", "nat"):
        part = delta.table(name)
        if part.size:
            yield f"*{name}\n"
            yield from _lines(part)
            yield "COMMIT\n"


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

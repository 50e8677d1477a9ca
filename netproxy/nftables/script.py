"""Input for `nft -f -`: each script is one transaction. Pure text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from netproxy.cluster import Cluster
from netproxy.nftables.layout import SETS, Element, chain_rules
from netproxy.nftables.skeleton import TABLE, skeleton
from netproxy.nftables.state import Contents, Delta

_ELEMENTS_PER_COMMAND = 1000


def full_script(cluster: Cluster, contents: Contents) -> Iterator[str]:
    """Replace whatever table of ours is there by one with these contents."""
    yield f"add table ip {TABLE}\ndelete table ip {TABLE}\n"
    yield skeleton(cluster)
    yield from _make_chains(sorted(contents.chains), cluster)
    for name, elements in contents.sets.items():
        yield from _command("add", (Element(name, k, v) for k, v in elements.items()))


def delta_script(cluster: Cluster, delta: Delta) -> Iterator[str]:
    """Do what `delta` says. The order matters: a chain is made before an element leads to it, dropped after."""
    yield from _make_chains(delta.new_chains, cluster)
    yield from _command("delete", delta.remove)
    yield from _command("add", delta.add)
    for chain in delta.old_chains:
        yield f"delete chain ip {TABLE} {chain}\n"


def chains_script(cluster: Cluster, chains: Iterable[str]) -> Iterator[str]:
    """Only make these chains."""
    yield from _make_chains(chains, cluster)


def _make_chains(chains: Iterable[str], cluster: Cluster) -> Iterator[str]:
    for chain in chains:
        yield f"add chain ip {TABLE} {chain}\n"
        for rule in chain_rules(chain, cluster.pod_cidrs):
            yield f"add rule ip {TABLE} {chain} {rule}\n"


def _command(verb: str, elements: Iterable[Element]) -> Iterator[str]:
    """`add element` or `delete element` commands, several elements in each."""
    pending: dict[str, list[str]] = {}
    for element in elements:
        spec = SETS.get(element.set)
        value = f" : {element.value}" if verb == "add" and spec is not None and spec.value else ""
        items = pending.setdefault(element.set, [])
        items.append(element.key + value)
        if len(items) >= _ELEMENTS_PER_COMMAND:
            yield _join(verb, element.set, pending.pop(element.set))
    for name, items in pending.items():
        yield _join(verb, name, items)


def _join(verb: str, name: str, items: list[str]) -> str:
    return f"{verb} element ip {TABLE} {name} {{ {', '.join(items)} }}\n"

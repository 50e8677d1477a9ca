"""The fixed part of our nftables table: sets, base chains, and the rules every packet meets. Pure text.

Only new connections pass these chains: they hang on nat hooks. `services` runs a little before other tables' DNAT
rules, so that a Service has its address even where somebody else would take it; masquerading a little before others',
so that they see what is left.
"""

from __future__ import annotations

import hashlib

from netproxy.cluster import MARK, Cluster
from netproxy.nftables.layout import AFFINITY, PROTOCOLS, SETS, SetSpec

TABLE = "covey-proxy"

MAX_AFFINITY_ENTRIES = 65535


def skeleton(cluster: Cluster) -> str:
    """The table with its fixed chains and empty sets, as input to `nft -f`. Its comment tells which version it is."""
    body = "\n".join((*_sets(), *_chains(cluster)))
    return f'table ip {TABLE} {{\n  comment "{_digest(body)}"\n{body}\n}}\n'


def version(cluster: Cluster) -> str:
    """The comment of the table that `skeleton` makes."""
    return _digest("\n".join((*_sets(), *_chains(cluster))))


def _digest(body: str) -> str:
    return f"covey proxy {hashlib.sha256(body.encode()).hexdigest()[:16]}"


def _sets() -> list[str]:
    lines = []
    for name, spec in SETS.items():
        kind = "map" if spec.value else "set"
        flags = " flags interval;" if spec.interval else ""
        lines.append(f"  {kind} {name} {{ {_type(name, spec)};{flags} }}")
    lines.append(
        f"  map affinity {{ {_type('affinity', AFFINITY)}; size {MAX_AFFINITY_ENTRIES}; flags dynamic,timeout; }}"
    )
    return lines


def _type(name: str, spec: SetSpec) -> str:
    """The declaration of key and value. The number that numgen draws has no type name, so maps that have one in their
    key are declared by the expressions they are used with."""
    if "index" not in spec.key:
        value = f" : {' . '.join(spec.value)}" if spec.value else ""
        return f"type {' . '.join(spec.key)}{value}"
    protocol = name.split("-")[-2]
    typeof = {"ipv4_addr": "ip daddr", "inet_service": f"{protocol} dport", "index": "numgen random mod 2"}
    return f"typeof {' . '.join(typeof[t] for t in spec.key)} : {' . '.join(typeof[t] for t in spec.value)}"


def _chains(cluster: Cluster) -> list[str]:
    pods = f"{{ {', '.join(cluster.pod_cidrs)} }}"
    services = f"{{ {', '.join(cluster.service_cidrs)} }}"
    frontend = "ip daddr . meta l4proto . th dport"
    chains = {
        "refuse": ("reject",),
        "mark-always": (f"meta mark set meta mark | {MARK:#x}",),
        "mark-outside": (f"ip saddr != {pods} meta mark set meta mark | {MARK:#x}",),
        "check-source": (f"{frontend} . ip saddr @allowed-sources return", "drop"),
        "own-address": (
            "meta l4proto . th dport vmap @node-shortcuts",
            "meta l4proto . th dport vmap @node-ports",
        ),
        "services": (
            f"ip daddr {cluster.dns_address} fib daddr type local return",
            f"{frontend} vmap @restricted",
            f"{frontend} vmap @shortcuts",
            f"{frontend} vmap @services",
            "ip daddr != 127.0.0.0/8 fib daddr type local jump own-address",
            f"ip daddr {services} fib daddr type != local reject",
        ),
        "remember": tuple(
            f"meta l4proto {p} {address}meta l4proto . ct original proto-dst vmap @{name}"
            for p in PROTOCOLS
            for address, name in (("ct original ip daddr . ", "sticky"), ("", "node-sticky"))
        ),
        "prerouting": ("type nat hook prerouting priority -105; policy accept;", "jump services"),
        "output": ("type nat hook output priority -105; policy accept;", "jump services"),
        "input": ("type nat hook input priority 95; policy accept;", "ct status dnat jump remember"),
        "postrouting": (
            "type nat hook postrouting priority 95; policy accept;",
            "ct status dnat jump remember",
            'oifname "lo" return',
            "ip saddr . ip daddr @hairpin masquerade fully-random",
            f"meta mark & {MARK:#x} == 0 return",
            f"meta mark set meta mark & {~MARK & 0xFFFFFFFF:#x}",
            "ip daddr @local-backends return",
            "masquerade fully-random",
        ),
    }
    return [f"  chain {name} {{\n" + "".join(f"    {r}\n" for r in rules) + "  }" for name, rules in chains.items()]


FIXED_CHAINS: dict[str, int] = {
    "refuse": 1, "mark-always": 1, "mark-outside": 1, "check-source": 2, "own-address": 2, "services": 6, "remember": 6,
    "prerouting": 1, "output": 1, "input": 1, "postrouting": 7,
}  # fmt: skip
"""How many rules each fixed chain has: enough to see that somebody flushed or added to one."""

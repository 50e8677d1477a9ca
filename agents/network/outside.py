"""The pods' way out of the cluster: masquerading, and being let through beside other people's packet filters.

What a pod sends to an address that is no pod's leaves with its node's address. The masquerading is an nftables table of
our own; in the filter tables of others, where those are in use (Docker's and ufw's FORWARD policy is DROP), marked
rules accept what is the pod network's. Pure.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Sequence

from agents.network.rules import Rule

TABLE = "covey-network"


def comment_of(cluster: str) -> str:
    """The comment that marks a node's packet filter rules."""
    return f"covey-agent:{cluster}"


def masquerade_tables(pod_cidrs: Sequence[str]) -> dict[str, str]:
    """nftables commands by table family ("ip", "ip6"), each one a transaction that puts the table in place of any
    earlier one. The mark in the table's comment tells one set of rules from another."""
    tables = {}
    for family, version, multicast in (("ip", 4, "224.0.0.0/4"), ("ip6", 6, "ff00::/8")):
        own = [cidr for cidr in pod_cidrs if ipaddress.ip_network(cidr).version == version]
        if own:
            tables[family] = _table(family, own, multicast, mark_of(pod_cidrs))
    return tables


def mark_of(pod_cidrs: Sequence[str]) -> str:
    """Changes with everything that the tables are made of."""
    return "covey " + hashlib.sha256(" ".join(("1", *pod_cidrs)).encode()).hexdigest()[:16]


def _table(family: str, own: Sequence[str], multicast: str, mark: str) -> str:
    pods, inside = ", ".join(own), ", ".join((*own, multicast))
    return f"""\
table {family} {TABLE} {{
}}
delete table {family} {TABLE}
table {family} {TABLE} {{
    comment "{mark}"
    chain postrouting {{
        type nat hook postrouting priority srcnat; policy accept;
        {family} saddr {{ {pods} }} {family} daddr != {{ {inside} }} masquerade fully-random
    }}
}}
"""


def accepting_rules(cluster: str, pod_cidrs: Sequence[str], *, dns_address: str, vxlan_port: int) -> tuple[Rule, ...]:
    """iptables rules for a node whose filter table is in use: pods' packets are forwarded, and the node's resolver and
    its tunnel receive theirs."""
    comment = comment_of(cluster)
    own = [cidr for cidr in pod_cidrs if ipaddress.ip_network(cidr).version == 4]
    ports = ("udp", f"{dns_address}/32", 53), ("tcp", f"{dns_address}/32", 53)
    return (
        *(Rule("filter", "FORWARD", (side, cidr), comment, "ACCEPT") for cidr in own for side in ("-s", "-d")),
        *(
            Rule("filter", "INPUT", ("-d", to, "-p", protocol, "-m", protocol, "--dport", str(port)), comment, "ACCEPT")
            for protocol, to, port in ports
        ),
        Rule("filter", "INPUT", ("-p", "udp", "-m", "udp", "--dport", str(vxlan_port)), comment, "ACCEPT"),
    )

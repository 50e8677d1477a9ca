"""What every back end knows about the cluster beside its Services. Pure."""

from __future__ import annotations

from dataclasses import dataclass

MARK = 0x4000
"""Bit of the packet mark that asks for masquerading; kube-proxy uses the same. Cleared once obeyed, lest the packet is
masqueraded again inside a tunnel."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """The cluster's addresses, of one family."""

    pod_cidrs: tuple[str, ...]
    service_cidrs: tuple[str, ...]
    dns_address: str
    """Where a node's own DNS server may listen; then the Service of that address is not ours to redirect."""

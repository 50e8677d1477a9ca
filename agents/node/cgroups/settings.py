"""Limits as the kernel's files and systemd's properties say them, for cgroup version 1 and 2. Pure.

https://docs.kernel.org/admin-guide/cgroup-v1/, https://docs.kernel.org/admin-guide/cgroup-v2.html,
https://www.freedesktop.org/software/systemd/man/latest/systemd.resource-control.html
"""

from __future__ import annotations

from typing import NamedTuple

from agents.node.ports import Resources

PERIOD_US = 100_000
CONTROLLERS = ("cpu", "memory", "pids")
"""Those that limits need. Version 2 wants them enabled on every level above."""
_PERCENT_US = 10_000
"""One percent of a second: systemd keeps no finer quota."""


class Setting(NamedTuple):
    """One file to write; `controller` names the hierarchy it is in on version 1."""

    controller: str
    file: str
    value: str


def weight(shares: int) -> int:
    """cgroup v2's cpu.weight (1 to 10000) for v1's cpu.shares (2 to 262144), as KEP-2254 converts it."""
    return 1 + (max(2, min(shares, 262_144)) - 2) * 9999 // 262_142


def settings(limits: Resources, *, unified: bool) -> list[Setting]:
    """What to write for these limits, in this order; nothing for those that are None. `unified`: version 2."""
    found = []
    if limits.cpu_shares is not None:
        share = ("cpu.weight", weight(limits.cpu_shares)) if unified else ("cpu.shares", limits.cpu_shares)
        found.append(Setting("cpu", share[0], str(share[1])))
    if limits.cpu_quota_us is not None and unified:
        found.append(Setting("cpu", "cpu.max", f"{limits.cpu_quota_us} {PERIOD_US}"))
    elif limits.cpu_quota_us is not None:
        found.append(Setting("cpu", "cpu.cfs_period_us", str(PERIOD_US)))
        found.append(Setting("cpu", "cpu.cfs_quota_us", str(limits.cpu_quota_us)))
    if limits.memory_bytes is not None:
        file = "memory.max" if unified else "memory.limit_in_bytes"
        found.append(Setting("memory", file, str(limits.memory_bytes)))
    if limits.pids is not None:
        found.append(Setting("pids", "pids.max", str(limits.pids)))
    return found


def properties(limits: Resources, *, unified: bool) -> list[tuple[str, str, str]]:
    """A slice's properties as (name, D-Bus type, value)."""
    found = [(f"{controller}Accounting", "b", "true") for controller in ("CPU", "Memory", "Tasks")]
    if limits.cpu_shares is not None:
        share = ("CPUWeight", weight(limits.cpu_shares)) if unified else ("CPUShares", limits.cpu_shares)
        found.append((share[0], "t", str(share[1])))
    if limits.cpu_quota_us is not None:
        per_second = limits.cpu_quota_us * 1_000_000 // PERIOD_US
        found.append(("CPUQuotaPerSecUSec", "t", str(-(-per_second // _PERCENT_US) * _PERCENT_US)))
    if limits.memory_bytes is not None:
        found.append(("MemoryMax" if unified else "MemoryLimit", "t", str(limits.memory_bytes)))
    if limits.pids is not None:
        found.append(("TasksMax", "t", str(limits.pids)))
    return found

"""Letting Covey's traffic through a FORWARD chain that drops: Docker's policy, ufw's, an administrator's.

An accept in our own nftables table would not help, since every table has its say. So a chain `COVEY-FORWARD` is hooked
in first in iptables' FORWARD, and only where there is something to pass. firewalld's own table already accepts what was
redirected (`ct status dnat`).
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from netproxy.commands import run

CHAIN = "COVEY-FORWARD"
_HOOK = f'-A FORWARD -m comment --comment "covey: traffic of pods and Services" -j {CHAIN}'
_REFUSING = " -j COVEY-FILTER"


def accepts(pod_cidrs: Sequence[str], service_cidrs: Sequence[str], mark: int) -> list[str]:
    """The chain's rules: what goes to or comes from pods, what was addressed to a Service, and answers."""
    rules = [f"-A {CHAIN} -m mark --mark {mark:#x}/{mark:#x} -j ACCEPT"]
    rules += [f"-A {CHAIN} -{side} {cidr} -j ACCEPT" for cidr in pod_cidrs for side in "sd"]
    rules += [f"-A {CHAIN} -m conntrack --ctstate DNAT --ctorigdst {cidr} -j ACCEPT" for cidr in service_cidrs]
    return [*rules, f"-A {CHAIN} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"]


class Forwarding:
    """The hook in FORWARD of this network namespace, in iptables' nft and legacy tables alike."""

    def __init__(self, pod_cidrs: Sequence[str], service_cidrs: Sequence[str], mark: int) -> None:
        self._rules = accepts(pod_cidrs, service_cidrs, mark)

    async def ensure(self) -> None:
        """Hook in wherever FORWARD does not simply accept everything, and ahead of whatever has come before us since."""
        for tool in flavours("filter"):
            lines = (await run(tool, "-S")).splitlines()
            forward = [r for r in lines if r.startswith("-A FORWARD ")]
            # What has no backends must be refused before it is let through (iptables mode; nftables refuses earlier).
            first = [*(r for r in forward if r.endswith(_REFUSING)), _HOOK]
            if "-P FORWARD ACCEPT" in lines and set(forward) <= set(first):
                continue
            ours = [r for r in lines if r.startswith(f"-A {CHAIN} ")]
            if ours == self._rules and forward[: len(first)] == first and forward.count(_HOOK) == 1:
                continue
            unhook = [r.replace("-A", "-D", 1) for r in forward if r in first]
            hook = [r.replace("-A FORWARD", f"-I FORWARD {n}", 1) for n, r in enumerate(first, 1)]
            await _restore(tool, [f":{CHAIN} - [0:0]", *unhook, *self._rules, *hook])

    async def cleanup(self) -> None:
        """Remove hook and chain."""
        for tool in flavours("filter"):
            lines = (await run(tool, "-S")).splitlines()
            unhook = [_HOOK.replace("-A", "-D", 1)] * lines.count(_HOOK)
            if f"-N {CHAIN}" in lines:
                await _restore(tool, [f":{CHAIN} - [0:0]", *unhook, f"-X {CHAIN}"])


async def _restore(tool: str, lines: list[str]) -> None:
    script = "\n".join(["*filter", *lines, "COMMIT", ""])
    await run(f"{tool}-restore", "--noflush", "-w", "5", stdin=script)


def flavours(table: str) -> list[str]:
    """The iptables flavours that have this table here. Merely asking the legacy one would load its modules and make its
    tables."""
    found = []
    if shutil.which("iptables-nft"):
        found.append("iptables-nft")
    legacy = Path("/proc/net/ip_tables_names")
    if shutil.which("iptables-legacy") and legacy.exists() and table in legacy.read_text().split():
        found.append("iptables-legacy")
    return found

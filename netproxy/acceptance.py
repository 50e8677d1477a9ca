"""Letting Covey's traffic through FORWARD and INPUT chains that drop: Docker's policy, ufw's, an administrator's.

An accept in our own nftables table would not help, since every table has its say. So chains of ours are hooked in first
in iptables' own, and only where there is something to pass. firewalld's own table already accepts what was redirected
(`ct status dnat`).
"""

from __future__ import annotations

from collections.abc import Sequence

from netproxy.commands import LOCK_SECONDS, flavours, run
from netproxy.iptables.layout import ACCEPTING

_REFUSING = " -j COVEY-FILTER"
"""How the iptables back end's hook ends. What has no backends must be refused before it is let through (in nftables mode
it is refused earlier)."""


def accepts(pod_cidrs: Sequence[str], service_cidrs: Sequence[str], mark: int) -> dict[str, list[str]]:
    """The rules of our chains. FORWARD: what goes to or comes from pods, what was addressed to a Service, and answers.
    INPUT: what a Service led to this node itself (a pod with its network, the API), and what belongs to that."""
    marked = f"-m mark --mark {mark:#x}/{mark:#x} -j ACCEPT"
    pods = [f"-{side} {cidr} -j ACCEPT" for cidr in pod_cidrs for side in "sd"]
    services = [f"-m conntrack --ctstate DNAT --ctorigdst {cidr} -j ACCEPT" for cidr in service_cidrs]
    known = "-m conntrack --ctstate RELATED,ESTABLISHED"
    return {
        "FORWARD": [marked, *pods, *services, f"{known} -j ACCEPT"],
        "INPUT": [marked, *services, f"{known} -m conntrack --ctstate DNAT -j ACCEPT"],
    }


class Acceptance:
    """The hooks in this network namespace, in iptables' nft and legacy tables alike."""

    def __init__(self, pod_cidrs: Sequence[str], service_cidrs: Sequence[str], mark: int) -> None:
        self._rules = accepts(pod_cidrs, service_cidrs, mark)

    async def ensure(self) -> None:
        """Hook in wherever a chain does not simply accept everything, and ahead of whatever has come before us since."""
        for tool in flavours("filter"):
            lines = (await run(tool, "-w", LOCK_SECONDS, "-S")).splitlines()
            script = [line for builtin in ACCEPTING for line in self._mend(builtin, lines)]
            if script:
                await _restore(tool, script)

    async def cleanup(self) -> None:
        """Remove hooks and chains."""
        for tool in flavours("filter"):
            lines = (await run(tool, "-w", LOCK_SECONDS, "-S")).splitlines()
            there = {builtin: chain for builtin, chain in ACCEPTING.items() if f"-N {chain}" in lines}
            if there:
                unhook = [_undo(line) for line in lines if line in {_hook(builtin) for builtin in there}]
                names = there.values()
                await _restore(tool, [*(f":{n} - [0:0]" for n in names), *unhook, *(f"-X {n}" for n in names)])

    def _mend(self, builtin: str, lines: list[str]) -> list[str]:
        """Commands that hook our chain into a built-in one; none where it need not be or is already."""
        chain, hook = ACCEPTING[builtin], _hook(builtin)
        there = [line for line in lines if line.startswith(f"-A {builtin} ")]
        first = [*(line for line in there if line.endswith(_REFUSING)), hook]
        if f"-P {builtin} ACCEPT" in lines and set(there) <= set(first):
            return []
        rules = [f"-A {chain} {rule}" for rule in self._rules[builtin]]
        ours = [line for line in lines if line.startswith(f"-A {chain} ")]
        if ours == rules and there[: len(first)] == first and there.count(hook) == 1:
            return []
        unhook = [_undo(line) for line in there if line in first]
        again = [line.replace(f"-A {builtin}", f"-I {builtin} {n}", 1) for n, line in enumerate(first, 1)]
        return [f":{chain} - [0:0]", *unhook, *rules, *again]


def _hook(builtin: str) -> str:
    return f'-A {builtin} -m comment --comment "covey: traffic of pods and Services" -j {ACCEPTING[builtin]}'


def _undo(line: str) -> str:
    return line.replace("-A", "-D", 1)


async def _restore(tool: str, lines: list[str]) -> None:
    script = "\n".join(["*filter", *lines, "COMMIT", ""])
    await run(f"{tool}-restore", "--noflush", "-w", LOCK_SECONDS, stdin=script)

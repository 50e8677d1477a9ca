"""Cgroups as slices of systemd, for the runtime's driver `systemd`: what is written behind its back it may undo.

Slices are transient units, made and changed over D-Bus as kubelet does it (opencontainers/cgroups, systemd); `busctl`
and `systemctl` come with systemd itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from agents.node.cgroups.settings import properties
from agents.node.cgroups.tree import CgroupTree
from agents.node.ports import Resources

PATIENCE_SECONDS = 10.0
LOOK_SECONDS = 0.02
_MANAGER = ("org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager")


def start(unit: str, values: Sequence[tuple[str, str, str]]) -> tuple[str, ...]:
    """busctl's words for StartTransientUnit(name, mode, properties, auxiliary units)."""
    return ("StartTransientUnit", "ssa(sv)a(sa(sv))", unit, "replace", *_array(values), "0")


def change(unit: str, values: Sequence[tuple[str, str, str]]) -> tuple[str, ...]:
    """busctl's words for SetUnitProperties(name, runtime, properties)."""
    return ("SetUnitProperties", "sba(sv)", unit, "true", *_array(values))


def _array(values: Sequence[tuple[str, str, str]]) -> tuple[str, ...]:
    return (str(len(values)), *(word for value in values for word in value))


class Slices:
    """The slices of this machine's systemd; `tree` shows which there are."""

    def __init__(self, tree: CgroupTree) -> None:
        self._tree = tree
        self._turn = asyncio.Lock()

    async def make(self, cgroup: str, limits: Resources) -> None:
        """Start a slice with these limits, or change those of one that is there. Raises OSError.

        systemd answers before it has started a slice, and refuses to start one that it is starting: who comes
        meanwhile waits for his turn."""
        values = properties(limits, unified=self._tree.unified)
        async with self._turn:
            if self._tree.exists(cgroup):
                await _ask(change(cgroup, values))
            else:
                await _ask(start(cgroup, values))
                await self._started(cgroup)

    async def _started(self, cgroup: str) -> None:
        for _ in range(round(PATIENCE_SECONDS / LOOK_SECONDS)):
            if self._tree.exists(cgroup):
                return
            await asyncio.sleep(LOOK_SECONDS)
        raise OSError(f"systemd: {cgroup} has not started after {PATIENCE_SECONDS:.0f} s")

    async def remove(self, cgroup: str) -> None:
        """Stop a slice, and with it those below, and wait until that is done. Absent is fine. Raises OSError."""
        if self._tree.exists(cgroup):
            try:
                await _run("systemctl", "stop", cgroup)
            finally:
                await self._tree.remove(cgroup)  # version 1: the runtime's, where systemd has none


async def _ask(words: Sequence[str]) -> None:
    await _run("busctl", "--quiet", "call", *_MANAGER, *words)


async def _run(*command: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    _, said = await process.communicate()
    if process.returncode:
        raise OSError(f"{' '.join(command)}: {said.decode(errors='replace').strip()}")

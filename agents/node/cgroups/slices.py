"""Cgroups as slices of systemd, for the runtime's driver `systemd`: what is written behind its back it may undo.

Slices are transient units, made and changed over D-Bus as kubelet does it (opencontainers/cgroups, systemd); `busctl`
comes with systemd itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from agents.node.cgroups.settings import properties
from agents.node.cgroups.tree import CgroupTree
from agents.node.ports import Resources

_MANAGER = ("org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager")

_FORGOTTEN = "not loaded"
"""In systemd's refusal to stop a unit that it does not know (NoSuchUnit)."""


def start(unit: str, values: Sequence[tuple[str, str, str]]) -> tuple[str, ...]:
    """busctl's words for StartTransientUnit(name, mode, properties, auxiliary units)."""
    return ("StartTransientUnit", "ssa(sv)a(sa(sv))", unit, "replace", *_array(values), "0")


def change(unit: str, values: Sequence[tuple[str, str, str]]) -> tuple[str, ...]:
    """busctl's words for SetUnitProperties(name, runtime, properties)."""
    return ("SetUnitProperties", "sba(sv)", unit, "true", *_array(values))


def stop(unit: str) -> tuple[str, ...]:
    """busctl's words for StopUnit(name, mode)."""
    return ("StopUnit", "ss", unit, "replace")


def _array(values: Sequence[tuple[str, str, str]]) -> tuple[str, ...]:
    return (str(len(values)), *(word for value in values for word in value))


class Slices:
    """The slices of this machine's systemd; `tree` shows which there are."""

    def __init__(self, tree: CgroupTree) -> None:
        self._tree = tree

    async def make(self, cgroup: str, limits: Resources) -> None:
        """Start a slice with these limits, or change those of one that is there. Raises OSError."""
        values = properties(limits, unified=self._tree.unified)
        await _ask((change if self._tree.exists(cgroup) else start)(cgroup, values))

    async def remove(self, cgroup: str) -> None:
        """Stop a slice, and with it those below. Absent is fine. Of version 1's hierarchies systemd clears those that it
        manages, and forgets the slice; the runtime may have made its directory in others."""
        if not self._tree.exists(cgroup):
            return
        try:
            await _ask(stop(cgroup))
        except OSError as error:
            if _FORGOTTEN not in str(error):
                raise
        await self._tree.remove(cgroup)


async def _ask(words: Sequence[str]) -> None:
    command = ("busctl", "--quiet", "call", *_MANAGER, *words)
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    _, said = await process.communicate()
    if process.returncode:
        raise OSError(f"systemd: {words[0]} {words[2]}: {said.decode(errors='replace').strip()}")

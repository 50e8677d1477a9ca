"""Cgroups in the kernel's own file system: for the driver `cgroupfs`, and to look at what any driver has made.

Version 1 has a hierarchy for each controller below `root`, version 2 a single one. Writes are to memory, not to a disk:
none of them waits.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from agents.node.cgroups.kill import ROOT
from agents.node.cgroups.names import path_of
from agents.node.cgroups.settings import CONTROLLERS, settings
from agents.node.ports import Resources


class CgroupTree:
    """The hierarchies below `root`."""

    def __init__(self, root: Path = ROOT) -> None:
        self._root = root
        self.unified = (root / "cgroup.controllers").exists()
        """Version 2."""

    async def make(self, cgroup: str, limits: Resources) -> None:
        """Make a cgroup with everything above it, and write the limits that are not None. Raises OSError."""
        if self.unified:
            self._make_unified(path_of(cgroup))
        for controller, file, value in settings(limits, unified=self.unified):
            directory = self._tree(controller) / path_of(cgroup)
            directory.mkdir(parents=True, exist_ok=True)
            (directory / file).write_text(value)

    def _make_unified(self, relative: str) -> None:
        """A controller works in a cgroup when every level above has it enabled for those below."""
        offered = (self._root / "cgroup.controllers").read_text().split()
        enabled = " ".join(f"+{controller}" for controller in CONTROLLERS if controller in offered)
        directory = self._root
        for part in Path(relative).parts:
            (directory / "cgroup.subtree_control").write_text(enabled)
            directory /= part
            directory.mkdir(exist_ok=True)

    async def remove(self, cgroup: str) -> None:
        """Remove a cgroup with all below it from every hierarchy. Absent is fine; where a process is left, it stays."""
        for tree in self._trees():
            for directory, _, _ in os.walk(tree / path_of(cgroup), topdown=False):
                with contextlib.suppress(OSError):  # gone already, or a process is still on its way out of it
                    Path(directory).rmdir()  # noqa: ASYNC240 - no disk: nothing waits

    def exists(self, cgroup: str) -> bool:
        """Whether any hierarchy has it."""
        return any((tree / path_of(cgroup)).is_dir() for tree in self._trees())

    def children(self, cgroup: str) -> set[str]:
        """The last names of the cgroups directly below one, in whatever hierarchy."""
        return {
            entry.name
            for tree in self._trees()
            if (tree / path_of(cgroup)).is_dir()
            for entry in (tree / path_of(cgroup)).iterdir()
            if entry.is_dir()
        }

    def _tree(self, controller: str) -> Path:
        return self._root if self.unified else self._root / controller

    def _trees(self) -> list[Path]:
        """All hierarchies, each once: `cpu` may be a link to `cpu,cpuacct`."""
        if self.unified:
            return [self._root]
        return [path for path in self._root.iterdir() if path.is_dir() and not path.is_symlink()]

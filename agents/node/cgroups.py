"""The pods' own cgroups, which the runtime makes as parents of containers and never removes."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

ROOT = Path("/sys/fs/cgroup")


class Cgroups(Protocol):
    """Pod cgroups by the path that containers were given as their parent."""

    def remove(self, cgroup: str) -> None:
        """Remove an empty cgroup from every hierarchy; absent is fine, one still in use is left."""


class KernelCgroups:
    """The kernel's hierarchies below `root`: version 1 has one for each controller, version 2 a single one."""

    def __init__(self, root: Path = ROOT) -> None:
        self._root = root

    def remove(self, cgroup: str) -> None:
        """See `Cgroups.remove`. Slices of systemd are its own to collect."""
        if cgroup.endswith(".slice"):
            return
        relative = cgroup.lstrip("/")
        for tree in (self._root, *(d for d in self._root.iterdir() if d.is_dir())):
            directory = tree / relative
            try:
                directory.rmdir()
            except OSError:
                continue  # not in this hierarchy, or a process is still on its way out of it


class NoCgroups:
    """A simulated node has none."""

    def remove(self, cgroup: str) -> None:
        """See `Cgroups.remove`."""

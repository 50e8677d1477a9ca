"""Ends every process of a cgroup: `cgroup.kill` on version 2, signals to all of its processes on version 1."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path
from typing import Protocol

ROOT = Path("/sys/fs/cgroup")


class Killer(Protocol):
    """Ends processes by cgroup, without asking any daemon."""

    def kill(self, cgroup: str) -> bool:
        """Kill all that runs in `cgroup` (a path below the hierarchy's root) and below; whether anything ran."""


class CgroupKiller:
    """The kernel's own hierarchy below `root`."""

    def __init__(self, root: Path = ROOT) -> None:
        self._root = root

    def kill(self, cgroup: str) -> bool:
        """See `Killer.kill`. Processes that appear while it works are met by the next call."""
        found = False
        for directory in self._directories(cgroup):
            for inner, _, _ in os.walk(directory):  # unlike rglob it goes on when what it killed vanishes meanwhile
                found = self._kill_one(Path(inner)) or found
        return found

    def _directories(self, cgroup: str) -> list[Path]:
        """The cgroup in version 2's one hierarchy, or in version 1's pids hierarchy (memory where there is none)."""
        relative = cgroup.lstrip("/")
        if (self._root / "cgroup.controllers").exists():
            # systemd nests slices by the dashes in their names: covey-x.slice lies in covey.slice.
            candidates = [self._root / relative, *self._root.glob(f"*.slice/{relative}")]
        else:
            trees = [self._root / which for which in ("pids", "memory")]
            candidates = [c for tree in trees for c in (tree / relative, *tree.glob(f"*.slice/{relative}"))]
        return [c for c in candidates if c.is_dir()]

    def _kill_one(self, directory: Path) -> bool:
        try:
            pids = [int(line) for line in (directory / "cgroup.procs").read_text().split()]
        except OSError:
            return False  # it vanished: nothing runs in it
        if not pids:
            return False
        whole = directory / "cgroup.kill"
        if whole.exists():
            with contextlib.suppress(OSError):  # it vanished since: what ran in it has ended
                whole.write_text("1")
            return True
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        return True

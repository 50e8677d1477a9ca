"""Ends every process of a cgroup, without asking the runtime: for the fence, and for what a runtime has lost.

The fence's watchdog imports this: nothing but the standard library. A process whose /sys was mounted anew (as
`ip netns exec` does) does not see the cgroups below it.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from agents.node.cgroups.names import path_of

ROOT = Path("/sys/fs/cgroup")
_HIERARCHIES = ("freezer", "pids", "memory")
"""Version 1: a container's processes are in all of them; in the first they can be frozen."""


class Killer(Protocol):
    """Ends processes by cgroup, without asking any daemon."""

    def kill(self, cgroup: str) -> bool:
        """Kill all that runs in `cgroup` (by its name: `names.CgroupNames`) and below; whether anything ran.

        Processes that appear while it works are met by the next call."""


class CgroupKiller:
    """The kernel's own hierarchies below `root`."""

    def __init__(self, root: Path = ROOT) -> None:
        self._root = root

    def kill(self, cgroup: str) -> bool:
        """See `Killer.kill`. Version 2 kills a whole tree by itself (cgroup.kill, Linux 5.14); otherwise it is frozen
        meanwhile, so that nothing forks away from the signals."""
        relative = path_of(cgroup)
        directory = self._directory(relative) if relative else None  # without a name: everything on this machine
        if directory is None or not any(_processes(directory)):
            return False
        whole = directory / "cgroup.kill"
        if whole.exists():
            with contextlib.suppress(OSError):  # it vanished since: what ran in it has ended
                whole.write_text("1")
            return True
        with _frozen(directory):
            for pid in _processes(directory):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        return True

    def _directory(self, relative: str) -> Path | None:
        """The cgroup in version 2's one hierarchy, or in one of version 1's."""
        unified = (self._root / "cgroup.controllers").exists()
        trees = [self._root] if unified else [self._root / hierarchy for hierarchy in _HIERARCHIES]
        return next((tree / relative for tree in trees if (tree / relative).is_dir()), None)


def _processes(directory: Path) -> Iterator[int]:
    """What runs in a cgroup and below it."""
    for inner, _, _ in os.walk(directory):  # unlike rglob it goes on when what was killed vanishes meanwhile
        with contextlib.suppress(OSError):  # it vanished: nothing runs in it
            yield from map(int, (Path(inner) / "cgroup.procs").read_text().split())


@contextlib.contextmanager
def _frozen(directory: Path) -> Iterator[None]:
    """Stop the clock of a whole tree, and start it again."""
    _freeze(directory, frozen=True)
    try:
        yield
    finally:
        _freeze(directory, frozen=False)


def _freeze(directory: Path, *, frozen: bool) -> None:
    for file, value in (("cgroup.freeze", str(int(frozen))), ("freezer.state", "FROZEN" if frozen else "THAWED")):
        if (directory / file).exists():
            with contextlib.suppress(OSError):  # it vanished with its last process
                (directory / file).write_text(value)

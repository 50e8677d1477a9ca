"""The agent's side of the fence: tells the watchdog what to guard and that we are in touch, and hears whom it ended."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from agents.node.fence import NEVER, FenceFiles, Guarded, overdue
from mesh.clock import Clock

log = logging.getLogger(__name__)

WATCHDOG_LOOK_SECONDS = 2.0


class Fence(Protocol):
    """Ends exclusive pods when the node has been out of touch for too long. Times of CLOCK_BOOTTIME."""

    def answered(self, sent: float) -> None:
        """A heartbeat sent then has been answered. Answers may come out of order."""

    def guard(self, guarded: Guarded) -> None:
        """What to guard from now on."""

    def guarded(self) -> Guarded:
        """What it was last told to guard, by this agent or an earlier one."""

    def out_of_touch(self) -> bool:
        """Whether the fence has fallen, or would fall at once: no exclusive pod may be started."""

    def fenced(self) -> frozenset[str]:
        """UIDs of the pods that were ended and not forgotten since."""

    def forget(self, uid: str) -> None:
        """Nothing is left of this pod. Raises OSError."""


class WatchdogFence:
    """The real fence: files in `directory`, watched by a process that outlives this one."""

    def __init__(self, directory: Path, seconds: float, clock: Clock) -> None:
        self._directory = directory
        self._seconds = seconds
        self._files = FenceFiles(directory)
        self._clock = clock
        self._last = self._files.read_answered()
        self._watchdog: subprocess.Popen[bytes] | None = None
        self._untold: Guarded | None = None

    async def keep_watched(self) -> None:
        """See to it that there is a watchdog which knows what to guard, until cancelled: when somebody has killed it,
        nobody fences."""
        while True:
            if self._untold is not None:
                self.guard(self._untold)
            try:
                if not self._files.watched():
                    self.start_watchdog()
            except OSError:
                log.exception("fence.no_watchdog directory=%s", self._directory)
            await asyncio.sleep(WATCHDOG_LOOK_SECONDS)
            if self._watchdog is not None:
                self._watchdog.poll()  # reaps one that has ended

    def start_watchdog(self) -> None:
        """Start the watchdog in a session of its own; one that runs already makes the new one end at once."""
        self._watchdog = subprocess.Popen(
            [sys.executable, "-m", "agents.node.fence", str(self._directory)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd=str(Path(__file__).parents[2]),
        )

    def answered(self, sent: float) -> None:
        """See `Fence.answered`."""
        if sent > self._last:
            self._files.write_answered(sent)
            self._last = sent

    def guard(self, guarded: Guarded) -> None:
        """See `Fence.guard`. While the watchdog cannot be told, on a full disk, no exclusive pod may be started."""
        self._untold = guarded
        try:
            self._files.write_guarded(guarded)
        except OSError:
            log.exception("fence.untold directory=%s", self._directory)
        else:
            self._untold = None

    def guarded(self) -> Guarded:
        """See `Fence.guarded`."""
        return self._untold or self._files.read_guarded()

    def out_of_touch(self) -> bool:
        """See `Fence.out_of_touch`."""
        return self._untold is not None or self._clock.boottime() - self._last >= self._seconds

    def fenced(self) -> frozenset[str]:
        """See `Fence.fenced`."""
        return self._files.read_fenced()

    def forget(self, uid: str) -> None:
        """See `Fence.forget`."""
        self._files.forget_fenced(uid)


class LoopFence:
    """The fence of a simulated node, on the event loop's timers. It outlives the simulated agent: keep it, and its
    `run`, over a restart. `kill` ends the containers of these pods and returns those of which something ran."""

    def __init__(self, clock: Clock, seconds: float, kill: Callable[[frozenset[str]], frozenset[str]]) -> None:
        self._clock = clock
        self._seconds = seconds
        self._kill = kill
        self._last = NEVER
        self._guarded = Guarded(seconds, {})
        self._fenced: set[str] = set()

    async def run(self, look_seconds: float = 0.2) -> None:
        """Watch until cancelled."""
        while True:
            if overdue(self._clock.boottime(), self._last, self._guarded):
                self._fenced |= self._kill(frozenset(self._guarded.cgroups))
            await asyncio.sleep(look_seconds)

    def answered(self, sent: float) -> None:
        """See `Fence.answered`."""
        self._last = max(self._last, sent)

    def guard(self, guarded: Guarded) -> None:
        """See `Fence.guard`."""
        self._guarded = guarded

    def guarded(self) -> Guarded:
        """See `Fence.guarded`."""
        return self._guarded

    def out_of_touch(self) -> bool:
        """See `Fence.out_of_touch`."""
        return self._clock.boottime() - self._last >= self._seconds

    def fenced(self) -> frozenset[str]:
        """See `Fence.fenced`."""
        return frozenset(self._fenced)

    def forget(self, uid: str) -> None:
        """See `Fence.forget`."""
        self._fenced.discard(uid)

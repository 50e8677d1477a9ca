"""The clock port: where time enters. Pure code receives `now` as a value; loops receive a `Clock`.

Waiting is always `asyncio.sleep` or a loop timer: the simulation runs everything on an event loop with virtual time,
so a `Clock` only tells the time and never sleeps.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Tells the time. All three run at the same rate; only their zero points differ."""

    def now(self) -> datetime:
        """Wall-clock time, timezone-aware UTC: for timestamps in objects."""

    def monotonic(self) -> float:
        """Seconds since some fixed point, never going back: for intervals inside one process."""

    def boottime(self) -> float:
        """Seconds since the machine started, counting suspension (CLOCK_BOOTTIME): for the fence."""


class SystemClock:
    """The real clock of this machine."""

    def now(self) -> datetime:
        """Wall-clock time, timezone-aware UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds of CLOCK_MONOTONIC."""
        return time.monotonic()

    def boottime(self) -> float:
        """Seconds of CLOCK_BOOTTIME."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)


class ManualClock:
    """A clock that moves only when told to, for tests without an event loop."""

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._start = start
        self._elapsed = 0.0

    def advance(self, seconds: float) -> None:
        """Move all three readings forward by `seconds`."""
        self._elapsed += seconds

    def now(self) -> datetime:
        """The start plus all advances."""
        return self._start + timedelta(seconds=self._elapsed)

    def monotonic(self) -> float:
        """Seconds advanced so far."""
        return self._elapsed

    def boottime(self) -> float:
        """Seconds advanced so far."""
        return self._elapsed

"""An event loop on virtual time, and the clocks of simulated machines.

Nothing in it depends on the real time or on memory addresses: the loop never waits, it moves its clock to the next
timer; tasks and futures hash by their serial number, so that sets of them have the same order in every run. There are
no sockets and no threads: a loop that has nothing more to do is a deadlock, and says so.
"""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import selectors
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any

START = datetime(2026, 1, 1, tzinfo=UTC)
"""The wall-clock time at which every simulation begins."""


class NumberedTask(asyncio.Task[Any]):
    """A task with an address-free hash. Equality stays identity."""

    def __init__(self, number: int, coroutine: Coroutine[Any, Any, Any], **given: Any) -> None:
        self._number = number  # before the base class puts us into sets
        super().__init__(coroutine, **given)

    def __hash__(self) -> int:
        return self._number


class NumberedFuture(asyncio.Future[Any]):
    """A future with an address-free hash."""

    def __init__(self, number: int, **given: Any) -> None:
        self._number = number
        super().__init__(**given)

    def __hash__(self) -> int:
        return self._number


class _Jump(selectors.SelectSelector):
    """Instead of waiting for sockets, moves the time."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise RuntimeError("deadlock: nothing is ready, and no timer is set")
        self.now += max(timeout, 0.0)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """`adopt` is called with every task that is made, in the context of whoever makes it."""

    def __init__(self) -> None:
        self._jump = _Jump()
        super().__init__(self._jump)
        self._numbers = itertools.count(1)
        self.adopt: Callable[[asyncio.Task[Any]], None] = lambda task: None
        self.set_task_factory(self._task)

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._jump.now

    def create_future(self) -> asyncio.Future[Any]:
        """A future that hashes by number."""
        return NumberedFuture(next(self._numbers), loop=self)

    def _task(
        self,
        loop: asyncio.AbstractEventLoop,
        coroutine: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.Task[Any]:
        task = NumberedTask(next(self._numbers), coroutine, loop=loop, context=context)
        self.adopt(task)
        return task


class MachineClock:
    """The clock of one simulated machine: the loop's time; its wall clock can be set wrong."""

    def __init__(self) -> None:
        self.wrong_by = 0.0
        """Seconds that the wall clock is ahead of the true time."""

    def now(self) -> datetime:
        """The wall clock, as far off as it is."""
        return START + timedelta(seconds=self.monotonic() + self.wrong_by)

    def monotonic(self) -> float:
        """True seconds."""
        return asyncio.get_running_loop().time()

    boottime = monotonic

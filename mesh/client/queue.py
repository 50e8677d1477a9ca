"""The work queue: each key waits at most once, and is worked on by at most one worker at a time.

Doorbells that ring while a key waits are one run; those that ring while it is worked on are one more run afterwards.
So the queue is bounded by the number of keys. Delayed and failed keys wait on loop timers. Behaviour: client-go's
workqueue.
"""

from __future__ import annotations

import asyncio
import random
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class WorkQueue(Generic[K]):
    """A serial, deduplicated queue of keys; `rng` spreads the back-off of failed keys."""

    def __init__(self, rng: random.Random, *, first_delay: float = 0.05, most_delay: float = 60.0) -> None:
        self._rng = rng
        self._first_delay = first_delay
        self._most_delay = most_delay
        self._ready: OrderedDict[K, None] = OrderedDict()
        self._running: set[K] = set()
        self._again: set[K] = set()
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._failures: dict[K, int] = {}
        self._wakeup = asyncio.Event()

    def __len__(self) -> int:
        """How many keys are ready to run."""
        return len(self._ready)

    @property
    def idle(self) -> bool:
        """Whether no key is ready or running (some may still wait for their time)."""
        return not self._ready and not self._running

    def add(self, key: K) -> None:
        """Run `key` soon."""
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
        if key in self._running:
            self._again.add(key)
        elif key not in self._ready:
            self._ready[key] = None
            self._wakeup.set()

    def add_after(self, key: K, seconds: float) -> None:
        """Run `key` in `seconds`, unless it is to run earlier anyway."""
        if seconds <= 0:
            self.add(key)
            return
        loop = asyncio.get_running_loop()
        timer = self._timers.get(key)
        if timer is not None:
            if timer.when() <= loop.time() + seconds:
                return
            timer.cancel()
        self._timers[key] = loop.call_later(seconds, self._due, key)

    def retry(self, key: K) -> float:
        """Run `key` after its back-off, which doubles with each call until `forget`; returns it in seconds."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        whole = min(self._first_delay * 2.0 ** min(failures, 30), self._most_delay)
        delay = whole * self._rng.uniform(0.5, 1.0)
        self.add_after(key, delay)
        return delay

    def forget(self, key: K) -> None:
        """It worked: the next failure of `key` is its first."""
        self._failures.pop(key, None)

    async def get(self) -> K:
        """The next key to work on, oldest first; the caller owns it until it calls `done`."""
        while not self._ready:
            self._wakeup.clear()
            await self._wakeup.wait()
        key, _ = self._ready.popitem(last=False)
        self._running.add(key)
        return key

    def done(self, key: K) -> None:
        """The work on `key` is over; if it was added meanwhile, it is ready again."""
        self._running.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.add(key)

    def close(self) -> None:
        """Cancel all timers."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _due(self, key: K) -> None:
        del self._timers[key]
        self.add(key)

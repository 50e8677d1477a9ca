"""Taking turns: work that comes in bursts, spread over the event loop's iterations.

A thousand requests that arrive together would all be begun in one iteration of the loop; for half a second nothing else
would happen in the process, no heartbeat be answered and no leadership renewed. Whoever may be one of many therefore
takes a turn before he begins: a few are begun in each iteration, in the order in which they came.
"""

from __future__ import annotations

import asyncio
from collections import deque

AT_ONCE = 8
"""Turns in one iteration: some milliseconds of work, in which the iteration itself is not noticed."""


class Turns:
    """Turns of one kind of work in one process."""

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def take(self) -> None:
        """Return when it is our turn."""
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._give, loop)
        turn: asyncio.Future[None] = loop.create_future()
        self._waiting.append(turn)
        await turn

    def _give(self, loop: asyncio.AbstractEventLoop) -> None:
        given = 0
        while self._waiting and given < AT_ONCE:
            turn = self._waiting.popleft()
            if not turn.done():  # who was cancelled wants it no more
                turn.set_result(None)
                given += 1
        if self._waiting:
            loop.call_soon(self._give, loop)

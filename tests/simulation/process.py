"""Simulated processes: tasks that belong together and die together, as by kill -9.

Which process a task belongs to follows from who makes it. A bus handler runs in the process that subscribed, not in
that of the sender, as it would if there were two.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import Any

from mesh.bus.memory import MemoryBus
from mesh.bus.port import Message, Subscription

_CURRENT: ContextVar[Process | None] = ContextVar("process", default=None)
_ROUNDS = 1000
"""How many turns of the loop a killed process may take until its last task has ended."""


def adopt(task: asyncio.Task[Any]) -> None:
    """Make a new task part of the process that made it."""
    process = _CURRENT.get()
    if process is not None:
        process.tasks[task] = None
        task.add_done_callback(lambda done: process.tasks.pop(done, None))


@contextmanager
def _inside(process: Process | None) -> Iterator[None]:
    token = _CURRENT.set(process)
    try:
        yield
    finally:
        _CURRENT.reset(token)


def spawn_outside(work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    """A task of no process: part of the simulation itself, whoever asks for it."""
    with _inside(None):
        return asyncio.get_running_loop().create_task(work)


class Process:
    """A group of tasks. `cut` is called first when it is killed: from then on nothing it does has any effect."""

    def __init__(self, name: str, cut: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self.name = name
        self.tasks: dict[asyncio.Task[Any], None] = {}
        self._cut = cut

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run something in this process."""
        with self.inside():
            return asyncio.get_running_loop().create_task(work)

    def inside(self) -> AbstractContextManager[None]:
        """What is called in this block belongs to this process."""
        return _inside(self)

    async def kill(self) -> None:
        """End it, now. Its `finally` blocks run, but reach nobody any more."""
        await self._cut()
        for _ in range(_ROUNDS):
            if not self.tasks:
                return
            for task in tuple(self.tasks):
                task.cancel()
            await asyncio.sleep(0)
        raise RuntimeError(f"{self.name} does not end: {list(self.tasks)[:3]}")


class ProcessBus:
    """A `MemoryBus` whose handlers run in the process that owns it."""

    def __init__(self, bus: MemoryBus, process: Process) -> None:
        self._bus = bus
        self._process = process

    @property
    def identity(self) -> str:
        return self._bus.identity

    @property
    def connected(self) -> bool:
        return self._bus.connected

    async def publish(self, subject: str, data: bytes, *, reply: str = "") -> None:
        await self._bus.publish(subject, data, reply=reply)

    async def request(self, subject: str, data: bytes, *, timeout: float) -> bytes:
        return await self._bus.request(subject, data, timeout=timeout)

    async def subscribe(self, subject: str, handler: Callable[[Message], None], *, queue: str = "") -> Subscription:
        def at_home(message: Message) -> None:
            with self._process.inside():
                handler(message)

        return await self._bus.subscribe(subject, at_home, queue=queue)

    def new_inbox(self) -> str:
        return self._bus.new_inbox()

    def on_connection(self, handler: Callable[[bool], None]) -> None:
        def at_home(connected: bool) -> None:
            with self._process.inside():
                handler(connected)

        self._bus.on_connection(at_home)

    async def close(self) -> None:
        await self._bus.close()

"""The store in memory, for the simulation and for unit tests: same contract as JetStream's, no threads, no real time.

`Engine` is the "server" with the data; each process has a `MemoryStore` on it, with `Faults` on the way between them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from mesh.errors import Unavailable
from mesh.store.port import Entry, RevisionMismatch, Sink, Write


class Faults(Protocol):
    """What may go wrong between one process and the engine. Steps: "write", "ack", "read"."""

    @property
    def connected(self) -> bool:
        """Whether the engine is in reach; `MemoryStore.reconnected` has to be called when it is again."""

    def delay(self, step: str) -> float:
        """Seconds that this step takes on its way."""

    def lost(self, step: str) -> bool:
        """Whether what is sent in this step never arrives."""


class NoFaults:
    """Everything arrives at once."""

    connected = True

    def delay(self, step: str) -> float:
        """No time at all."""
        del step
        return 0.0

    def lost(self, step: str) -> bool:
        """Never."""
        del step
        return False


class Engine:
    """The data: the last version of every key, and one counter."""

    def __init__(self) -> None:
        self.revision = 0
        self.entries: dict[str, Entry] = {}
        """By key, in revision order."""
        self._listeners: list[Callable[[Entry], None]] = []

    def apply(self, write: Write) -> int:
        """Compare and set."""
        last = self.entries.get(write.key)
        current = last.revision if last is not None and last.value is not None else 0
        if current != write.expected:
            raise RevisionMismatch(write.key, write.expected)
        self.revision += 1
        entry = Entry(write.key, write.value, self.revision)
        self.entries.pop(write.key, None)
        self.entries[write.key] = entry
        for listener in list(self._listeners):
            listener(entry)
        return self.revision

    def listen(self, listener: Callable[[Entry], None]) -> None:
        """Call `listener` with every entry, as it is written."""
        self._listeners.append(listener)

    def unlisten(self, listener: Callable[[Entry], None]) -> None:
        """Stop that."""
        self._listeners.remove(listener)


class MemoryStore:
    """`mesh.store.port.Store` on an `Engine`."""

    def __init__(self, engine: Engine | None = None, faults: Faults | None = None) -> None:
        self._engine = engine or Engine()
        self._faults = faults or NoFaults()
        self._followers: set[_MemoryFollower] = set()
        self._closed = False

    async def write(self, write: Write) -> int:
        """Compare and set. A lost acknowledgement is `Unavailable`, and the write has happened."""
        await self._pass("write")
        revision = self._engine.apply(write)
        await self._pass("ack")
        return revision

    async def follow(self, sink: Sink, *, after: int = 0) -> _MemoryFollower:
        """Deliver everything after a revision."""
        follower = _MemoryFollower(self._engine, self._faults, sink, after)
        self._followers.add(follower)
        follower.resume()
        return follower

    async def last_revision(self) -> int:
        """The counter."""
        await self._pass("read")
        return self._engine.revision

    async def close(self) -> None:
        """Stop following; later calls raise `Unavailable`."""
        self._closed = True
        for follower in self._followers:
            await follower.stop()

    def reconnected(self) -> None:
        """The engine is in reach again: followers catch up."""
        for follower in self._followers:
            follower.resume()

    async def _pass(self, step: str) -> None:
        await asyncio.sleep(self._faults.delay(step))
        if self._closed or not self._faults.connected or self._faults.lost(step):
            raise Unavailable("the store does not answer")


class _MemoryFollower:
    """Delivers from a queue of its own, one turn of the loop after the write."""

    def __init__(self, engine: Engine, faults: Faults, sink: Sink, after: int) -> None:
        self._engine = engine
        self._faults = faults
        self._sink = sink
        self._last = after
        self._queue: list[Entry] = []
        self._behind = True
        self._scheduled = False
        self._stopped = False
        engine.listen(self._on_entry)

    async def stop(self) -> None:
        """End it."""
        if not self._stopped:
            self._stopped = True
            self._engine.unlisten(self._on_entry)

    def resume(self) -> None:
        """Read everything newer than what was delivered, as after a reconnection."""
        self._behind = True
        self._schedule()

    def _on_entry(self, entry: Entry) -> None:
        if not self._faults.connected:
            self._behind = True
            return
        self._queue.append(entry)
        self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_later(self._faults.delay("read"), self._deliver)

    def _deliver(self) -> None:
        self._scheduled = False
        if self._stopped or not self._faults.connected:
            return
        entries, self._queue = self._queue, []
        behind, self._behind = self._behind, False
        if behind:
            entries = [entry for entry in self._engine.entries.values() if entry.revision > self._last]
        for entry in entries:
            if entry.revision > self._last and not self._stopped:
                self._last = entry.revision
                self._sink.entry(entry)
        if behind and not self._stopped:
            self._sink.caught_up(self._engine.revision)

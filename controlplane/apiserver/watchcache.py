"""The watch cache: follows a store into memory, and is where every read and every watch is served from.

One `WatchCache` follows one store and holds a `ResourceCache` (`resourcecache.py`) for each resource in it. Reads that
must be current wait until the cache has reached the store's last revision; writers wait until it has seen their own
write. Nothing here knows HTTP, users or the rules of kinds.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
from collections.abc import Callable, Coroutine, Iterable, Mapping

from controlplane.apiserver import refusals
from controlplane.apiserver.resourcecache import ResourceCache
from mesh.clock import Clock
from mesh.errors import Timeout, Unavailable
from mesh.objects.kinds import Resource
from mesh.objects.types import Object
from mesh.store import keys
from mesh.store.port import Entry, Following, Store

log = logging.getLogger(__name__)

PATIENCE = 3.0
"""Seconds a read waits for the cache to reach the revision it needs."""
TICK = 5.0
"""Seconds between bookmarks to idle watchers."""


class WatchCache:
    """The objects of some resources as a `Store` holds them, followed live. It is the `Sink` of its own following."""

    def __init__(
        self,
        store: Store,
        resources: Iterable[Resource],
        clock: Clock,
        *,
        triggers: Mapping[Resource, Mapping[str, Callable[[Object], str]]],
        expire_after: float | None = None,
    ) -> None:
        """`triggers` names, for each resource, the fields by which watchers are indexed. Objects older than
        `expire_after` seconds are forgotten (the events store expires them without telling)."""
        self.store = store
        self._clock = clock
        self._expire_after = expire_after
        self._by_name = {(r.group, r.plural): ResourceCache(r, clock, triggers.get(r, {})) for r in resources}
        self.resources = {cache.resource: cache for cache in self._by_name.values()}
        self.revision = 0
        self.ready = False
        self._gap_after: int | None = None
        self._own: dict[str, tuple[bytes, Object]] = {}
        self._waiters: list[tuple[int, int, asyncio.Future[None]]] = []
        self._order = itertools.count()
        self._following: Following | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._first_snapshot = asyncio.Event()

    @property
    def expires(self) -> bool:
        """Whether the store forgets these objects in time, without telling."""
        return self._expire_after is not None

    # Life

    async def start(self) -> None:
        """Follow the store; returns once the first snapshot is complete."""
        self._following = await self.store.follow(self)
        self._spawn(self._tick())
        await self._first_snapshot.wait()

    async def stop(self) -> None:
        """End the following and every watch."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._following is not None:
            await self._following.stop()
        for cache in self.resources.values():
            cache.close_watchers()

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK)
            for cache in self.resources.values():
                if self._expire_after is not None:
                    cache.expire(self._clock.monotonic() - self._expire_after, self.revision)
                if self.ready:
                    cache.bookmark(self.revision)

    # Sink

    def entry(self, entry: Entry) -> None:
        """One version of one key, from the store."""
        if self.ready:
            self._note_gap(entry.revision)
        group, plural, key = keys.parse(entry.key)
        cache = self._by_name.get((group, plural))
        if cache is not None:
            own = self._own.pop(entry.key, None)
            decoded = own[1] if own is not None and own[0] == entry.value else None
            cache.apply(key, entry.value, entry.revision, decoded, live=self.ready)
        self._reached(entry.revision)

    def _note_gap(self, revision: int) -> None:
        """The store's revisions are consecutive: where one is missing, a version was superseded before we could read
        it. What took its place is in the store already, so the gap ends when we have caught up with that."""
        if self._gap_after is None and revision > self.revision + 1:
            self._gap_after = self.revision
            self._spawn(self._close_gap())
        if self._gap_after is not None:
            for cache in self.resources.values():
                cache.skipped(self._gap_after, revision)

    async def _close_gap(self) -> None:
        while True:
            try:
                await self.catch_up()
                break
            except (Unavailable, Timeout) as error:
                log.info("store does not answer, trying again: %s", error)
                await asyncio.sleep(1)
        self._gap_after = None

    def caught_up(self, revision: int) -> None:
        """The snapshot is complete, or a lost connection has been made good."""
        if not self._first_snapshot.is_set():
            for cache in self.resources.values():
                cache.start_ring(max(revision, self.revision))
            self._first_snapshot.set()
        self.ready = True
        self._reached(revision)

    def lost(self, error: Exception) -> None:
        """The following cannot go on: end every watch and begin anew, empty."""
        log.warning("watch cache lost its place in the store, reading everything again", exc_info=error)
        self.ready = False
        self.revision = 0
        self._gap_after = None
        self._first_snapshot.clear()
        for cache in self.resources.values():
            cache.clear()
        self._spawn(self._follow_again())

    async def _follow_again(self) -> None:
        while True:
            try:
                self._following = await self.store.follow(self)
                return
            except Unavailable as error:
                log.warning("store does not answer, trying again: %s", error)
                await asyncio.sleep(1)

    # Freshness

    def expect(self, key: str, value: bytes, obj: Object) -> None:
        """Announce a write of our own, so that its arrival need not be decoded; `obj` becomes the cache's."""
        self._own[key] = (value, obj)

    def forget(self, key: str) -> None:
        """The announced write failed."""
        self._own.pop(key, None)

    def _reached(self, revision: int) -> None:
        self.revision = max(self.revision, revision)
        while self._waiters and self._waiters[0][0] <= self.revision:
            future = heapq.heappop(self._waiters)[2]
            if not future.done():
                future.set_result(None)

    async def wait_for(self, revision: int, *, patience: float = PATIENCE) -> None:
        """Return once the cache has reached `revision`; raises `Timeout` ("Too large resource version") otherwise."""
        if self.revision >= revision:
            return
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        heapq.heappush(self._waiters, (revision, next(self._order), future))
        # A plain timer: asyncio.timeout would cost more than the wait, on the path of every write.
        timer = loop.call_later(patience, self._give_up, future, revision)
        try:
            await future
        finally:
            timer.cancel()

    def _give_up(self, future: asyncio.Future[None], revision: int) -> None:
        if not future.done():
            future.set_exception(refusals.too_new(revision, self.revision))

    async def catch_up(self) -> int:
        """Wait until the cache holds every write acknowledged so far; returns a revision that has seen them."""
        await self.wait_for(await self.store.last_revision())
        return self.revision

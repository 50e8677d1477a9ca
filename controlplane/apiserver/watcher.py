"""One open watch: selects changes, turns them into encoded events, and queues them with a bound.

A watcher that does not keep up is closed instead of being fed without bound; its client resumes from the last
resourceVersion it saw. Events are bytes shared by all watchers of the same representation.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import orjson

from controlplane.apiserver.cached import ADDED, BOOKMARK, DELETED, ERROR, MODIFIED, Change, Item, event
from mesh.objects.labels import Selector
from mesh.objects.types import Object

QUEUE = 8192
"""Events that may wait for one watcher before it is closed."""


FieldGetter = Callable[[Object], str]
FieldTerm = tuple[str, FieldGetter, str, bool]
"""One condition of a field selector: label, how to read it from an object, value, whether equal or not."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Which objects a list or watch is about. Without a selector all of the namespace ("" is all namespaces) are."""

    namespace: str = ""
    labels: Selector | None = None
    fields: tuple[FieldTerm, ...] = ()

    @property
    def selects(self) -> bool:
        """Whether anything but the namespace narrows it."""
        return self.labels is not None or bool(self.fields)

    def holds(self, item: Item | None) -> bool:
        """Whether the item is in scope."""
        if item is None or (self.namespace and not item.path.startswith(self.namespace + "/")):
            return False
        obj = item.object
        if any((get(obj) == value) is not equal for _, get, value, equal in self.fields):
            return False
        return self.labels is None or self.labels.matches(obj["metadata"].get("labels") or {})


Encode = Callable[[str, Item, bool], bytes]
"""(event type, item, first) -> the event in another representation (a table, metadata alone)."""


class Watcher:
    """An asynchronous iterator of encoded events, fed by a `ResourceCache`."""

    def __init__(self, scope: Scope, *, bookmarks: bool, encode: Encode | None = None) -> None:
        self.scope = scope
        self._bookmarks = bookmarks
        self._encode = encode
        self._first = True
        self._queue: deque[bytes] = deque()
        self._wake: asyncio.Future[None] | None = None
        self._closed = False
        self.on_close: Callable[[], None] = lambda: None

    def offer(self, change: Change) -> None:
        """Queue the change if it concerns this watch."""
        type_ = self._seen_as(change)
        if type_ and not self._closed:
            if len(self._queue) >= QUEUE:
                self._queue.clear()
                self.close()
                return
            self._put(self._render(type_, change))

    def _seen_as(self, change: Change) -> str:
        """The event's type for this watch: an object that begins or ceases to be selected is ADDED or DELETED."""
        scope = self.scope
        if change.type == DELETED:
            return DELETED if scope.holds(change.previous) else ""
        if not scope.holds(change.item):
            return DELETED if scope.selects and scope.holds(change.previous) else ""
        if change.type == ADDED:
            return ADDED
        return MODIFIED if not scope.selects or scope.holds(change.previous) else ADDED

    def _render(self, type_: str, change: Change) -> bytes:
        if self._encode is None:
            return change.encoded(type_)
        item = change.item
        if type_ == DELETED and change.type != DELETED and change.previous is not None:
            item = change.previous.at(item.revision)
        return self._represent(type_, item)

    def _represent(self, type_: str, item: Item) -> bytes:
        if self._encode is None:
            return event(type_, item.data)
        first, self._first = self._first, False
        return self._encode(type_, item, first)

    def add_existing(self, item: Item) -> None:
        """Queue an object that is there already, as ADDED."""
        if self.scope.holds(item):
            self._queue.append(self._represent(ADDED, item))

    def offer_bookmark(self, data: bytes) -> None:
        """Queue a bookmark if the client takes them and nothing else is waiting."""
        if self._bookmarks and not self._queue and not self._closed:
            self._put(event(BOOKMARK, data))

    def end_of_initial_events(self, obj: Object) -> None:
        """Queue the bookmark that ends the initial events of a streamed list."""
        self._put(event(BOOKMARK, orjson.dumps(obj)))

    def _put(self, data: bytes) -> None:
        self._queue.append(data)
        self._awaken()

    def _awaken(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    def close(self, status: Object | None = None) -> None:
        """End the watch after what is queued; `status` becomes an ERROR event before the end."""
        if self._closed:
            return
        if status is not None:
            self._queue.append(event(ERROR, orjson.dumps(status)))
        self._closed = True
        self._awaken()

    def take(self) -> list[bytes]:
        """All events that are waiting, without waiting: lets a front end write many at once."""
        waiting = list(self._queue)
        self._queue.clear()
        return waiting

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        while not self._queue:
            if self._closed:
                self.on_close()
                raise StopAsyncIteration
            self._wake = asyncio.get_running_loop().create_future()
            await self._wake
        return self._queue.popleft()

    async def aclose(self) -> None:
        """The client is gone."""
        self._queue.clear()
        self.close()
        self.on_close()

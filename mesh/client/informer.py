"""Informers: a cache of one resource that follows the API, and doorbells for whoever cares about a change.

List once, then watch from there; after a lost watch resume from the last revision seen; when that is too old (410),
list again and deliver the difference. Events that come twice are delivered once. Behaviour: client-go's reflector.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial

from mesh.api.port import WatchEvent
from mesh.client.backoff import Backoff
from mesh.client.cache import ObjectCache
from mesh.client.client import Client, Listing
from mesh.client.handlers import Handler, Newcomer
from mesh.errors import ApiError, Gone, Unavailable
from mesh.objects.kinds import Resource
from mesh.objects.labels import Selector
from mesh.objects.meta import Key, is_deleting, key_of, uid_of
from mesh.objects.types import Object
from mesh.plan.controller import IndexFunction

log = logging.getLogger(__name__)

_WATCH_SECONDS = (300, 600)
"""A watch is asked to end after a random time in this range, so that servers can rebalance."""
_PAGE = 500
"""Objects fetched at a time, as client-go does: decoding takes some tens of milliseconds."""
_PORTION = 50
"""Objects told in a row; then everybody else in the process has a turn."""


_Waiters = list[tuple[Callable[[], bool], "asyncio.Future[None]"]]
_Handlers = list[Handler]


class Informer:
    """The cache of one resource, in one namespace ("" is all), narrowed by selectors.

    Implements `mesh.plan.controller.Cache`. `run` follows the API until it is cancelled. Environment variable
    COVEY_DETECT_MUTATIONS makes every cache check that nobody changes what it holds.
    """

    def __init__(
        self,
        client: Client,
        resource: Resource,
        rng: random.Random,
        *,
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
        detect_mutations: bool = False,
    ) -> None:
        self._client = client
        self._resource = resource
        self._rng = rng
        self._namespace = namespace
        self._label_selector = label_selector
        self._field_selector = field_selector
        self._cache = ObjectCache(detect_mutations=detect_mutations or "COVEY_DETECT_MUTATIONS" in os.environ)
        self._handlers: _Handlers = []
        self._revision = 0
        self._listed = False
        self._epoch = 0
        self._waiting: _Waiters = []
        self._synced = asyncio.Event()
        self._backoff = Backoff(rng, first=0.05, most=2.0)

    @property
    def resource(self) -> Resource:
        """What it caches."""
        return self._resource

    @property
    def revision(self) -> int:
        """Every change to the resource up to this revision is in the cache; bookmarks move it too."""
        return self._revision

    @property
    def has_synced(self) -> bool:
        """Whether the first list is in."""
        return self._synced.is_set()

    async def synced(self) -> None:
        """Wait for the first list."""
        await self._synced.wait()

    async def reached(self, revision: int) -> None:
        """Wait until every change up to `revision` is in the cache. For resources of the store, whose revisions are
        one counter: a write's own revision is seen here once the cache knows of it."""
        epoch = self._epoch
        # A store that was replaced counts from its own beginning: nobody may wait for the old one's numbers.
        await self._until(lambda: self._revision >= revision or self._epoch != epoch)

    async def deletion_seen(self, key: Key, uid: str) -> None:
        """Wait until the cache knows that the object with this UID is deleted, or marked for it."""

        def seen() -> bool:
            obj = self._cache.get(key)
            return obj is None or uid_of(obj) != uid or is_deleting(obj)

        await self._until(seen)

    def add_index(self, name: str, function: IndexFunction) -> None:
        """Declare an index; raises ValueError for a name that another function has."""
        self._cache.add_index(name, function)

    def add_handler(self, handler: Handler) -> None:
        """Call `handler` for every change from now on, and at once for every object already known."""
        self._handlers.append(handler)
        for obj in self._cache.list():
            self._call(handler, None, obj)

    @contextlib.asynccontextmanager
    async def telling(self, handler: Handler) -> AsyncIterator[None]:
        """Call `handler` for every change while this lasts. Entering it tells of every object already known, in
        portions between which others have a turn: there may be tens of thousands."""
        newcomer = Newcomer(handler, self._cache.keys())
        self._handlers.append(newcomer)
        try:
            told = 0
            while (key := newcomer.next()) is not None:
                self._call(newcomer, None, self._cache.get(key))
                told += 1
                if not told % _PORTION:
                    await asyncio.sleep(0)
            yield
        finally:
            self._handlers.remove(newcomer)

    def get(self, key: Key) -> Object | None:
        """The object, or None. Read-only."""
        return self._cache.get(key)

    def list(self, namespace: str = "", selector: Selector | None = None) -> Sequence[Object]:
        """Objects of one namespace ("" is all) that match, in no particular order. Read-only."""
        return self._cache.list(namespace, selector)

    def index(self, name: str, value: str) -> Sequence[Object]:
        """Objects filed under `value` in a declared index. Read-only."""
        return self._cache.index(name, value)

    def verify(self) -> None:
        """Raise `CachedObjectChanged` if anybody changed a cached object (only with mutation detection)."""
        self._cache.verify()

    async def run(self) -> None:
        """Follow the API until cancelled. Refusals and lost connections are logged and tried again."""
        while True:
            try:
                if not self._listed:
                    await self._relist()
                await self._follow()
            except Gone as error:
                log.info("informer.relist resource=%s reason=%s", self._resource.qualified, error)
                self._listed = False
            except Unavailable as error:
                log.debug("informer.lost resource=%s reason=%s", self._resource.qualified, error)
            except ApiError as error:
                log.warning("informer.refused resource=%s reason=%s", self._resource.qualified, error)
                self._listed = False
            await asyncio.sleep(self._backoff.next())

    async def _relist(self) -> None:
        """Fetch everything and deliver the difference to what is cached."""
        listing = await self._list()
        present = {key_of(obj): obj for obj in listing.items}
        gone = [key for key in self._cache.keys() if key not in present]  # noqa: SIM118 - not a dict
        # Removals first: who reacts to an addition must not still see what has gone before it.
        for key in gone:
            self._remove(key, None)
        for number, (key, obj) in enumerate(present.items(), 1):
            old = self._cache.get(key)
            if old is None or revision_of(old) != revision_of(obj) or uid_of(old) != uid_of(obj):
                self._put(obj)
            if not number % _PORTION:
                await asyncio.sleep(0)
        self._listed = True
        revision = int(listing.resource_version)
        self._epoch += revision < self._revision
        self._revision = revision
        self._wake()
        self._synced.set()

    async def _list(self) -> Listing:
        """Everything, page by page; in one piece when the server has forgotten meanwhile what the pages were of."""
        everything = partial(
            self._client.list,
            self._resource,
            self._namespace,
            label_selector=self._label_selector,
            field_selector=self._field_selector,
        )
        try:
            return await everything(limit=_PAGE)
        except Gone:
            return await everything()

    async def _follow(self) -> None:
        """One watch, to its end."""
        events = self._client.watch(
            self._resource,
            self._namespace,
            resource_version=str(self._revision),
            label_selector=self._label_selector,
            field_selector=self._field_selector,
            timeout_seconds=self._rng.randint(*_WATCH_SECONDS),
        )
        async for event in events:
            self._backoff.reset()
            self._apply(event)

    def _apply(self, event: WatchEvent) -> None:
        """Take one event into the cache, unless it tells what is known already."""
        obj = event.object
        revision = revision_of(obj)
        if event.type in {"ADDED", "MODIFIED"}:
            if revision > self._revision:
                self._put(obj)
        elif event.type == "DELETED":
            known = self._cache.get(key_of(obj))
            if known is not None and revision >= revision_of(known):
                self._remove(key_of(obj), obj)
        elif event.type != "BOOKMARK":
            log.warning("informer.unknown_event resource=%s type=%s", self._resource.qualified, event.type)
        self._revision = max(self._revision, revision)
        self._wake()

    def _put(self, obj: Object) -> None:
        old = self._cache.put(obj)
        if old is not None and uid_of(old) != uid_of(obj):
            # Deleted and created again while nobody looked: two changes, so that nobody takes one for the other.
            self._notify(old, None)
            old = None
        self._notify(old, obj)

    def _remove(self, key: Key, last: Object | None) -> None:
        old = self._cache.remove(key)
        self._notify(last or old, None)

    def _notify(self, old: Object | None, new: Object | None) -> None:
        for handler in tuple(self._handlers):
            self._call(handler, old, new)

    def _call(self, handler: Handler, old: Object | None, new: Object | None) -> None:
        """A handler that raises has a fault of its own; the cache and the other handlers go on."""
        try:
            handler(old, new)
        except Exception:
            log.exception("informer.handler_failed resource=%s handler=%r", self._resource.qualified, handler)

    async def _until(self, condition: Callable[[], bool]) -> None:
        """Wait until `condition`, which is asked again after every change to the cache."""
        if condition():
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((condition, future))
        await future

    def _wake(self) -> None:
        """Let those go whose condition holds now, and forget those who no longer wait."""
        still: _Waiters = []
        for condition, future in self._waiting:
            if future.done():
                continue
            if condition():
                future.set_result(None)
            else:
                still.append((condition, future))
        self._waiting = still


def revision_of(obj: Object) -> int:
    """`metadata.resourceVersion` as a number; 0 when absent."""
    return int(obj["metadata"].get("resourceVersion") or 0)

"""Where the pipeline reads and writes objects: the watch caches in front of the stores.

A write is compare-and-set on the revision of the cached item it was made from; its author's next read sees it. Nothing
here knows the rules of kinds: `writes.py` and `deletes.py` decide what is written.
"""

from __future__ import annotations

from collections.abc import Mapping

from controlplane.apiserver import refusals
from controlplane.apiserver.cached import Item, encode_for_store
from controlplane.apiserver.decode import MAX_OBJECT
from controlplane.apiserver.resourcecache import ResourceCache, path_of
from controlplane.apiserver.watchcache import WatchCache
from mesh.errors import Timeout, Unavailable
from mesh.objects.kinds import Resource
from mesh.objects.meta import Key
from mesh.objects.types import Object
from mesh.store import keys
from mesh.store.port import Write


class Registry:
    """All objects of all resources, each in the watch cache that holds its resource."""

    def __init__(self, *caches: WatchCache) -> None:
        self.caches = caches
        self._cache_of: Mapping[Resource, WatchCache] = {r: cache for cache in caches for r in cache.resources}

    def cache(self, resource: Resource) -> WatchCache:
        """The watch cache that follows this resource's store."""
        cache = self._cache_of[resource]
        if not cache.ready:
            raise Unavailable("the server has not read the cluster store yet, try again", retry_after_seconds=1)
        return cache

    def objects(self, resource: Resource) -> ResourceCache:
        """The cached objects of a resource."""
        return self.cache(resource).resources[resource]

    def known(self, resource: Resource, namespace: str, name: str) -> Item | None:
        """The object as far as this server knows: may lag behind other servers' writes."""
        return self.objects(resource).get(namespace, name)

    async def current(self, resource: Resource, namespace: str, name: str) -> Item | None:
        """The object as known, for a write that compare-and-set guards; absence is made certain."""
        item = self.known(resource, namespace, name)
        if item is None:
            await self.cache(resource).catch_up()
            item = self.known(resource, namespace, name)
        return item

    async def latest(self, resource: Resource, namespace: str, name: str) -> Item | None:
        """The object as of now: every write acknowledged by any server before this call is seen."""
        await self.cache(resource).catch_up()
        return self.known(resource, namespace, name)

    async def write(self, resource: Resource, obj: Object, expected: int) -> Item:
        """Store `obj` if its revision is `expected` (0: it must not exist); `obj` becomes the cache's own.

        Raises `RevisionMismatch`, `RequestTooLarge` or `Unavailable`.
        """
        value = encode_for_store(obj)
        if len(value) > MAX_OBJECT:
            raise refusals.too_large(f'{resource.singular} "{obj["metadata"]["name"]}"', len(value), MAX_OBJECT)
        cache = self.cache(resource)
        key = Key(obj["metadata"].get("namespace", ""), obj["metadata"]["name"])
        store_key = keys.key_for(resource, key)
        cache.expect(store_key, value, obj)
        try:
            revision = await cache.store.write(Write(store_key, value, expected))
            await self._seen(cache, revision)
        finally:
            cache.forget(store_key)
        item = cache.resources[resource].get(key.namespace, key.name)
        if item is None or item.revision != revision:
            item = Item.stored(path_of(key), value, revision)
        return item

    async def remove(self, resource: Resource, item: Item) -> Item:
        """Delete the object if it is still at the item's revision; returns it as its DELETED event shows it."""
        cache = self.cache(resource)
        namespace, _, name = item.path.partition("/")
        write = Write(keys.key_for(resource, Key(namespace, name)), None, item.revision)
        revision = await cache.store.write(write)
        await self._seen(cache, revision)
        return item.at(revision)

    async def refused(self, resource: Resource, item: Item) -> None:
        """The store holds another version than `item`: wait until it is known. An Event that is still known as it was
        is no longer there at all: Events end by themselves, and the store tells nobody."""
        cache = self.cache(resource)
        await cache.catch_up()
        held = cache.resources[resource]
        if cache.expires and held.items.get(item.path) is item:
            held.drop(item, cache.revision)

    async def _seen(self, cache: WatchCache, revision: int) -> None:
        """Let the writer's next read see the write. The write is done: a cache that lags cannot undo it."""
        try:
            await cache.wait_for(revision)
        except Timeout:
            return

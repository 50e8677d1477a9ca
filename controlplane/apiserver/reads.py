"""GET, LIST and WATCH: served from the watch cache, as current as the client asks.

Source: https://kubernetes.io/docs/reference/using-api/api-concepts/ (resource versions, chunking, streaming lists).
"""

from __future__ import annotations

import asyncio
import random

from controlplane.apiserver import listing, refusals
from controlplane.apiserver.cached import Item
from controlplane.apiserver.listing import INCONSISTENT, ContinueExpired, ListOptions
from controlplane.apiserver.registry import Registry
from controlplane.apiserver.render import ListMeta, Renderer
from controlplane.apiserver.resourcecache import ResourceCache
from controlplane.apiserver.routes import Route
from controlplane.apiserver.strategies.registry import strategy_for
from controlplane.apiserver.strategies.strategy import Strategy
from controlplane.apiserver.watchcache import WatchCache
from controlplane.apiserver.watcher import FieldGetter, FieldTerm, Scope, Watcher
from mesh.api.port import Request, Response
from mesh.errors import BadRequest, Gone
from mesh.objects import fields, labels
from mesh.objects.kinds import EVENTS
from mesh.objects.meta import name_of, namespace_of

MIN_WATCH = 1800.0
"""A watch without timeoutSeconds ends after this many seconds to twice as many, so that clients spread out."""

_METADATA: dict[str, FieldGetter] = {"metadata.name": name_of, "metadata.namespace": namespace_of}


def scope_of(request: Request, route: Route) -> Scope:
    """What a list, watch or deletecollection request selects; raises `BadRequest` for selectors it cannot read."""
    strategy = strategy_for(route.resource)
    selector = labels.parse(request.param("labelSelector"))
    terms: list[FieldTerm] = [
        (term.field, _getter(strategy, term.field), term.value, term.equal)
        for term in fields.parse(request.param("fieldSelector")).terms
    ]
    if route.name:
        terms.append(("metadata.name", name_of, route.name, True))
    return Scope(route.namespace, None if selector.everything else selector, tuple(terms))


def _getter(strategy: Strategy, label: str) -> FieldGetter:
    if label not in strategy.field_labels:
        raise BadRequest(f"field label not supported: {label}")
    return _METADATA.get(label) or strategy.fields[label]


class Reads:
    """Answers the reading verbs."""

    def __init__(self, registry: Registry, rng: random.Random) -> None:
        self._registry = registry
        self._rng = rng

    async def get(self, request: Request, route: Route, renderer: Renderer) -> Response:
        """One object, or `NotFound`. resourceVersion=0 takes what the cache has, N waits for at least N."""
        options = listing.options_of(request, watch=False)
        if options.revision is None:
            item = await self._registry.latest(route.resource, route.namespace, route.name)
        else:
            await self._registry.cache(route.resource).wait_for(options.revision)
            item = self._registry.known(route.resource, route.namespace, route.name)
        if item is None:
            raise refusals.not_found(route.resource, route.name)
        return renderer.object(item)

    async def collection(self, request: Request, route: Route, renderer: Renderer) -> Response:
        """A collection, whole or one page of it."""
        options = listing.options_of(request, watch=False)
        scope = scope_of(request, route)
        if options.continue_token:
            revision, items = await self._continued(options, route)
        else:
            revision, items = await self._fresh(options, route)
        chosen = [item for item in items if scope.holds(item)] if scope.selects else items
        if not options.limit or len(chosen) <= options.limit:
            return renderer.list(chosen, ListMeta(revision))
        if not options.continue_token:
            self._registry.objects(route.resource).keep_snapshot(revision, route.namespace, items)
        page = chosen[: options.limit]
        remaining = None if scope.selects else len(chosen) - options.limit
        token = listing.make_token(revision, page[-1].path)
        return renderer.list(page, ListMeta(revision, token, remaining))

    async def _fresh(self, options: ListOptions, route: Route) -> tuple[int, list[Item]]:
        """The collection as of now, or as of the revision asked for."""
        cache = self._registry.cache(route.resource)
        objects = cache.resources[route.resource]
        wanted = options.revision
        if wanted is None:
            return await cache.catch_up(), objects.ordered(route.namespace)
        await cache.wait_for(wanted)
        exact = options.match == "Exact" or (not options.match and options.limit > 0 and wanted > 0)
        if not exact:
            return cache.revision, objects.ordered(route.namespace)
        if objects.last_change <= wanted:
            return wanted, objects.ordered(route.namespace)
        items = objects.snapshot(wanted, route.namespace)
        if items is None:
            raise Gone("The resourceVersion for the provided list is too old.")
        return wanted, items

    async def _continued(self, options: ListOptions, route: Route) -> tuple[int, list[Item]]:
        """What is left of a paged list, at its own revision or, for an inconsistent token, at the present one."""
        if options.revision:
            raise BadRequest("specifying resource version is not allowed when using continue")
        revision, start = listing.read_token(options.continue_token)
        cache = self._registry.cache(route.resource)
        objects = cache.resources[route.resource]
        items: list[Item] | None
        if revision == INCONSISTENT:
            revision, items = await cache.catch_up(), objects.ordered(route.namespace)
        elif objects.last_change <= revision:
            items = objects.ordered(route.namespace)
        else:
            items = objects.snapshot(revision, route.namespace)
        if items is None:
            raise ContinueExpired(start)
        return revision, [item for item in items if item.path > start]

    async def watch(self, request: Request, route: Route, renderer: Renderer) -> Watcher:
        """A watch from the revision asked for; without one (or 0) it begins with what is there, as ADDED events."""
        options = listing.options_of(request, watch=True)
        scope = scope_of(request, route)
        cache = self._registry.cache(route.resource)
        objects = cache.resources[route.resource]
        watcher = Watcher(scope, bookmarks=options.bookmarks, encode=None if renderer.plain else renderer.event)
        await self._wait(cache, route, options)
        # From here to add_watcher nothing may wait: the watcher must miss no change.
        if options.send_initial_events or not options.revision:
            for item in objects.ordered(route.namespace):
                watcher.add_existing(item)
            if options.send_initial_events and options.bookmarks:
                watcher.end_of_initial_events(_initial_events_end(route, cache.revision))
        else:
            for change in objects.changes_after(options.revision):
                watcher.offer(change)
        self._open(watcher, objects, options)
        return watcher

    async def _wait(self, cache: WatchCache, route: Route, options: ListOptions) -> None:
        if options.revision is None:
            await cache.catch_up()
        elif options.revision > cache.revision:
            if route.resource is EVENTS and options.revision > await cache.catch_up():
                # Events are not synced to disk: after a crash their counter may have gone back.
                raise refusals.too_old(options.revision, cache.revision)
            await cache.wait_for(options.revision)

    def _open(self, watcher: Watcher, objects: ResourceCache, options: ListOptions) -> None:
        seconds = options.timeout_seconds or MIN_WATCH * (1 + self._rng.random())
        timer = asyncio.get_running_loop().call_later(seconds, watcher.close)

        def closed() -> None:
            timer.cancel()
            objects.remove_watcher(watcher)

        watcher.on_close = closed
        objects.add_watcher(watcher)


def _initial_events_end(route: Route, revision: int) -> dict[str, object]:
    return {
        "kind": route.resource.kind,
        "apiVersion": route.resource.api_version,
        "metadata": {
            "resourceVersion": str(revision),
            "creationTimestamp": None,
            "annotations": {"k8s.io/initial-events-end": "true"},
        },
    }

"""DELETE of an object and of a collection: `deletion.py` decides, this carries it out with compare-and-set."""

from __future__ import annotations

import asyncio

from controlplane.apiserver import admission, deletion, listing, refusals
from controlplane.apiserver.allocation import Allocation
from controlplane.apiserver.cached import Item
from controlplane.apiserver.decode import decode
from controlplane.apiserver.deletion import AlreadyMarked, DeleteOptions, Mark
from controlplane.apiserver.reads import scope_of
from controlplane.apiserver.registry import Registry
from controlplane.apiserver.render import ListMeta, Renderer
from controlplane.apiserver.routes import Route
from controlplane.apiserver.strategies.registry import strategy_for
from controlplane.apiserver.writes import ATTEMPTS
from mesh.api.port import Request, Response
from mesh.clock import Clock
from mesh.errors import BadRequest, CoveyError, NotFound
from mesh.objects import schema
from mesh.objects.kinds import NAMESPACES, PODS, SERVICEACCOUNTS, SERVICES, Resource
from mesh.objects.types import Object
from mesh.store.port import RevisionMismatch
from mesh.turns import Turns

_ANSWER_WITH_OBJECT = frozenset({PODS, SERVICES, SERVICEACCOUNTS, NAMESPACES})
"""Kinds whose deletion answers with the object; the others answer with a Status once they are gone."""
AT_ONCE = 128
"""Objects of a collection that are being deleted at the same time."""


class Deletes:
    """Answers the deleting verbs."""

    def __init__(self, registry: Registry, allocation: Allocation, clock: Clock) -> None:
        self._registry = registry
        self._allocation = allocation
        self._clock = clock
        self._turns = Turns()

    async def delete(self, request: Request, route: Route, renderer: Renderer) -> Response:
        """One object."""
        options = _options(request)
        item, gone = await self.delete_object(route, options)
        if not gone or route.resource in _ANSWER_WITH_OBJECT:
            status = 202 if not gone and options.propagation == "Orphan" else 200
            return renderer.object(item, status=status)
        return renderer.value(_success(route, item))

    async def delete_object(self, route: Route, options: DeleteOptions) -> tuple[Item, bool]:
        """Delete or mark one object; returns it and whether it is gone. Raises `NotFound` or `Conflict`."""
        resource = route.resource
        admission.check_delete(resource, route.name)
        for _ in range(ATTEMPTS):
            item = await self._registry.current(resource, route.namespace, route.name)
            if item is None:
                raise refusals.not_found(resource, route.name)
            item = await self._agreed(item, route, options)
            decision = deletion.decide(item.object, strategy_for(resource), options, self._clock.now())
            if options.dry_run or isinstance(decision, AlreadyMarked):
                return item, False
            try:
                if isinstance(decision, Mark):
                    return await self._registry.write(resource, decision.object, item.revision), False
                item = await self._registry.remove(resource, item)
            except RevisionMismatch:
                await self._registry.refused(resource, item)
                continue
            if resource is SERVICES:
                await self._allocation.freed(item.object)
            return item, True
        raise refusals.conflict(resource, route.name)

    async def _agreed(self, item: Item, route: Route, options: DeleteOptions) -> Item:
        """The item, once the preconditions on it are certain to hold."""
        resource = route.resource
        wanted = options.resource_version
        behind = (listing.revision_number(wanted) or 0) > item.revision
        if behind or options.uid not in {"", item.object["metadata"]["uid"]}:
            latest = await self._registry.latest(resource, route.namespace, route.name)
            if latest is None:
                raise refusals.not_found(resource, route.name)
            item = latest
        uid = item.object["metadata"]["uid"]
        if options.uid and options.uid != uid:
            raise refusals.precondition(resource, route.name, "UID", options.uid, uid)
        if wanted and wanted != str(item.revision):
            raise refusals.precondition(resource, route.name, "ResourceVersion", wanted, str(item.revision))
        return item

    async def delete_collection(self, request: Request, route: Route, renderer: Renderer) -> Response:
        """Every selected object, many at a time, so that the store commits them in groups; answers with those that were
        deleted or marked. The first failure ends it: what is under way is done, and the rest left."""
        options = _options(request)
        scope = scope_of(request, route)
        revision = await self._registry.cache(route.resource).catch_up()
        chosen = [i for i in self._registry.objects(route.resource).ordered(route.namespace) if scope.holds(i)]
        deleted = await self._delete_each(route.resource, chosen, options)
        return renderer.list([deleted[item.path] for item in chosen if item.path in deleted], ListMeta(revision))

    async def _delete_each(self, resource: Resource, items: list[Item], options: DeleteOptions) -> dict[str, Item]:
        """What was deleted or marked, by path."""
        rest, deleted = iter(items), dict[str, Item]()
        failures: list[CoveyError] = []

        async def work() -> None:
            for item in rest:
                await self._turns.take()
                if failures:
                    return
                namespace, _, name = item.path.partition("/")
                try:
                    one = Route(resource, "delete", namespace, name)
                    deleted[item.path] = (await self.delete_object(one, options))[0]
                except NotFound:
                    continue  # somebody else deleted it meanwhile
                except CoveyError as error:
                    failures.append(error)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(min(AT_ONCE, len(items))):
                tasks.create_task(work())
        if failures:
            raise failures[0]
        return deleted


def _options(request: Request) -> DeleteOptions:
    body: Object = {}
    if request.body.strip():
        body, _ = decode(request.body, request.content_type)
        if body.get("kind", "DeleteOptions") != "DeleteOptions":
            raise BadRequest(f"{body['kind']} cannot be handled as DeleteOptions")
        schema.conform(body, "v1", "DeleteOptions")
    return deletion.options_of(body, dict(request.query))


def _success(route: Route, item: Item) -> Object:
    details = {"name": route.name, "kind": route.resource.plural, "uid": item.object["metadata"]["uid"]}
    if route.resource.group:
        details["group"] = route.resource.group
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}

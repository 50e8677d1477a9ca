"""CREATE, UPDATE and PATCH: decode, admit, default, validate, store with compare-and-set, answer.

The order of steps is that of k8s.io/apiserver's generic registry; `strategies/strategy.py` says what a kind adds.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from controlplane.apiserver import bodies, chance, deletion, listing, patching, refusals
from controlplane.apiserver.allocation import Allocation
from controlplane.apiserver.cached import Item, encode_for_store
from controlplane.apiserver.gate import Gate
from controlplane.apiserver.registry import Registry
from controlplane.apiserver.render import Renderer
from controlplane.apiserver.resourcecache import path_of
from controlplane.apiserver.routes import Route
from controlplane.apiserver.strategies.registry import strategy_for
from controlplane.apiserver.strategies.strategy import invalid
from mesh.api.port import Request, Response
from mesh.clock import Clock
from mesh.errors import BadRequest, Cause, CoveyError, Invalid, Unavailable
from mesh.objects import names
from mesh.objects.kinds import Resource
from mesh.objects.meta import Key, format_time
from mesh.objects.types import Object
from mesh.store.port import RevisionMismatch

ATTEMPTS = 256
"""How often a write that names no resourceVersion is tried while others write the same object; each time one wins."""
NAME_ATTEMPTS = 8
"""How many generated names are tried."""

_SERVER_FIELDS = ("resourceVersion", "selfLink", "managedFields", "deletionTimestamp", "deletionGracePeriodSeconds")

Make = Callable[[Item], Object]
"""A fresh new version of an object from the present one; called again when somebody else was faster."""


@dataclass(frozen=True, slots=True)
class Change:
    """One update on its way: which object, through which subresource, from which revision ("" takes any)."""

    route: Route
    make: Make
    dry_run: bool = False

    @property
    def resource(self) -> Resource:
        """The resource of the object."""
        return self.route.resource


class Writes:
    """Answers the writing verbs. `rng` is where names and UIDs come from."""

    def __init__(
        self,
        registry: Registry,
        gate: Gate,
        allocation: Allocation,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self._registry = registry
        self._gate = gate
        self._allocation = allocation
        self._clock = clock
        self._rng = rng

    # Create

    async def create(self, request: Request, route: Route, renderer: Renderer) -> Response:
        """POST to a collection."""
        dry_run = _dry_run(request, "CreateOptions")
        resource = route.resource
        obj, warnings = bodies.read(request, resource.api_version, resource.kind)
        bodies.match_namespace(obj, route)
        item = await self.create_object(resource, obj, dry_run=dry_run)
        warnings += strategy_for(resource).warnings(item.object)
        return renderer.object(item, status=201, headers=bodies.warning_headers(warnings))

    async def create_object(self, resource: Resource, obj: Object, *, dry_run: bool = False) -> Item:
        """Store a new object that has its shape already; it is completed in place."""
        metadata = obj["metadata"]
        if metadata.get("resourceVersion"):
            raise BadRequest("resourceVersion should not be set on objects to be created")
        for field in _SERVER_FIELDS:
            metadata.pop(field, None)
        strategy = strategy_for(resource)
        strategy.defaults(obj)
        await self._gate.admit_create(resource, obj)
        metadata["uid"] = chance.uid(self._rng)
        metadata["creationTimestamp"] = format_time(self._clock.now())
        generated = not metadata.get("name") and metadata.get("generateName")
        strategy.prepare_create(obj)
        for _ in range(NAME_ATTEMPTS):
            if generated:
                metadata["name"] = names.generate(str(generated), chance.suffix(self._rng))
            item = await self._store_new(resource, obj, dry_run=dry_run)
            if item is not None:
                return item
            if not generated:
                raise refusals.already_exists(resource, metadata["name"])
        raise refusals.name_taken(resource, metadata["name"])

    async def _store_new(self, resource: Resource, obj: Object, *, dry_run: bool) -> Item | None:
        """None when the name is taken."""
        strategy, name = strategy_for(resource), obj["metadata"].get("name", "")
        if name and await self._exists(resource, obj):
            return None
        try:
            claim = await self._allocation.claim(resource, obj, None, dry_run=dry_run)
        except Invalid:
            if name and await self._registry.current(resource, obj["metadata"].get("namespace", ""), name):
                return None  # made meanwhile by somebody else, who has the address for that very reason
            raise
        try:
            if causes := strategy.validate_create(obj):
                raise invalid(resource, name or obj["metadata"].get("generateName", ""), causes)
            if dry_run:
                return _unstored(obj)
            item = await self._registry.write(resource, obj, 0)
        except RevisionMismatch:
            await claim.release()
            return None
        except Unavailable:
            raise  # it may have been written all the same: what was claimed is left to the repair
        except CoveyError:
            await claim.release()
            raise
        return item

    async def _exists(self, resource: Resource, obj: Object) -> bool:
        namespace, name = obj["metadata"].get("namespace", ""), obj["metadata"]["name"]
        if self._registry.known(resource, namespace, name) is None:
            return False
        return await self._registry.latest(resource, namespace, name) is not None

    # Update and patch

    async def update(self, request: Request, route: Route, renderer: Renderer) -> Response:
        """PUT of an object or of one of its subresources."""
        dry_run = _dry_run(request, "UpdateOptions")
        resource = route.resource
        warnings: list[str] = []

        def make(_: Item) -> Object:
            obj, warnings[:] = bodies.read(request, resource.api_version, resource.kind)
            bodies.match_namespace(obj, route)
            bodies.match_name(obj, route)
            return obj

        item = await self.change(Change(route, make, dry_run))
        warnings += strategy_for(resource).warnings(item.object)
        return renderer.object(item, headers=bodies.warning_headers(warnings))

    async def patch(self, request: Request, route: Route, renderer: Renderer) -> Response:
        """PATCH of an object or of one of its subresources, by JSON, merge or strategic merge patch."""
        dry_run = _dry_run(request, "PatchOptions")
        patch, resource = patching.read(request), route.resource
        warnings: list[str] = []

        def make(item: Item) -> Object:
            obj = patching.apply(patch, item.object, resource)
            warnings[:] = bodies.check_patched(request, obj, resource)
            bodies.match_namespace(obj, route)
            bodies.match_name(obj, route)
            return obj

        item = await self.change(Change(route, make, dry_run))
        warnings += strategy_for(resource).warnings(item.object)
        return renderer.object(item, headers=bodies.warning_headers(warnings))

    async def change(self, change: Change) -> Item:
        """Store a new version of an existing object, or remove it if the change took its last finalizer.

        Raises `NotFound`, `Conflict`, `Invalid`, or what `change.make` raises.
        """
        route, resource = change.route, change.resource
        for _ in range(ATTEMPTS):
            item = await self._registry.current(resource, route.namespace, route.name)
            if item is None:
                raise refusals.not_found(resource, route.name)
            new = change.make(item)
            agreed = await self._agreed(item, new, route)
            if agreed is not item:  # newer than what the change was made from, which would undo what came between
                new = change.make(agreed)
            try:
                return await self._store_changed(change, agreed, new)
            except RevisionMismatch:
                await self._registry.refused(resource, agreed)
        raise refusals.conflict(resource, route.name)

    async def _agreed(self, item: Item, new: Object, route: Route) -> Item:
        """The present item, checked against the UID and resourceVersion that the new version names."""
        resource, metadata = route.resource, new["metadata"]
        wanted = metadata.get("resourceVersion") or ""
        number = listing.revision_number(wanted) if wanted else None
        if wanted and number is None:
            told = f'Invalid value: "{wanted}": must be a resourceVersion the server gave'
            raise invalid(resource, route.name, [Cause("metadata.resourceVersion", "FieldValueInvalid", told)])
        if number is not None and number > item.revision:
            latest = await self._registry.latest(resource, route.namespace, route.name)
            if latest is None:
                raise refusals.not_found(resource, route.name)
            item = latest
        uid = metadata.get("uid") or ""
        if uid and uid != item.object["metadata"]["uid"]:
            raise refusals.precondition(resource, route.name, "UID", uid, item.object["metadata"]["uid"])
        if number is not None and number != item.revision:
            raise refusals.conflict(resource, route.name)
        if not wanted and not strategy_for(resource).unconditional_update:
            told = "Invalid value: 0: must be specified for an update"
            raise invalid(resource, route.name, [Cause("metadata.resourceVersion", "FieldValueInvalid", told)])
        return item

    async def _store_changed(self, change: Change, item: Item, new: Object) -> Item:
        resource, subresource = change.resource, change.route.subresource
        old, strategy = item.object, strategy_for(change.resource)
        _carry_metadata(new, old)
        strategy.defaults(new)
        if not subresource:
            self._gate.admit_update(resource, new, old)
        strategy.prepare_update(new, old, subresource)
        claim = await self._allocation.claim(resource, new, old, dry_run=change.dry_run)
        try:
            if causes := strategy.validate_update(new, old, subresource):
                raise invalid(resource, change.route.name, causes)
            if change.dry_run:
                return _unstored(new)
            if deletion.finished(new):
                item = await self._registry.remove(resource, item)
            elif _same(new, old):
                return item
            else:
                item = await self._registry.write(resource, new, item.revision)
        except Unavailable:
            raise  # as above
        except CoveyError:
            await claim.release()
            raise
        await claim.settle()
        return item


def _same(new: Object, old: Object) -> bool:
    new["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"]
    return new == old


def _carry_metadata(new: Object, old: Object) -> None:
    """What no client can change: where the client left it out, or in any case."""
    metadata, before = new["metadata"], old["metadata"]
    for field in ("uid", "creationTimestamp", "generateName"):
        if not metadata.get(field) and before.get(field):
            metadata[field] = before[field]
    for field in ("generation", "deletionTimestamp", "deletionGracePeriodSeconds"):
        if field in before:
            metadata[field] = before[field]
        else:
            metadata.pop(field, None)
    metadata.pop("selfLink", None)
    metadata.pop("managedFields", None)


def _unstored(obj: Object) -> Item:
    """What a dry run answers with: the object as it would be stored."""
    key = Key(obj["metadata"].get("namespace", ""), obj["metadata"].get("name", ""))
    return Item(path_of(key), 0, obj, encode_for_store(obj))


def _dry_run(request: Request, kind: str) -> bool:
    values = [v for v in request.params("dryRun") if v]
    deletion.check_dry_run(values, kind)
    return bool(values)

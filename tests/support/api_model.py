"""A tiny in-memory model of the API, for tests of clients and controllers.

Synchronous at heart (`ApiModel`), so that planner tests step through it; `ModelTransport` puts it behind the Transport
port for tests of the Client and the runtime. It knows what controllers rely on: revisions, compare-and-set, UIDs,
generations, generateName, finalizers, status as a subresource, watches from a revision. It validates nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import orjson

from mesh.api.port import Request, Response, Stream, WatchEvent
from mesh.errors import AlreadyExists, ApiError, BadRequest, Conflict, Gone, Invalid, NotFound
from mesh.objects.kinds import BUILT_IN, NAMESPACES, PODS, Resource
from mesh.objects.labels import Selector
from mesh.objects.meta import Key, format_time, is_deleting, key_of, labels_of, thaw
from mesh.objects.types import Json, Object
from mesh.plan.actions import Action, Create, Delete, DeleteCollection, Patch, Plan, Read, Record, Update
from mesh.plan.controller import Controller, Observed

_BY_PATH = {(r.group, r.version, r.plural): r for r in BUILT_IN}


@dataclass
class Change:
    """One entry of the model's log."""

    revision: int
    type: str
    resource: Resource
    object: Object


@dataclass
class ApiModel:
    """The objects of a cluster. Time stands still unless a test moves `now`."""

    now: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    revision: int = 0
    objects: dict[Resource, dict[Key, Object]] = field(default_factory=lambda: {r: {} for r in BUILT_IN})
    log: list[Change] = field(default_factory=list)
    events: list[Record] = field(default_factory=list)
    compacted: int = 0
    graceful: bool = False
    """Whether a deleted pod stays, marked, until `finish_pod`."""
    on_change: list[Callable[[], None]] = field(default_factory=list)
    names: int = 0

    def get(self, resource: Resource, key: Key) -> Object:
        try:
            return self.objects[resource][key]
        except KeyError:
            raise NotFound(f'{resource.qualified} "{key.name}" not found') from None

    def all(self, resource: Resource, namespace: str = "") -> list[Object]:
        return [o for k, o in self.objects[resource].items() if not namespace or k.namespace == namespace]

    def create(self, resource: Resource, given: Object) -> Object:
        obj = thaw(given)
        meta = obj["metadata"]
        self.names += 1
        if not meta.get("name"):
            meta["name"] = f"{meta['generateName']}{self.names:05x}"
        if key_of(obj) in self.objects[resource]:
            raise AlreadyExists(f'{resource.qualified} "{meta["name"]}" already exists')
        meta.setdefault("uid", f"uid-{self.names}")
        meta["creationTimestamp"] = format_time(self.now)
        meta["generation"] = 1
        obj.setdefault("apiVersion", resource.api_version)
        obj.setdefault("kind", resource.kind)
        if resource is NAMESPACES:
            obj.setdefault("spec", {}).setdefault("finalizers", ["kubernetes"])
        return self._store("ADDED", resource, obj)

    def update(self, resource: Resource, given: Object, subresource: str = "") -> Object:
        old = self.get(resource, key_of(given))
        meta = given["metadata"]
        if meta.get("uid", old["metadata"]["uid"]) != old["metadata"]["uid"]:
            raise Conflict(f"Precondition failed: UID in precondition: {meta['uid']}")
        if meta.get("resourceVersion") and meta["resourceVersion"] != old["metadata"]["resourceVersion"]:
            raise Conflict(f'Operation cannot be fulfilled on {resource.qualified} "{meta["name"]}": modified')
        new = thaw(given)
        if subresource in {"status", "finalize"}:
            part = {"status": "status", "finalize": "spec"}[subresource]
            new = thaw(old) | ({part: new[part]} if part in new else {})
        elif "status" in resource.subresources:
            new.pop("status", None)
            if "status" in old:
                new["status"] = thaw(old["status"])
        for name in ("uid", "creationTimestamp", "generation", "deletionTimestamp", "deletionGracePeriodSeconds"):
            if name in old["metadata"]:
                new["metadata"][name] = old["metadata"][name]
        if new.get("spec") != old.get("spec") and subresource != "finalize":
            new["metadata"]["generation"] += 1
        new["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"]
        if new == old:
            return old
        if is_deleting(new) and not _held(resource, new):
            return self._drop(resource, new)
        return self._store("MODIFIED", resource, new)

    def patch(self, resource: Resource, key: Key, patch: Json, subresource: str = "") -> Object:
        old = self.get(resource, key)
        uid = patch.get("metadata", {}).get("uid")
        if uid and uid != old["metadata"]["uid"]:
            raise Invalid("metadata.uid: field is immutable")
        return self.update(resource, merge(old, patch), subresource)

    def delete(
        self,
        resource: Resource,
        key: Key,
        *,
        uid: str = "",
        revision: str = "",
        propagation: str = "",
        grace: int | None = None,
    ) -> Object:
        obj = thaw(self.get(resource, key))
        meta = obj["metadata"]
        if (uid and uid != meta["uid"]) or (revision and revision != meta["resourceVersion"]):
            raise Conflict("Precondition failed")
        finalizer = {"Foreground": "foregroundDeletion", "Orphan": "orphan"}.get(propagation)
        if finalizer and not is_deleting(obj):
            meta.setdefault("finalizers", []).append(finalizer)
        stays = _held(resource, obj) or (self.graceful and resource is PODS and grace != 0)
        if not stays:
            return self._drop(resource, obj)
        if is_deleting(obj):
            return obj
        meta["deletionTimestamp"] = format_time(self.now)
        meta["generation"] += 1
        if resource is NAMESPACES:
            obj.setdefault("status", {})["phase"] = "Terminating"
        return self._store("MODIFIED", resource, obj)

    def delete_all(self, resource: Resource, namespace: str) -> None:
        for obj in self.all(resource, namespace):
            self.delete(resource, key_of(obj))

    def finish_pod(self, key: Key) -> None:
        """What the node does when a deleted pod has ended."""
        self._drop(PODS, thaw(self.get(PODS, key)))

    def put(self, resource: Resource, obj: Object) -> Object:
        """Create or replace, as a test's own hand, status and all."""
        if key_of(obj) not in self.objects[resource]:
            return self.create(resource, obj)
        return self._store("MODIFIED", resource, thaw(obj))

    def apply(self, action: Action) -> None:
        """Carry out one action as the executor would."""
        match action:
            case Create():
                self.create(action.resource, action.object)
            case Update():
                self.update(action.resource, action.object, action.subresource)
            case Patch():
                patch = action.patch
                if action.uid:
                    patch = {**patch, "metadata": {**patch.get("metadata", {}), "uid": action.uid}}
                self.patch(action.resource, action.key, patch, action.subresource)
            case Delete():
                try:
                    self.delete(
                        action.resource,
                        action.key,
                        uid=action.uid,
                        revision=action.revision,
                        propagation=action.propagation,
                        grace=action.grace_period_seconds,
                    )
                except NotFound:
                    return
            case DeleteCollection():
                self.delete_all(action.resource, action.namespace)
            case Record():
                self.events.append(action)

    def read(self, read: Read) -> tuple[Object, ...]:
        if not read.name:
            return tuple(self.all(read.resource, read.namespace))
        found = self.objects[read.resource].get(Key(read.namespace, read.name))
        return () if found is None else (found,)

    def _store(self, kind: str, resource: Resource, obj: Object) -> Object:
        self.revision += 1
        obj["metadata"]["resourceVersion"] = str(self.revision)
        self.objects[resource][key_of(obj)] = obj
        self._tell(kind, resource, obj)
        return obj

    def _drop(self, resource: Resource, obj: Object) -> Object:
        del self.objects[resource][key_of(obj)]
        self.revision += 1
        obj["metadata"]["resourceVersion"] = str(self.revision)
        self._tell("DELETED", resource, obj)
        return obj

    def _tell(self, kind: str, resource: Resource, obj: Object) -> None:
        self.log.append(Change(self.revision, kind, resource, obj))
        for told in self.on_change:
            told()


def _held(resource: Resource, obj: Object) -> bool:
    return bool(obj["metadata"].get("finalizers")) or (
        resource is NAMESPACES and bool(obj.get("spec", {}).get("finalizers"))
    )


def merge(old: Json, patch: Json) -> Json:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return thaw(patch)
    result = dict(old) if isinstance(old, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merge(result.get(name), value)
    return result


class ModelCache:
    """`mesh.plan.controller.Cache` straight on the model: a cache that is never behind."""

    def __init__(self, model: ApiModel, resource: Resource, indexes: dict[str, Callable[[Object], Iterable[str]]]):
        self._model = model
        self._resource = resource
        self._indexes = indexes

    def get(self, key: Key) -> Object | None:
        return self._model.objects[self._resource].get(key)

    def list(self, namespace: str = "", selector: Selector | None = None) -> Sequence[Object]:
        found = self._model.all(self._resource, namespace)
        return [o for o in found if selector is None or selector.matches(labels_of(o))]

    def index(self, name: str, value: str) -> Sequence[Object]:
        return [o for o in self._model.all(self._resource) if value in set(self._indexes[name](o))]


def caches_for(controller: Controller, model: ApiModel) -> dict[Resource, ModelCache]:
    """Caches as the runtime would give them to `controller`."""
    indexes: dict[Resource, dict[str, Callable[[Object], Iterable[str]]]] = {}
    for watch in controller.watches:
        indexes.setdefault(watch.resource, {}).update(watch.indexes)
    return {resource: ModelCache(model, resource, functions) for resource, functions in indexes.items()}


def plan_once(controller: Controller, key: Key, model: ApiModel, **observed: Json) -> Plan:
    """One plan, live reads included, checked to have changed nothing it was shown."""
    caches = caches_for(controller, model)
    before = orjson.dumps([list(objects.values()) for objects in model.objects.values()])
    answers: dict[Read, tuple[Object, ...]] = {}
    while True:
        plan = controller.plan(key, Observed(caches, model.now, answers, **observed))
        assert orjson.dumps([list(o.values()) for o in model.objects.values()]) == before, "the plan changed a cache"
        wanted = [read for read in plan.reads if read not in answers]
        if not wanted:
            return plan
        answers.update({read: model.read(read) for read in wanted})


def keys_of_all(controller: Controller, model: ApiModel) -> list[Key]:
    """Every key that any object wakes, as at the runtime's start."""
    caches = caches_for(controller, model)
    found: dict[Key, None] = {}
    for watch in controller.watches:
        for obj in model.all(watch.resource):
            found.update(dict.fromkeys(watch.keys(obj, caches)))
    return list(found)


def converge(
    controllers: Sequence[Controller], model: ApiModel, *, step: Callable[[], None] = lambda: None, most: int = 60
) -> None:
    """Run every key of every controller until nothing is left to do; `step` plays the rest of the cluster."""
    for _ in range(most):
        before = model.revision
        for controller in controllers:
            for key in keys_of_all(controller, model):
                carry_out(model, plan_once(controller, key, model).actions)
        step()
        if model.revision == before:
            return
    raise AssertionError(f"still busy after {most} rounds")


def carry_out(model: ApiModel, actions: Iterable[Action]) -> None:
    """Apply actions up to the first refusal, as the executor does."""
    for action in actions:
        try:
            model.apply(action)
        except ApiError:
            return


def snapshot(model: ApiModel) -> ApiModel:
    """An independent copy, to try another future."""
    copy = ApiModel(now=model.now, revision=model.revision, graceful=model.graceful, names=model.names)
    copy.objects = {r: {k: thaw(o) for k, o in objects.items()} for r, objects in model.objects.items()}
    return copy


def later(model: ApiModel, seconds: float) -> None:
    """Move the model's time."""
    model.now += timedelta(seconds=seconds)


class ModelTransport:
    """The Transport port over a model. `fail` is asked before each request and may raise or return an error."""

    def __init__(self, model: ApiModel) -> None:
        self.model = model
        self.requests: list[Request] = []
        self.fail: Callable[[Request], ApiError | None] = lambda _request: None
        self.seconds = 0.0
        """How long a request takes."""
        self._changed: set[asyncio.Event] = set()
        model.on_change.append(self._ring)

    def _ring(self) -> None:
        for event in self._changed:
            event.set()

    async def send(self, request: Request) -> Response:
        await asyncio.sleep(self.seconds)
        self.requests.append(request)
        try:
            error = self.fail(request)
            if error is not None:
                raise error
            return Response(200, orjson.dumps(self._answer(request)))
        except ApiError as error:
            if error.code == 503:
                raise
            return Response(error.code, orjson.dumps(error.to_status()))

    def _answer(self, request: Request) -> Object:
        resource, namespace, name, subresource = parse_path(request.path)
        body = orjson.loads(request.body) if request.body else {}
        key = Key(namespace, name)
        match request.method:
            case "GET" if name:
                return self.model.get(resource, key)
            case "GET":
                items = self.model.all(resource, namespace)
                return {"metadata": {"resourceVersion": str(self.model.revision)}, "items": items}
            case "POST":
                return self.model.create(resource, body)
            case "PUT":
                return self.model.update(resource, body, subresource)
            case "PATCH":
                return self.model.patch(resource, key, body, subresource)
            case "DELETE" if not name:
                self.model.delete_all(resource, namespace)
                return {"kind": "Status"}
            case "DELETE":
                conditions = body.get("preconditions", {})
                return self.model.delete(
                    resource,
                    key,
                    uid=conditions.get("uid", ""),
                    revision=conditions.get("resourceVersion", ""),
                    propagation=body.get("propagationPolicy", ""),
                    grace=body.get("gracePeriodSeconds"),
                )
        raise BadRequest(request.method)

    async def watch(self, request: Request) -> AsyncIterator[WatchEvent]:
        error = self.fail(request)
        if error is not None:
            raise error
        resource, namespace, _, _ = parse_path(request.path)
        seen = int(request.param("resourceVersion"))
        if seen < self.model.compacted:
            raise Gone("too old resource version")
        changed = asyncio.Event()
        self._changed.add(changed)
        try:
            while True:
                changed.clear()
                for change in [c for c in self.model.log if c.revision > seen]:
                    seen = change.revision
                    if change.resource is resource and namespace in {"", key_of(change.object).namespace}:
                        yield WatchEvent(change.type, thaw(change.object))
                await changed.wait()
        finally:
            self._changed.discard(changed)

    async def connect(self, request: Request) -> Stream:
        raise BadRequest(request.path)


def parse_path(path: str) -> tuple[Resource, str, str, str]:
    """A REST path as (resource, namespace, name, subresource)."""
    parts = path.strip("/").split("/")
    group, version, rest = ("", parts[1], parts[2:]) if parts[0] == "api" else (parts[1], parts[2], parts[3:])
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in {"status", "finalize"}:
        namespace, rest = rest[1], rest[2:]
    name = rest[1] if len(rest) > 1 else ""
    return _BY_PATH[(group, version, rest[0])], namespace, name, rest[2] if len(rest) > 2 else ""

"""The typed way to the API: verbs on resources instead of paths and bodies.

A `Client` is stateless over a `Transport` (direct, NATS); refusals come back as `Status` bodies and are raised as
`mesh.errors` types. It never retries: who calls knows what a repetition means.
Verbs and query parameters: https://kubernetes.io/docs/reference/using-api/api-concepts/
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import orjson

from mesh.api.port import JSON, MERGE_PATCH, Request, Response, Stream, Transport, WatchEvent
from mesh.errors import ApiError, InternalError, from_status
from mesh.objects.kinds import PODS, Resource
from mesh.objects.types import Json, Object

Query = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Listing:
    """The answer to a list: the objects, and the resourceVersion from which a watch continues."""

    items: list[Object]
    resource_version: str


class Client:
    """The API as one user sees it. Every method raises `ApiError`; `Unavailable` when the outcome is unknown."""

    def __init__(self, transport: Transport, *, user_agent: str = "covey") -> None:
        self._transport = transport
        self._user_agent = user_agent

    async def request(self, request: Request) -> Response:
        """Any request, as is; raises what a Status body of an error stands for."""
        response = await self._transport.send(request)
        if response.status >= 400:
            raise _error(response)
        return response

    async def get(self, resource: Resource, name: str, namespace: str = "", *, subresource: str = "") -> Object:
        """One object, read live."""
        return await self._object("GET", resource.path(namespace, name, subresource), resource)

    async def list(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        limit: int = 0,
    ) -> Listing:
        """All objects of a namespace ("" is all namespaces) that match, consistently; `limit` is the page size by
        which they are fetched (0: all at once). `Gone` when paging took so long that the snapshot is no longer kept."""
        query = _selectors(label_selector, field_selector)
        if limit:
            query += (("limit", str(limit)),)
        items: list[Object] = []
        token = ""
        while True:
            page_query = (*query, ("continue", token)) if token else query
            page = await self._json("GET", resource.path(namespace), query=page_query)
            items.extend(_typed(item, resource) for item in page.get("items") or ())
            meta = page.get("metadata") or {}
            token = meta.get("continue", "")
            if not token:
                return Listing(items, str(meta.get("resourceVersion", "")))
            await asyncio.sleep(0)  # a server in this process answers without waiting: others have a turn in between

    async def create(self, resource: Resource, obj: Object, *, dry_run: bool = False, strict: bool = False) -> Object:
        """Create `obj` in its own namespace; returns it as stored. `AlreadyExists` when the name is taken; `strict`
        refuses fields that the kind does not have (`BadRequest`)."""
        path = resource.path(obj["metadata"].get("namespace", ""))
        query = _dry(dry_run) + _strict(strict)
        return await self._object("POST", path, resource, query=query, body=orjson.dumps(obj))

    async def create_subresource(
        self, resource: Resource, name: str, namespace: str, subresource: str, body: Object, *, dry_run: bool = False
    ) -> Object:
        """POST to a subresource: binding, eviction, token. Returns what it answers."""
        path = resource.path(namespace, name, subresource)
        return await self._json("POST", path, query=_dry(dry_run), body=orjson.dumps(body))

    async def update(
        self, resource: Resource, obj: Object, *, subresource: str = "", dry_run: bool = False, strict: bool = False
    ) -> Object:
        """Replace an object or a subresource of it; with a resourceVersion in it only if it is still that version
        (`Conflict`). Returns it as stored. `strict` as in `create`."""
        meta = obj["metadata"]
        path = resource.path(meta.get("namespace", ""), meta["name"], subresource)
        query = _dry(dry_run) + _strict(strict)
        return await self._object("PUT", path, resource, query=query, body=orjson.dumps(obj))

    async def patch(
        self,
        resource: Resource,
        name: str,
        namespace: str,
        patch: Json,
        *,
        content_type: str = MERGE_PATCH,
        subresource: str = "",
        dry_run: bool = False,
        field_manager: str = "",
    ) -> Object:
        """Patch an object (`content_type` says which kind of patch); returns it as stored."""
        query = _dry(dry_run) + ((("fieldManager", field_manager),) if field_manager else ())
        path = resource.path(namespace, name, subresource)
        return await self._object("PATCH", path, resource, query=query, body=orjson.dumps(patch), kind=content_type)

    async def delete(
        self,
        resource: Resource,
        name: str,
        namespace: str = "",
        *,
        uid: str = "",
        resource_version: str = "",
        propagation: str = "",
        grace_period_seconds: int | None = None,
        dry_run: bool = False,
    ) -> Object:
        """Delete an object if UID and resourceVersion, where given, are still its own (`Conflict`).

        `propagation` is Background, Foreground, Orphan or "" for the kind's default. Returns the object when it is
        only marked (finalizers, graceful deletion), else a Status or the object as it last was.
        """
        options: Object = {"kind": "DeleteOptions", "apiVersion": "v1"}
        preconditions = {k: v for k, v in (("uid", uid), ("resourceVersion", resource_version)) if v}
        if preconditions:
            options["preconditions"] = preconditions
        if propagation:
            options["propagationPolicy"] = propagation
        if grace_period_seconds is not None:
            options["gracePeriodSeconds"] = grace_period_seconds
        if dry_run:
            options["dryRun"] = ["All"]
        return await self._json("DELETE", resource.path(namespace, name), body=orjson.dumps(options))

    async def delete_collection(self, resource: Resource, namespace: str, *, propagation: str = "") -> None:
        """Delete all objects of a resource in a namespace."""
        options = {"kind": "DeleteOptions", "apiVersion": "v1"}
        if propagation:
            options["propagationPolicy"] = propagation
        path, body = resource.path(namespace), orjson.dumps(options)
        await self.request(Request("DELETE", path, body=body, user_agent=self._user_agent))

    async def bind(self, namespace: str, name: str, node: str, *, uid: str = "") -> None:
        """Assign a pod to a node, once (`Conflict` when it has one already)."""
        meta = {"namespace": namespace, "name": name} | ({"uid": uid} if uid else {})
        target = {"apiVersion": "v1", "kind": "Node", "name": node}
        binding = {"apiVersion": "v1", "kind": "Binding", "metadata": meta, "target": target}
        await self.create_subresource(PODS, name, namespace, "binding", binding)

    async def evict(self, namespace: str, name: str, *, grace_period_seconds: int | None = None) -> None:
        """Ask for a pod's eviction; `TooManyRequests` while a disruption budget forbids it."""
        body: Object = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"namespace": namespace, "name": name},
        }
        if grace_period_seconds is not None:
            body["deleteOptions"] = {"gracePeriodSeconds": grace_period_seconds}
        await self.create_subresource(PODS, name, namespace, "eviction", body)

    async def watch(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        resource_version: str,
        label_selector: str = "",
        field_selector: str = "",
        timeout_seconds: int = 0,
    ) -> AsyncIterator[WatchEvent]:
        """Changes after `resource_version`, bookmarks among them, until the server ends the watch. An ERROR event is
        raised (`Gone`: list again); `Unavailable` on a gap or silence."""
        query = _selectors(label_selector, field_selector)
        query += (("watch", "true"), ("allowWatchBookmarks", "true"), ("resourceVersion", resource_version))
        if timeout_seconds:
            query += (("timeoutSeconds", str(timeout_seconds)),)
        request = Request("GET", resource.path(namespace), query, user_agent=self._user_agent)
        async for event in self._transport.watch(request):
            if event.type == "ERROR":
                raise from_status(event.object)
            _typed(event.object, resource)
            yield event

    def watch_raw(self, request: Request) -> AsyncIterator[WatchEvent]:
        """A watch request as is: for answers in another form than objects (tables)."""
        return self._transport.watch(request)

    async def connect(
        self, resource: Resource, name: str, namespace: str, subresource: str, query: Query = ()
    ) -> Stream:
        """Open a byte stream to a subresource (exec, attach, portforward, a followed log)."""
        path = resource.path(namespace, name, subresource)
        return await self._transport.connect(Request("GET", path, query, user_agent=self._user_agent))

    async def _object(
        self, method: str, path: str, resource: Resource, *, query: Query = (), body: bytes = b"", kind: str = JSON
    ) -> Object:
        return _typed(await self._json(method, path, query=query, body=body, kind=kind), resource)

    async def _json(self, method: str, path: str, *, query: Query = (), body: bytes = b"", kind: str = JSON) -> Object:
        """One request whose answer is a JSON object; `kind` is the body's content type."""
        response = await self.request(Request(method, path, query, body, kind, user_agent=self._user_agent))
        answer: Object = orjson.loads(response.body) if response.body else {}
        return answer


def _selectors(label_selector: str, field_selector: str) -> Query:
    pairs = (("labelSelector", label_selector), ("fieldSelector", field_selector))
    return tuple(pair for pair in pairs if pair[1])


def _strict(strict: bool) -> Query:
    return (("fieldValidation", "Strict"),) if strict else ()


def _dry(dry_run: bool) -> Query:
    return (("dryRun", "All"),) if dry_run else ()


def _typed(obj: Object, resource: Resource) -> Object:
    """Give list items the kind that Kubernetes leaves out of them, so that all cached objects know what they are."""
    obj.setdefault("apiVersion", resource.api_version)
    obj.setdefault("kind", resource.kind)
    return obj


def _error(response: Response) -> ApiError:
    """The error in a refusal; a body that is no Status (a proxy's page) is shown as it is."""
    try:
        status = orjson.loads(response.body)
    except orjson.JSONDecodeError:
        text = response.body[:200].decode(errors="replace")
        return InternalError(f"the server answered {response.status}: {text}")
    if not isinstance(status, dict) or status.get("kind") != "Status":
        return InternalError(f"the server answered {response.status} without a Status")
    return from_status(status)

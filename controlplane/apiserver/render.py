"""Objects and lists as the client wants to see them: JSON, YAML, a server-side table, or metadata alone. Pure.

Plain JSON is the cached bytes, joined. Source: k8s.io/apiserver/pkg/endpoints/handlers/response.go.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import orjson
import yaml

from controlplane.apiserver.cached import ADDED, Item, event
from controlplane.apiserver.negotiate import Representation, negotiate
from controlplane.apiserver.tables.table import table
from mesh.api.port import YAML, Request, Response
from mesh.errors import BadRequest, NotAcceptable
from mesh.objects.kinds import Resource
from mesh.objects.types import Object

_META_VERSION = "meta.k8s.io/v1"
_INCLUDES = ("", "None", "Metadata", "Object")


@dataclass(frozen=True, slots=True)
class ListMeta:
    """`metadata` of a list. `remaining` is None when it is not known."""

    revision: int
    continue_token: str = ""
    remaining: int | None = None

    def to_object(self) -> Object:
        """As JSON."""
        meta: Object = {"resourceVersion": str(self.revision)}
        if self.continue_token:
            meta["continue"] = self.continue_token
        if self.remaining is not None:
            meta["remainingItemCount"] = self.remaining
        return meta


@dataclass(frozen=True, slots=True)
class Renderer:
    """How one request wants its answer."""

    resource: Resource
    representation: Representation
    include: str
    now: datetime

    @classmethod
    def of(cls, request: Request, resource: Resource, now: datetime) -> Renderer:
        """Read the request's Accept header and `includeObject`; raises `NotAcceptable` or `BadRequest`."""
        include = request.param("includeObject")
        if include not in _INCLUDES:
            raise BadRequest(
                f'includeObject: Unsupported value: "{include}": supported values: "Metadata", "None", "Object"'
            )
        return cls(resource, negotiate(request.accept), include or "Metadata", now)

    def object(self, item: Item, *, status: int = 200, headers: tuple[tuple[str, str], ...] = ()) -> Response:
        """One object."""
        kind = self.representation.kind
        if not kind:
            return self._response(item.data, status, headers)
        if kind == "Table":
            shown: Object = self._table([item], ListMeta(item.revision))
        elif kind == "PartialObjectMetadata":
            shown = partial(item.object)
        else:
            raise NotAcceptable(f"{kind} is not a representation of a single object")
        return self._response(orjson.dumps(shown), status, headers)

    def value(self, obj: Object, *, status: int = 200, headers: tuple[tuple[str, str], ...] = ()) -> Response:
        """An answer that is no stored object (a Status, a Scale, a TokenRequest)."""
        return self._response(orjson.dumps(obj), status, headers)

    def _response(self, data: bytes, status: int, headers: tuple[tuple[str, str], ...]) -> Response:
        if self.representation.yaml:
            return Response(status, yaml.safe_dump(orjson.loads(data)).encode(), YAML, headers)
        return Response(status, data, headers=headers)

    def list(self, items: Sequence[Item], meta: ListMeta) -> Response:
        """Many objects."""
        kind = self.representation.kind
        if not kind:
            return self._response(_joined(self.resource, items, meta), 200, ())
        if kind == "Table":
            return self._response(orjson.dumps(self._table(items, meta)), 200, ())
        if kind == "PartialObjectMetadataList":
            shown = {
                "kind": kind,
                "apiVersion": _META_VERSION,
                "metadata": meta.to_object(),
                "items": [partial(item.object) for item in items],
            }
            return self._response(orjson.dumps(shown), 200, ())
        raise NotAcceptable(f"{kind} is not a representation of a list")

    def _table(self, items: Sequence[Item], meta: ListMeta, *, headers: bool = True) -> Object:
        objects = (item.object for item in items)
        return table(
            self.resource, objects, self.now, include_object=self.include, metadata=meta.to_object(), headers=headers
        )

    @property
    def plain(self) -> bool:
        """Whether watch events can be the shared bytes."""
        return not self.representation.kind

    def event(self, type_: str, item: Item, first: bool) -> bytes:
        """A watch event in this representation; only a watch's first table carries the column definitions."""
        if self.representation.kind == "Table":
            shown = self._table([item], ListMeta(item.revision), headers=first)
        else:
            shown = partial(item.object)
        return event(type_ or ADDED, orjson.dumps(shown))


def partial(obj: Object) -> Object:
    """`PartialObjectMetadata` of an object."""
    return {"kind": "PartialObjectMetadata", "apiVersion": _META_VERSION, "metadata": obj["metadata"]}


def _joined(resource: Resource, items: Sequence[Item], meta: ListMeta) -> bytes:
    return b'{"kind":"%sList","apiVersion":"%s","metadata":%s,"items":[%s]}' % (
        resource.kind.encode(),
        resource.api_version.encode(),
        orjson.dumps(meta.to_object()),
        b",".join([item.data for item in items]),
    )

"""What `covey get` was asked for, fetched: as tables made by the server or as objects, once and then change by change."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import orjson

from cli.arguments import Target
from cli.columns import sort_key
from cli.jsonpath import Path
from cli.printing import warn
from cli.session import Session, sentence
from mesh.api.port import JSON, Request
from mesh.client.client import Query
from mesh.errors import ApiError, NotFound, from_status
from mesh.objects.kinds import Resource
from mesh.objects.types import Object

TABLE = f"{JSON};as=Table;v=v1;g=meta.k8s.io,{JSON}"


@dataclass(frozen=True, slots=True)
class Asked:
    """Which objects, in which order; `order` is a path into them, empty for the server's own order."""

    targets: list[Target]
    selector: str = ""
    field_selector: str = ""
    order: Path = ()
    ignore_not_found: bool = False


class Listing:
    """The objects asked for in one namespace ("" is all)."""

    def __init__(self, session: Session, asked: Asked, namespace: str) -> None:
        self._session = session
        self._asked = asked
        self.namespace = namespace
        self.absent: list[ApiError] = []
        """What was said of objects that could not be had; the others are shown all the same."""
        self._revision = ""
        self.mixed = len({target.resource for target in asked.targets}) > 1
        self.single = len(asked.targets) == 1 and bool(asked.targets[0].name)
        self.namespaced = any(target.resource.namespaced for target in asked.targets)

    @property
    def is_open(self) -> bool:
        """Whether the objects were not named one by one, so that there may be none."""
        return not any(target.name for target in self._asked.targets)

    def raise_absent(self) -> None:
        """End with what could not be had."""
        if self.absent:
            for error in self.absent[:-1]:
                warn(sentence(error))
            raise self.absent[-1]

    async def tables(self) -> AsyncIterator[tuple[Resource, Object]]:
        """A table for each target."""
        for target in self._asked.targets:
            table = await self._fetch(target, TABLE)
            if table is None:
                continue
            if self._asked.order:
                table["rows"] = sorted(table.get("rows") or (), key=lambda r: sort_key(self._asked.order, r["object"]))
            yield target.resource, table

    async def objects(self) -> AsyncIterator[tuple[Resource, Object]]:
        """Every object."""
        found: list[tuple[Resource, Object]] = []
        for target in self._asked.targets:
            answer = await self._fetch(target, JSON)
            if answer is None:
                continue
            kind = {"apiVersion": target.resource.api_version, "kind": target.resource.kind}
            found += [(target.resource, kind | item) for item in ([answer] if target.name else answer["items"])]
        if self._asked.order:
            found.sort(key=lambda each: sort_key(self._asked.order, each[1]))
        for each in found:
            yield each

    async def _fetch(self, target: Target, accept: str) -> Object | None:
        """The answer to one target, or None and a note in `absent`."""
        query = () if target.name else self._query
        query += (("includeObject", "Object"),) if self._asked.order else ()
        path = target.resource.path(target.namespace or self.namespace, target.name)
        try:
            answer = await self._session.client.request(Request("GET", path, query, accept=accept))
        except NotFound as error:
            if not self._asked.ignore_not_found:
                self.absent.append(error)
            return None
        found: Object = orjson.loads(answer.body)
        self._revision = str((found.get("metadata") or {}).get("resourceVersion", ""))
        return found

    @property
    def _query(self) -> Query:
        given = (("labelSelector", self._asked.selector), ("fieldSelector", self._asked.field_selector))
        return tuple(pair for pair in given if pair[1])

    async def changes(self, accept: str) -> AsyncIterator[tuple[Resource, Object]]:
        """Each change after what was listed, as a table or as an object, until the server ends the watch."""
        (target,) = self._asked.targets
        query = (*self._query, ("watch", "true"), ("resourceVersion", self._revision))
        if target.name:
            query += (("fieldSelector", f"metadata.name={target.name}"),)
        request = Request("GET", target.resource.path(target.namespace or self.namespace), query, accept=accept)
        async for event in self._session.client.watch_raw(request):
            if event.type == "ERROR":
                raise from_status(event.object)
            yield target.resource, event.object

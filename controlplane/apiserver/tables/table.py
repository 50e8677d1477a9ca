"""Answers as `meta.k8s.io/v1 Table`, which `kubectl get` asks for: the server decides on the columns."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from controlplane.apiserver.tables import networking, nodes, others, pods, workloads
from controlplane.apiserver.tables.columns import NAME, Cells, Column, Printer
from mesh.errors import BadRequest
from mesh.objects import kinds
from mesh.objects.kinds import Resource
from mesh.objects.types import Json, Object


def _plain(obj: Object, _now: datetime) -> Cells:
    return [obj["metadata"]["name"], obj["metadata"].get("creationTimestamp", "")]


_DEFAULT = Printer((NAME, Column("Created At", type="date", description="When this object was created.")), _plain)

_PRINTERS: dict[Resource, Printer] = {
    kinds.NAMESPACES: others.NAMESPACES,
    kinds.NODES: nodes.PRINTER,
    kinds.PODS: pods.PRINTER,
    kinds.SERVICES: networking.SERVICES,
    kinds.ENDPOINTS: networking.ENDPOINTS,
    kinds.CONFIGMAPS: others.CONFIGMAPS,
    kinds.SECRETS: others.SECRETS,
    kinds.SERVICEACCOUNTS: others.SERVICEACCOUNTS,
    kinds.EVENTS: others.EVENTS,
    kinds.REPLICASETS: workloads.REPLICASETS,
    kinds.DEPLOYMENTS: workloads.DEPLOYMENTS,
    kinds.ENDPOINTSLICES: networking.ENDPOINTSLICES,
    kinds.LEASES: others.LEASES,
}


def table(
    resource: Resource,
    objects: Iterable[Object],
    now: datetime,
    *,
    include_object: str = "Metadata",
    metadata: Object | None = None,
    headers: bool = True,
) -> Object:
    """The objects as a Table with all columns (clients leave out those of priority 1 unless asked for wide output).

    `include_object` is None, Metadata or Object, as in the query parameter `includeObject`; `metadata` is that of the
    list; a watch sends `headers` only with its first event. Raises `BadRequest` for another `include_object`.
    """
    if include_object not in {"", "None", "Metadata", "Object"}:
        raise BadRequest(
            f"includeObject: Invalid value: \"{include_object}\": must be 'Metadata', 'Object', 'None', or empty"
        )
    printer = _PRINTERS.get(resource, _DEFAULT)
    rows = []
    for obj in objects:
        row: Object = {"cells": printer.cells(obj, now), "object": _embedded(obj, include_object or "Metadata")}
        if conditions := printer.conditions(obj):
            row["conditions"] = conditions
        rows.append(row)
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata or {},
        "columnDefinitions": [column.definition() for column in printer.columns] if headers else None,
        "rows": rows,
    }


def _embedded(obj: Object, include: str) -> Json:
    if include == "None":
        return None
    if include == "Object":
        return obj
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": obj["metadata"]}

"""`/openapi/v3`: an index of group versions, and one document for each.

Source: https://kubernetes.io/docs/concepts/overview/kubernetes-api/#openapi-v3. `kubectl explain` reads nothing else.
"""

from __future__ import annotations

import hashlib
from functools import cache

import orjson

from controlplane.apiserver.openapi import (
    PATCH,
    PATCH_TYPES,
    Operation,
    group_versions,
    operations,
    parameter_type,
    references,
)
from mesh.api.port import JSON
from mesh.objects.definitions import INT_OR_STRING, QUANTITY, VERSION, definitions
from mesh.objects.types import Json, Object

_PREFIX = "#/components/schemas/"
_SPECIAL: dict[str, Object] = {
    QUANTITY: {"oneOf": [{"type": "string"}, {"type": "number"}]},
    INT_OR_STRING: {"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]},
}


@cache
def index() -> bytes:
    """The answer to `/openapi/v3`: where each group version's document is, with its hash for caching."""
    paths = {root: {"serverRelativeURL": f"/openapi/v3/{root}?hash={etag(root)}"} for root in group_versions()}
    return orjson.dumps({"paths": paths})


@cache
def document(root: str) -> bytes | None:
    """The answer to `/openapi/v3/<root>` ("api/v1", "apis/apps/v1"); None when there is no such group version."""
    resources = group_versions().get(root)
    if resources is None:
        return None
    paths: dict[str, Object] = {}
    wanted: list[str] = []
    for resource in resources:
        for operation in operations(resource):
            item = paths.setdefault(operation.path, {"parameters": _path_parameters(operation)})
            item[operation.method] = _operation(operation)
            wanted += [name for name in (operation.body, operation.answer) if name]
    return orjson.dumps(
        {
            "openapi": "3.0.0",
            "info": {"title": "Kubernetes", "version": VERSION},
            "paths": paths,
            "components": {"schemas": _schemas(wanted)},
        }
    )


@cache
def etag(root: str) -> str:
    """The hash of a group version's document, as the index gives it."""
    return hashlib.sha512(document(root) or b"").hexdigest().upper()


def _path_parameters(operation: Operation) -> list[Object]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "uniqueItems": True}}
        for name in operation.path_parameters()
    ]


def _operation(operation: Operation) -> Object:
    answer: Object = {"description": "OK"}
    if operation.answer:
        answer["content"] = {JSON: {"schema": {"$ref": _PREFIX + operation.answer}}}
    result: Object = {
        **operation.extensions(),
        "parameters": [
            {"name": name, "in": "query", "schema": {"type": parameter_type(name), "uniqueItems": True}}
            for name in operation.query
        ],
        "responses": {"200": answer, "401": {"description": "Unauthorized"}},
    }
    if operation.body:
        types = PATCH_TYPES if operation.body == PATCH else ("*/*",)
        result["requestBody"] = {"content": {t: {"schema": {"$ref": _PREFIX + operation.body}} for t in types}}
    return result


def _schemas(wanted: list[str]) -> dict[str, Object]:
    """The definitions named, and all that they refer to."""
    result: dict[str, Object] = {}
    pending = list(wanted)
    while pending:
        name = pending.pop()
        if name not in result:
            schema = definitions()[name]
            result[name] = _SPECIAL.get(name) or _schema(schema)
            pending += references(schema)
    return dict(sorted(result.items()))


def _schema(schema: Json) -> Json:
    """A schema with references inside `allOf`: OpenAPI 3.0 ignores what stands beside a bare `$ref`."""
    if isinstance(schema, list):
        return [_schema(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "properties" in schema:
        fields = {name: _schema(field) for name, field in schema["properties"].items()}
        return {**{key: _schema(value) for key, value in schema.items() if key != "properties"}, "properties": fields}
    if "$ref" in schema:
        reference = {"$ref": _PREFIX + schema["$ref"]}
        beside = {key: value for key, value in schema.items() if key != "$ref"}
        return {**beside, "allOf": [reference]} if beside else reference
    return {key: _schema(value) for key, value in schema.items()}

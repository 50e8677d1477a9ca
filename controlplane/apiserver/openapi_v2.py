"""`/openapi/v2`: one Swagger document for everything, as JSON, for clients that do not read version 3."""

from __future__ import annotations

from functools import cache

import orjson

from controlplane.apiserver.openapi import PATCH, PATCH_TYPES, Operation, operations, parameter_type
from mesh.api.port import JSON, YAML
from mesh.objects.definitions import INT_OR_STRING, QUANTITY, VERSION, definitions
from mesh.objects.kinds import BUILT_IN
from mesh.objects.types import Json, Object

PROTOBUF = "application/com.github.proto-openapi.spec.v2"
"""The media type of the document in protobuf, without its version."""

_PREFIX = "#/definitions/"
_SPECIAL: dict[str, Object] = {
    QUANTITY: {"type": "string"},
    INT_OR_STRING: {"type": "string", "format": "int-or-string"},
}


@cache
def document() -> bytes:
    """The answer to `/openapi/v2`."""
    paths: dict[str, Object] = {}
    for resource in BUILT_IN:
        for operation in operations(resource):
            item = paths.setdefault(operation.path, {"parameters": _path_parameters(operation)})
            item[operation.method] = _operation(operation)
    return orjson.dumps(
        {
            "swagger": "2.0",
            "info": {"title": "Kubernetes", "version": VERSION},
            "paths": paths,
            "definitions": {name: _SPECIAL.get(name) or _schema(s) for name, s in sorted(definitions().items())},
        }
    )


@cache
def outline() -> bytes:
    """What a client gets that takes only the protobuf form: title and version, and no schemas.

    kubectl asks for it when version 3 has no schema for a kind; finding none here either, it goes on to say that the
    server does not know the kind.
    """
    title, version = b"Kubernetes", VERSION.encode()
    info = b"\x0a" + bytes([len(title)]) + title + b"\x12" + bytes([len(version)]) + version
    return b"\x0a\x032.0\x12" + bytes([len(info)]) + info


def _path_parameters(operation: Operation) -> list[Object]:
    return [
        {"name": name, "in": "path", "required": True, "type": "string", "uniqueItems": True}
        for name in operation.path_parameters()
    ]


def _operation(operation: Operation) -> Object:
    parameters: list[Object] = [
        {"name": name, "in": "query", "type": parameter_type(name), "uniqueItems": True} for name in operation.query
    ]
    if operation.body:
        schema = {"$ref": _PREFIX + operation.body}
        parameters.append({"name": "body", "in": "body", "required": True, "schema": schema})
    answer: Object = {"description": "OK"}
    if operation.answer:
        answer["schema"] = {"$ref": _PREFIX + operation.answer}
    return {
        **operation.extensions(),
        "consumes": list(PATCH_TYPES) if operation.body == PATCH else ["*/*"],
        "produces": [JSON, YAML],
        "parameters": parameters,
        "responses": {"200": answer, "401": {"description": "Unauthorized"}},
    }


def _schema(schema: Json) -> Json:
    if isinstance(schema, list):
        return [_schema(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "properties" in schema:
        fields = {name: _schema(field) for name, field in schema["properties"].items()}
        return {**{key: _schema(value) for key, value in schema.items() if key != "properties"}, "properties": fields}
    return {key: _PREFIX + value if key == "$ref" else _schema(value) for key, value in schema.items()}

"""Request bodies to JSON values: JSON, YAML and protobuf, size limits, fields given twice. Pure.

Source: k8s.io/apimachinery/pkg/runtime/serializer/json (strict decoding) and the limits that etcd and the API
server set.
"""

from __future__ import annotations

import json
import re
from collections.abc import Hashable

import orjson
import yaml

from controlplane.apiserver import protobuf, refusals
from mesh.api.port import JSON, YAML
from mesh.errors import BadRequest
from mesh.objects.types import Json, Object

MAX_BODY = 3 << 20
"""Bytes of one request body."""
MAX_OBJECT = 3 << 19
"""Bytes of one object as it is stored."""

_JSON_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_YAML_TYPES = frozenset({YAML, "application/x-yaml", "text/yaml", "text/x-yaml"})
_BODY_TYPES = (JSON, YAML, protobuf.MEDIA_TYPE)


_MERGE = "tag:yaml.org,2002:merge"
_MOST_MERGED = 10_000


class _Loader(yaml.CSafeLoader):
    """YAML as Kubernetes reads it: no timestamps (they stay strings); notes keys given twice."""

    def __init__(self, stream: bytes) -> None:
        super().__init__(stream)
        self.duplicates: list[str] = []

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Merge keys (`<<: *a`) into members, each taken over once and only so many: merges of merges would grow like
        aliases of aliases."""
        members = 0
        for key, value in node.value:
            if key.tag == _MERGE:
                for part in value.value if isinstance(value, yaml.SequenceNode) else (value,):
                    if isinstance(part, yaml.MappingNode):
                        self.flatten_mapping(part)
                        members += len(part.value)
        if members > _MOST_MERGED:
            raise yaml.YAMLError("document contains excessive aliasing")
        super().flatten_mapping(node)
        if members:  # what comes later counts
            node.value = list({str(key.value): (key, value) for key, value in node.value}.values())

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Json]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                self.duplicates.append(str(key.value))
            seen.add(key.value)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}


def decode(body: bytes, content_type: str) -> tuple[Object, list[str]]:
    """The object in a request body, and the problems a strict client wants to hear of (fields given twice).

    Raises `RequestTooLarge`, `UnsupportedMediaType`, or `BadRequest` when it is not one JSON or YAML object.
    """
    if len(body) > MAX_BODY:
        raise refusals.too_large("the request body", len(body), MAX_BODY)
    media = content_type.partition(";")[0].strip().lower()
    if media in _YAML_TYPES:
        value, problems = _decode_yaml(body)
    elif media == protobuf.MEDIA_TYPE:
        value, problems = protobuf.decode(body), []
    elif media in {"", JSON}:
        value, problems = _decode_json(body)
    else:
        raise refusals.unsupported_media_type(_BODY_TYPES)
    if not isinstance(value, dict):
        raise BadRequest(
            f"couldn't get version/kind; json parse error: json: cannot unmarshal {_go_type(value)} into Go value of "
            "type struct { APIVersion string; Kind string }"
        )
    return value, problems


def decode_json(body: bytes) -> Json:
    """A JSON body whatever its shape (a patch); raises `BadRequest` or `RequestTooLarge`."""
    if len(body) > MAX_BODY:
        raise refusals.too_large("the request body", len(body), MAX_BODY)
    try:
        value = orjson.loads(body)
        orjson.dumps(value)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"error decoding patch: {error}") from error
    except orjson.JSONEncodeError as error:
        raise BadRequest("the request body is nested too deeply") from error
    return value


def _go_type(value: Json) -> str:
    names = {list: "array", str: "string", bool: "bool", int: "number", float: "number", type(None): "null"}
    return names.get(type(value), "value")


def _decode_json(body: bytes) -> tuple[Json, list[str]]:
    if not body.strip():
        raise BadRequest("the request body is empty, expected an object")
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"couldn't get version/kind; json parse error: {error}") from error
    try:
        canonical = orjson.dumps(value)
    except orjson.JSONEncodeError as error:  # reading goes deeper than writing
        raise BadRequest("the request body is nested too deeply") from error
    if canonical == body or _JSON_STRINGS.sub(b"", body).count(b":") == _count_keys(value):
        return value, []
    return value, _duplicate_fields(body)


def _count_keys(value: Json) -> int:
    if isinstance(value, dict):
        return len(value) + sum(_count_keys(v) for v in value.values() if isinstance(v, (dict, list)))
    if isinstance(value, list):
        return sum(_count_keys(v) for v in value if isinstance(v, (dict, list)))
    return 0


class _Members(list[tuple[str, Json]]):
    """A JSON object's members in order, repeated ones too; unlike a list, which is a JSON array."""


def _duplicate_fields(body: bytes) -> list[str]:
    """Paths of the fields that a JSON text gives more than once."""
    found: list[str] = []

    def walk(value: Json, path: str) -> None:
        if isinstance(value, _Members):
            seen: set[str] = set()
            for name, member in value:
                where = f"{path}.{name}" if path else name
                if name in seen:
                    found.append(f'duplicate field "{where}"')
                seen.add(name)
                walk(member, where)
        elif isinstance(value, list):
            for index, member in enumerate(value):
                walk(member, f"{path}[{index}]")

    walk(json.loads(body, object_pairs_hook=_Members), "")
    return found


def _expanded_size(value: Json, known: dict[int, int]) -> int:
    """About how many bytes the value takes once each alias stands for a copy. Ten aliases of ten aliases of ... make
    a few lines of YAML larger than any memory; without aliases it is less than the body."""
    if isinstance(value, str):
        return 1 + len(value)
    if not isinstance(value, (dict, list)):
        return 1
    if id(value) not in known:
        known[id(value)] = 1  # what contains itself is refused later
        members = value.items() if isinstance(value, dict) else ((None, v) for v in value)
        known[id(value)] = 1 + sum(_expanded_size(k, known) + _expanded_size(v, known) for k, v in members)
    return known[id(value)]


def _decode_yaml(body: bytes) -> tuple[Json, list[str]]:
    loader = _Loader(body)
    try:
        value = loader.get_single_data()
        if _expanded_size(value, {}) > MAX_BODY:
            raise BadRequest("error converting YAML to JSON: yaml: document contains excessive aliasing")
        problems = [f'duplicate field "{name}"' for name in loader.duplicates]
        return orjson.loads(orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS)), problems
    except yaml.YAMLError as error:
        raise BadRequest(f"error converting YAML to JSON: yaml: {' '.join(str(error).split())}") from error
    except (orjson.JSONEncodeError, orjson.JSONDecodeError, RecursionError, ValueError) as error:
        raise BadRequest(f"error converting YAML to JSON: {error}") from error
    finally:
        loader.dispose()

"""The check of shape: does an object fit the schema of its kind, said in the API server's words.

For each definition a checker is compiled when it is first needed: a closure over plain dicts, so that checking a pod
costs tens of microseconds. A check brings the object into the form in which Go would have read and written it: nulls,
unknown fields and empty optional lists and maps dropped, quantities and times canonical. Ranges, formats and rules
across fields are not in the schemas; they are declared per kind in `controlplane/apiserver/strategies`.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import Final, TypeAlias

from mesh.errors import BadRequest
from mesh.objects import quantity, timestamps
from mesh.objects.definitions import (
    INT_OR_STRING,
    MICRO_TIME,
    QUANTITY,
    TIME,
    definition_of,
    definitions,
    go_string_type,
    go_type,
)
from mesh.objects.types import Json, Object

_Checker: TypeAlias = Callable[[Json, str, list[str]], Json]
"""(value, path, problems) -> the value in canonical form, or `_DROP`. Unknown fields go into `problems`."""

_DROP: Final = object()
_INT_RANGES: Final = {"int32": (-(2**31), 2**31 - 1), "int64": (-(2**63), 2**63 - 1)}
_INDEX = re.compile(r"\[[^\]]*\]")
_NOT_BASE64 = re.compile(r"[^A-Za-z0-9+/]")


class Mismatch(ValueError):
    """A value that cannot be decoded into its field; the message is that of Go's decoder."""


class _WrongType(Mismatch):
    """A JSON value that does not fit the Go type; the enclosing struct adds where."""

    def __init__(self, found: str, wanted: str) -> None:
        super().__init__()
        self.found = found
        self.wanted = wanted
        self.place = ""

    def locate(self, struct: str, field: str, path: str) -> None:
        """Say in which field this happened, unless an inner struct has said so already."""
        if self.place:
            return
        self.place = f"{struct}.{_INDEX.sub('', path)}"
        if self.wanted == "string":
            self.wanted = go_string_type(struct, field)

    def __str__(self) -> str:
        where = f"struct field {self.place}" if self.place else "value"
        return f"json: cannot unmarshal {self.found} into Go {where} of type {self.wanted}"


def conform(obj: Object, api_version: str, kind: str) -> list[str]:
    """Bring `obj` into the shape of its kind, in place, and return what strict decoding objects to.

    The returned sentences are those of `fieldValidation`: `unknown field "spec.replica"`. Raises `BadRequest` for a
    value of the wrong type, and KeyError for a kind that has no schema.
    """
    try:
        return decode(obj, api_version, kind)
    except Mismatch as error:
        raise cannot_be_handled(api_version, kind, str(error)) from error


def decode(obj: Object, api_version: str, kind: str) -> list[str]:
    """As `conform`, but raises the bare `Mismatch`, for callers that word the error otherwise (patches)."""
    name = definition_of(api_version, kind)
    if name is None:
        raise KeyError((api_version, kind))
    problems: list[str] = []
    _object_checker(name)(obj, "", problems)
    return problems


def cannot_be_handled(api_version: str, kind: str, detail: str) -> BadRequest:
    """The error for a body that cannot be decoded as `kind`."""
    version = api_version.rpartition("/")[2]
    return BadRequest(f'{kind} in version "{version}" cannot be handled as a {kind}: {detail}')


def strict_error(api_version: str, kind: str, problems: Sequence[str]) -> BadRequest:
    """The error that `fieldValidation=Strict` makes of the problems `conform` and the JSON decoder found."""
    return cannot_be_handled(api_version, kind, f"strict decoding error: {', '.join(problems)}")


def _json_kind(value: Json) -> str:
    match value:
        case bool():
            return "bool"
        case str():
            return "string"
        case int() | float():
            return "number"
        case list():
            return "array"
        case _:
            return "object"


@cache
def _object_checker(name: str) -> _Checker:
    """The checker of a Go struct. Field checkers are made at first use, since definitions may refer to each other."""
    schema = definitions()[name]
    struct = name.rpartition(".")[2]
    properties: dict[str, Object] = schema.get("properties") or {}
    required = frozenset(schema.get("required") or ())
    wanted = go_type({"$ref": name})
    fields: dict[str, _Checker] = {}
    plain = {
        key: {"string": str, "boolean": bool}[field["type"]]
        for key, field in properties.items()
        if field.get("type") in {"string", "boolean"} and field.get("format") != "byte"
    }

    def compiled(key: str) -> _Checker | None:
        if key in properties:
            fields[key] = _field_checker(properties[key], keep_empty=key in required)
        return fields.get(key)

    def check(value: Json, path: str, problems: list[str]) -> Json:
        if value.__class__ is not dict:
            raise _WrongType(_json_kind(value), wanted)
        dropped = []
        for key, item in value.items():
            if item.__class__ is plain.get(key, check):
                continue
            field = fields.get(key) or compiled(key)
            at = f"{path}.{key}" if path else key
            result = _DROP
            if field is None:
                problems.append(f'unknown field "{at}"')
            elif item is not None:
                try:
                    result = field(item, at, problems)
                except _WrongType as error:
                    error.locate(struct, key, at)
                    raise
            if result is _DROP:
                dropped.append(key)
            elif result is not item:
                value[key] = result
        for key in dropped:
            del value[key]
        return value

    return check


def _field_checker(schema: Object, *, keep_empty: bool = False) -> _Checker:
    """The checker of one field; an empty list or map is dropped unless the field is required (`omitempty`)."""
    if reference := schema.get("$ref"):
        return _reference_checker(reference)
    match schema.get("type"):
        case "array":
            return _array_checker(schema, keep_empty)
        case "object":
            return _map_checker(schema, keep_empty)
        case "boolean":
            return _plain_checker(bool, "bool")
        case "integer":
            return _integer_checker(schema.get("format", "int64"))
        case "number":
            return _number
        case _:
            return _base64 if schema.get("format") == "byte" else _plain_checker(str, "string")


def _reference_checker(name: str) -> _Checker:
    special = {QUANTITY: _quantity, INT_OR_STRING: _int_or_string, TIME: _time, MICRO_TIME: _micro_time}
    if name in special:
        return special[name]
    schema = definitions()[name]
    if "properties" in schema:
        return _object_checker(name)
    if schema.get("type", "object") == "object":
        return _anything
    return _field_checker(schema)


def _anything(value: Json, _path: str, _problems: list[str]) -> Json:
    return value


def _plain_checker(kind: type, wanted: str) -> _Checker:
    def check(value: Json, _path: str, _problems: list[str]) -> Json:
        if value.__class__ is not kind:
            raise _WrongType(_json_kind(value), wanted)
        return value

    return check


def _integer_checker(width: str) -> _Checker:
    low, high = _INT_RANGES[width]

    def check(value: Json, _path: str, _problems: list[str]) -> Json:
        if value.__class__ is int and low <= value <= high:
            return value
        found = _json_kind(value)
        raise _WrongType(f"number {value}" if found == "number" else found, width)

    return check


def _number(value: Json, _path: str, _problems: list[str]) -> Json:
    if value.__class__ not in {int, float}:
        raise _WrongType(_json_kind(value), "float64")
    return value


def _array_checker(schema: Object, keep_empty: bool) -> _Checker:
    item_checker = _field_checker(schema["items"], keep_empty=True)
    wanted = go_type(schema)
    null = _zero(schema["items"])

    def check(value: Json, path: str, problems: list[str]) -> Json:
        if value.__class__ is not list:
            raise _WrongType(_json_kind(value), wanted)
        if not value and not keep_empty:
            return _DROP
        for position, item in enumerate(value):
            result = null() if item is None else item_checker(item, f"{path}[{position}]", problems)
            if result is not item:
                value[position] = result
        return value

    return check


def _map_checker(schema: Object, keep_empty: bool) -> _Checker:
    values = schema.get("additionalProperties")
    if not values:
        return _anything
    value_checker = _field_checker(values, keep_empty=True)
    wanted = go_type(schema)
    null = _zero(values)

    def check(value: Json, path: str, problems: list[str]) -> Json:
        if value.__class__ is not dict:
            raise _WrongType(_json_kind(value), wanted)
        if not value and not keep_empty:
            return _DROP
        for key, item in value.items():
            result = null() if item is None else value_checker(item, f"{path}[{key}]", problems)
            if result is not item:
                value[key] = result
        return value

    return check


def _zero(schema: Object) -> Callable[[], Json]:
    """What Go makes of a null inside a list or map: the zero value."""
    if schema.get("$ref") == QUANTITY:
        return lambda: "0"
    return {"string": str, "boolean": bool, "integer": int, "number": int, "array": list}.get(
        schema.get("type", ""), dict
    )


def _quantity(value: Json, _path: str, _problems: list[str]) -> Json:
    text = value if value.__class__ is str else str(value)
    if value.__class__ not in {str, int, float}:
        raise Mismatch(quantity.WRONG_FORMAT)
    try:
        result = quantity.canonical(text)
    except quantity.QuantityError as error:
        raise Mismatch(str(error)) from error
    return value if result == value else result


def _int_or_string(value: Json, _path: str, _problems: list[str]) -> Json:
    if value.__class__ is str:
        return value
    low, high = _INT_RANGES["int32"]
    if value.__class__ is int and low <= value <= high:
        return value
    found = _json_kind(value)
    raise Mismatch(
        f"json: cannot unmarshal {f'number {value}' if found == 'number' else found} into Go value of type int32"
    )


def _time(value: Json, _path: str, _problems: list[str]) -> Json:
    return _timestamp(value, timestamps.canonical_time)


def _micro_time(value: Json, _path: str, _problems: list[str]) -> Json:
    return _timestamp(value, timestamps.canonical_micro_time)


def _timestamp(value: Json, canonical: Callable[[str], str]) -> Json:
    if value.__class__ is not str:
        raise Mismatch(f"json: cannot unmarshal {_json_kind(value)} into Go value of type string")
    try:
        result = canonical(value)
    except timestamps.TimeError as error:
        raise Mismatch(str(error)) from error
    return value if result == value else result


def _base64(value: Json, _path: str, _problems: list[str]) -> Json:
    if value.__class__ is not str:
        raise _WrongType(_json_kind(value), "[]uint8")
    text = value.replace("\n", "").replace("\r", "")
    try:
        binascii.a2b_base64(text, strict_mode=True)
    except (binascii.Error, ValueError) as error:
        bad = _NOT_BASE64.search(text)
        raise Mismatch(f"illegal base64 data at input byte {bad.start() if bad else len(text)}") from error
    return value if text == value else text

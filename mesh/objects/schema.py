"""The check of shape: does an object fit the schema of its kind, said in the API server's words.

For each definition a checker is compiled when it is first needed: a closure over plain dicts, so that checking a pod
costs tens of microseconds. A check brings the object into the form in which Go would have read and written it: nulls,
unknown fields and empty optional lists and maps dropped, quantities and times canonical. Ranges, formats and rules
across fields are not in the schemas; they are declared per kind in `controlplane/apiserver/strategies`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

from mesh.errors import BadRequest
from mesh.objects.definitions import INT_OR_STRING, MICRO_TIME, QUANTITY, TIME, definition_of, definitions, go_type
from mesh.objects.schema_values import (
    DROP,
    Checker,
    Mismatch,
    WrongType,
    anything,
    base64_text,
    int_or_string,
    integer_checker,
    json_kind,
    micro_time,
    number,
    plain_checker,
    quantity_text,
    time_text,
)
from mesh.objects.types import Json, Object

__all__ = ["Mismatch", "cannot_be_handled", "conform", "decode", "strict_error"]

_PLAIN = {"string": str, "boolean": bool}


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


def _plain_fields(properties: dict[str, Object]) -> dict[str, type]:
    """Fields that are fine whenever their Python type is right: most of them, and checked without a call."""
    return {
        key: _PLAIN[field["type"]]
        for key, field in properties.items()
        if field.get("type") in _PLAIN and field.get("format") != "byte"
    }


class _Struct:
    """The checker of one Go struct. Field checkers are made at first use, since definitions may refer to each other."""

    def __init__(self, name: str) -> None:
        schema = definitions()[name]
        self._name = name.rpartition(".")[2]
        self._go_type = go_type({"$ref": name})
        self._properties: dict[str, Object] = schema.get("properties") or {}
        self._required = frozenset(schema.get("required") or ())
        self._plain = _plain_fields(self._properties)
        self._fields: dict[str, Checker] = {}

    def check(self, value: Json, path: str, problems: list[str]) -> Json:
        """Check and clean all fields of a dict."""
        if value.__class__ is not dict:
            raise WrongType(json_kind(value), self._go_type)
        plain, dropped = self._plain, []
        for key, item in value.items():
            if item.__class__ is plain.get(key, self):
                continue
            result = self._check_field(key, item, f"{path}.{key}" if path else key, problems)
            if result is DROP:
                dropped.append(key)
            elif result is not item:
                value[key] = result
        for key in dropped:
            del value[key]
        return value

    def _check_field(self, key: str, item: Json, path: str, problems: list[str]) -> Json:
        checker = self._fields.get(key)
        if checker is None:
            if key not in self._properties:
                problems.append(f'unknown field "{path}"')
                return DROP
            checker = _field_checker(self._properties[key], keep_empty=key in self._required)
            self._fields[key] = checker
        if item is None:
            return DROP
        try:
            return checker(item, path, problems)
        except WrongType as error:
            error.locate(self._name, key, path)
            raise


@cache
def _object_checker(name: str) -> Checker:
    return _Struct(name).check


def _field_checker(schema: Object, *, keep_empty: bool = False) -> Checker:
    """The checker of one field; an empty list or map is dropped unless the field is required (`omitempty`)."""
    if reference := schema.get("$ref"):
        return _reference_checker(reference)
    match schema.get("type"):
        case "array":
            return _array_checker(schema, keep_empty)
        case "object":
            return _map_checker(schema, keep_empty)
        case "boolean":
            return plain_checker(bool, "bool")
        case "integer":
            return integer_checker(schema.get("format", "int64"))
        case "number":
            return number
        case _:
            return base64_text if schema.get("format") == "byte" else plain_checker(str, "string")


def _reference_checker(name: str) -> Checker:
    special = {QUANTITY: quantity_text, INT_OR_STRING: int_or_string, TIME: time_text, MICRO_TIME: micro_time}
    if name in special:
        return special[name]
    schema = definitions()[name]
    if "properties" in schema:
        return _object_checker(name)
    if schema.get("type", "object") == "object":
        return anything
    return _field_checker(schema)


def _array_checker(schema: Object, keep_empty: bool) -> Checker:
    item_checker = _field_checker(schema["items"], keep_empty=True)
    wanted = go_type(schema)
    null = _zero(schema["items"])

    def check(value: Json, path: str, problems: list[str]) -> Json:
        if value.__class__ is not list:
            raise WrongType(json_kind(value), wanted)
        if not value and not keep_empty:
            return DROP
        for position, item in enumerate(value):
            result = null() if item is None else item_checker(item, f"{path}[{position}]", problems)
            if result is not item:
                value[position] = result
        return value

    return check


def _map_checker(schema: Object, keep_empty: bool) -> Checker:
    values = schema.get("additionalProperties")
    if not values:
        return anything
    value_checker = _field_checker(values, keep_empty=True)
    wanted = go_type(schema)
    null = _zero(values)

    def check(value: Json, path: str, problems: list[str]) -> Json:
        if value.__class__ is not dict:
            raise WrongType(json_kind(value), wanted)
        if not value and not keep_empty:
            return DROP
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

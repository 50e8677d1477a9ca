"""Checking single values as Go's decoder would: plain ones, numbers, quantities, times, bytes.

A checker returns the value in canonical form, or raises `Mismatch` in the decoder's words.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable
from typing import Final, TypeAlias

from mesh.objects import quantity, timestamps
from mesh.objects.definitions import go_string_type
from mesh.objects.types import Json

Checker: TypeAlias = Callable[[Json, str, list[str]], Json]
"""(value, path, problems) -> the value in canonical form, or `DROP`. Unknown fields go into `problems`."""

DROP: Final = object()
"""What a checker returns for a value that is not kept."""

_INT_RANGES: Final = {"int32": (-(2**31), 2**31 - 1), "int64": (-(2**63), 2**63 - 1)}
_INDEX = re.compile(r"\[[^\]]*\]")
_NOT_BASE64 = re.compile(r"[^A-Za-z0-9+/]")


class Mismatch(ValueError):
    """A value that cannot be decoded into its field; the message is that of Go's decoder."""


class WrongType(Mismatch):
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


def json_kind(value: Json) -> str:
    """What Go's decoder calls the JSON type of a value."""
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


def anything(value: Json, _path: str, _problems: list[str]) -> Json:
    """Values whose shape nobody prescribes."""
    return value


def plain_checker(kind: type, wanted: str) -> Checker:
    """The checker of values that need only be of a Python type; `wanted` is what Go calls it."""

    def check(value: Json, _path: str, _problems: list[str]) -> Json:
        if value.__class__ is not kind:
            raise WrongType(json_kind(value), wanted)
        return value

    return check


def integer_checker(width: str) -> Checker:
    """The checker of integers that fit into `width` ("int32", "int64")."""

    low, high = _INT_RANGES[width]

    def check(value: Json, _path: str, _problems: list[str]) -> Json:
        if value.__class__ is int and low <= value <= high:
            return value
        found = json_kind(value)
        raise WrongType(f"number {value}" if found == "number" else found, width)

    return check


def number(value: Json, _path: str, _problems: list[str]) -> Json:
    """Any number."""
    if value.__class__ not in {int, float}:
        raise WrongType(json_kind(value), "float64")
    return value


def quantity_text(value: Json, _path: str, _problems: list[str]) -> Json:
    """A quantity, as text or number; kept as canonical text."""
    text = value if value.__class__ is str else str(value)
    if value.__class__ not in {str, int, float}:
        raise Mismatch(quantity.WRONG_FORMAT)
    try:
        result = quantity.canonical(text)
    except quantity.QuantityError as error:
        raise Mismatch(str(error)) from error
    return value if result == value else result


def int_or_string(value: Json, _path: str, _problems: list[str]) -> Json:
    """A 32-bit integer or a string."""
    if value.__class__ is str:
        return value
    low, high = _INT_RANGES["int32"]
    if value.__class__ is int and low <= value <= high:
        return value
    found = json_kind(value)
    raise Mismatch(
        f"json: cannot unmarshal {f'number {value}' if found == 'number' else found} into Go value of type int32"
    )


def time_text(value: Json, _path: str, _problems: list[str]) -> Json:
    """A `metav1.Time`."""
    return _timestamp(value, timestamps.canonical_time)


def micro_time(value: Json, _path: str, _problems: list[str]) -> Json:
    """A `metav1.MicroTime`."""
    return _timestamp(value, timestamps.canonical_micro_time)


def _timestamp(value: Json, canonical: Callable[[str], str]) -> Json:
    if value.__class__ is not str:
        raise Mismatch(f"json: cannot unmarshal {json_kind(value)} into Go value of type string")
    try:
        result = canonical(value)
    except timestamps.TimeError as error:
        raise Mismatch(str(error)) from error
    return value if result == value else result


def base64_text(value: Json, _path: str, _problems: list[str]) -> Json:
    """Bytes as base64 text; line breaks in it go."""
    if value.__class__ is not str:
        raise WrongType(json_kind(value), "[]uint8")
    text = value.replace("\n", "").replace("\r", "")
    try:
        binascii.a2b_base64(text, strict_mode=True)
    except (binascii.Error, ValueError) as error:
        bad = _NOT_BASE64.search(text)
        raise Mismatch(f"illegal base64 data at input byte {bad.start() if bad else len(text)}") from error
    return value if text == value else text

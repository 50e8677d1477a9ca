"""kubectl's JSONPath templates, filled in: what `{.items[*].metadata.name}` says of an object. Pure.

What a path does not lead to is left out, as `kubectl get` does it. `jsonpath_parser` reads the templates.
Source: kubernetes.io/docs/reference/kubectl/jsonpath, client-go's util/jsonpath.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import orjson

from mesh.errors import Terminal
from mesh.objects.types import Json

_OPERATORS: dict[str, Callable[[Json, Json], bool]] = {
    "==": operator.eq, "!=": operator.ne, "<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Field:
    """`.name` or `['name']`; `*` is every member."""

    name: str


@dataclass(frozen=True, slots=True)
class Descend:
    """`..`: the value itself and everything in it."""


@dataclass(frozen=True, slots=True)
class Slice:
    """`[start:end:step]`, or `[start]` when `single`."""

    start: int | None
    end: int | None
    step: int | None
    single: bool


@dataclass(frozen=True, slots=True)
class Union:
    """`[0,2]`, `['a','b']`."""

    members: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Filter:
    """`[?(left)]`: where `left` leads somewhere; `[?(left op right)]`: where they compare so."""

    left: Operand
    operator: str = ""
    right: Operand | None = None


@dataclass(frozen=True, slots=True)
class Literal:
    """A string, number or boolean to compare with."""

    value: Json


Step: TypeAlias = Field | Descend | Slice | Union | Filter
Path: TypeAlias = tuple[Step, ...]
Operand: TypeAlias = Path | Literal


@dataclass(frozen=True, slots=True)
class Range:
    """`{range path}parts{end}`: the parts once for each value."""

    path: Path
    parts: tuple[Part, ...]


Part: TypeAlias = str | Path | Range


def render(parts: Sequence[Part], value: Json) -> str:
    """The template filled in."""
    written = []
    for part in parts:
        if isinstance(part, str):
            written.append(part)
        elif isinstance(part, Range):
            written += [render(part.parts, each) for each in find(part.path, value)]
        else:
            written.append(" ".join(as_text(each) for each in find(part, value)))
    return "".join(written)


def as_text(value: Json) -> str:
    """A value as it is printed: text as it is, everything else as JSON."""
    return value if isinstance(value, str) else orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def find(path: Path, value: Json) -> list[Json]:
    """All values that a path leads to."""
    found: list[Json] = [value]
    for step in path:
        found = [each for one in found for each in _follow(step, one)]
    return found


def _follow(step: Step, value: Json) -> Iterator[Json]:
    if isinstance(step, Descend):
        yield value
        for member in _members(value):
            yield from _follow(step, member)
    elif isinstance(step, Union):
        for path in step.members:
            yield from find(path, value)
    elif isinstance(step, Field):
        if step.name == "*":
            yield from _members(value)
        elif isinstance(value, dict) and step.name in value:
            yield value[step.name]
    elif isinstance(value, list):
        yield from _pick(step, value) if isinstance(step, Slice) else (v for v in value if _holds(step, v))


def _members(value: Json) -> list[Json]:
    return list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []


def _pick(step: Slice, values: list[Json]) -> list[Json]:
    if not step.single:
        return values[step.start : step.end : step.step or 1]
    index = step.start or 0
    if not -len(values) <= index < len(values):
        raise Terminal(f"error executing jsonpath: array index out of bounds: index {index}, length {len(values)}")
    return [values[index]]


def _holds(step: Filter, value: Json) -> bool:
    left = _value(step.left, value)
    if step.right is None:
        return bool(left)
    right = _value(step.right, value)
    if not left or not right:
        return False
    try:
        return _OPERATORS[step.operator](left[0], right[0])
    except TypeError:  # a number and a text have no order
        return False


def _value(operand: Operand, value: Json) -> list[Json]:
    return [operand.value] if isinstance(operand, Literal) else find(operand, value)

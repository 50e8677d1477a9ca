"""What `-o custom-columns=NAME:.metadata.name,...` and `--sort-by` do with objects. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import TypeAlias

from cli.jsonpath import Path, as_text, find
from cli.jsonpath_parser import parse_relaxed
from mesh.errors import Terminal
from mesh.objects.meta import parse_time
from mesh.objects.quantity import to_milli
from mesh.objects.types import Json, Object

_DIGITS = re.compile(r"(\d+)")
SortKey: TypeAlias = tuple[int, tuple[Json, ...]]


def column_rows(spec: str, objects: Sequence[Object], *, headers: bool = True) -> list[list[str]]:
    """The rows of a table with these columns; what an object does not have is `<none>`. `Terminal` for a spec that
    cannot be read."""
    if not spec:
        raise Terminal("custom-columns format specified but no custom columns given")
    columns: list[tuple[str, Path]] = []
    for part in spec.split(","):
        header, colon, expression = part.partition(":")
        if not colon or not header or not expression:
            raise Terminal(f"unexpected custom-columns spec: {part}, expected <header>:<json-path-expr>")
        columns.append((header, parse_relaxed(expression)))
    rows = [[header for header, _ in columns]] if headers else []
    return rows + [[_cell(find(path, obj)) for _, path in columns] for obj in objects]


def _cell(values: list[Json]) -> str:
    return ",".join("<none>" if value is None else as_text(value) for value in values) or "<none>"


def sort_key(path: Path, obj: Object) -> SortKey:
    """What orders objects by what a path leads to: objects without it first, then quantities and numbers by their
    size, times, and texts with their numbers by size ("web-9" before "web-10")."""
    values = find(path, obj)
    if not values or values[0] is None:
        return 0, ()
    value = values[0]
    if isinstance(value, int | float):
        return 1, (value,)
    text = as_text(value)
    try:
        return 1, (to_milli(text) / 1000,)
    except ValueError:
        moment = _moment(text)
    if moment is not None:
        return 2, (moment,)
    return 3, tuple(int(part) if i % 2 else part for i, part in enumerate(_DIGITS.split(text)))


def _moment(text: str) -> datetime | None:
    try:
        return parse_time(text)
    except ValueError:
        return None

"""What verbs print: server-made tables, objects as JSON or YAML, names; exactly as kubectl lays them out."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import TextIO

import orjson
import yaml

from cli.arguments import Target
from mesh.errors import Terminal
from mesh.objects.kinds import Resource
from mesh.objects.types import Object

GAP = "   "
FORMATS = ("", "wide", "json", "yaml", "name")


def say(text: str) -> None:
    """One line on standard output."""
    sys.stdout.write(text + "\n")


def warn(text: str) -> None:
    """One line on standard error."""
    sys.stderr.write(text + "\n")


def check_format(output: str) -> None:
    """Refuse an output format that does not exist, naming those that do."""
    if output not in FORMATS:
        raise Terminal(f'unable to match a printer suitable for the output format "{output}", allowed formats are: '
                       f"json,name,wide,yaml")  # fmt: skip


def to_json(obj: Object) -> str:
    """Indented JSON with kubectl's order (sorted keys)."""
    return orjson.dumps(obj, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS).decode().replace("  ", "    ", 0)


class _Dumper(yaml.SafeDumper):
    """Block style, with literal blocks for text of several lines."""


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = "|" if "\n" in value else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)


def to_yaml(obj: Object) -> str:
    """YAML with sorted keys."""
    return yaml.dump(obj, Dumper=_Dumper, sort_keys=True, default_flow_style=False, allow_unicode=True, width=4096)


def as_list(objects: Sequence[Object]) -> Object:
    """Several objects as one v1 List."""
    return {"apiVersion": "v1", "kind": "List", "items": list(objects), "metadata": {"resourceVersion": ""}}


def print_objects(objects: Sequence[Object], output: str, resources: Sequence[Resource], *, single: bool) -> None:
    """Objects in one of the machine-readable formats; `single` leaves one object without a List around it."""
    if output == "name":
        for obj, resource in zip(objects, resources, strict=True):
            say(str(Target(resource, obj["metadata"]["name"])))
        return
    shown = objects[0] if single and len(objects) == 1 else as_list(objects)
    sys.stdout.write(to_yaml(shown) if output == "yaml" else to_json(shown) + "\n")


class TablePrinter:
    """Prints server-made tables; keeps column widths from the first, so that watched rows line up below it."""

    def __init__(self, *, wide: bool, namespaces: bool, prefix: bool = False, labels: bool = False) -> None:
        self._wide = wide
        self._namespaces = namespaces
        self._prefix = prefix
        self._labels = labels
        self._widths: list[int] = []

    def show(self, table: Object, resource: Resource, *, headers: bool = True) -> None:
        """Print a `meta.k8s.io/v1 Table`."""
        rows = self._rows(table, resource)
        if headers and not self._widths:
            rows.insert(0, self._headers(table, resource))
        print_rows(rows, self._widths)

    def _headers(self, table: Object, resource: Resource) -> list[str]:
        namespace = ["NAMESPACE"] if self._namespaces and resource.namespaced else []
        names = [c["name"].upper() for c in table["columnDefinitions"] if self._shown(c)]
        return namespace + names + (["LABELS"] if self._labels else [])

    def _rows(self, table: Object, resource: Resource) -> list[list[str]]:
        shown = [i for i, column in enumerate(table["columnDefinitions"]) if self._shown(column)]
        rows = []
        for row in table.get("rows") or ():
            cells = [_cell(row["cells"][i]) for i in shown]
            meta = (row.get("object") or {}).get("metadata") or {}
            if self._prefix:
                cells[0] = str(Target(resource, cells[0]))
            if self._namespaces and resource.namespaced:
                cells.insert(0, meta.get("namespace", ""))
            if self._labels:
                cells.append(",".join(f"{k}={v}" for k, v in sorted((meta.get("labels") or {}).items())) or "<none>")
            rows.append(cells)
        return rows

    def _shown(self, column: Object) -> bool:
        return self._wide or not column.get("priority", 0)


def _cell(value: object) -> str:
    if value is None:
        return "<none>"
    if isinstance(value, bool):
        return str(value).lower()
    text = str(value)
    return text.replace("\n", "\\n")


def print_rows(rows: Iterable[Sequence[str]], widths: list[int] | None = None, output: TextIO | None = None) -> None:
    """Columns padded to their widest cell with three spaces between them. `widths`, when given, is kept between calls."""
    rows = list(rows)
    widths = widths if widths is not None else []
    for row in rows:
        widths.extend([0] * (len(row) - len(widths)))
        for i, cell in enumerate(row):
            widths[i] = max(widths[i], len(cell))
    stream = output or sys.stdout
    for row in rows:
        padded = [cell.ljust(widths[i]) for i, cell in enumerate(row[:-1])] + list(row[-1:])
        stream.write(GAP.join(padded).rstrip() + "\n")
    stream.flush()

"""What verbs print: server-made tables, objects as JSON or YAML, names; exactly as kubectl lays them out."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import TextIO

import yaml

from cli.arguments import Target
from cli.columns import column_rows
from cli.jsonpath import render
from cli.jsonpath_parser import parse
from mesh.errors import Terminal
from mesh.objects.kinds import Resource
from mesh.objects.types import Object

GAP = "   "
FORMATS = ("", "wide", "json", "yaml", "name")
TEMPLATES = ("custom-columns", "jsonpath")
"""Formats with an argument: `jsonpath={.metadata.name}`."""


def say(text: str) -> None:
    """One line on standard output."""
    sys.stdout.write(text + "\n")


def warn(text: str) -> None:
    """One line on standard error."""
    sys.stderr.write(text + "\n")


def check_format(output: str) -> None:
    """Refuse an output format that does not exist or a template that cannot be read."""
    form, _, template = output.partition("=")
    if form == "jsonpath" and template:
        parse(template)
    elif form == "custom-columns":
        column_rows(template, ())
    elif form == "jsonpath":
        raise Terminal("template format specified but no template given")
    elif output not in FORMATS:
        allowed = ",".join(sorted((*TEMPLATES, *FORMATS[1:])))
        raise Terminal(
            f'unable to match a printer suitable for the output format "{output}", allowed formats are: {allowed}'
        )


def to_json(obj: Object) -> str:
    """Indented JSON with kubectl's order (sorted keys)."""
    return json.dumps(obj, indent=4, sort_keys=True, ensure_ascii=False)


class _Dumper(yaml.SafeDumper):
    """Block style, with literal blocks for text of several lines, and double quotes around what would be a number. What
    stands in several places is written out in each."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - the library's signature
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    tag: str = dumper.resolve(yaml.ScalarNode, value, (True, False))  # type: ignore[no-untyped-call]
    style = "|" if "\n" in value else None if tag == "tag:yaml.org,2002:str" else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)


def to_yaml(obj: Object) -> str:
    """YAML with sorted keys."""
    return yaml.dump(obj, Dumper=_Dumper, sort_keys=True, default_flow_style=False, allow_unicode=True, width=4096)


def as_list(objects: Sequence[Object]) -> Object:
    """Several objects as one v1 List."""
    return {"apiVersion": "v1", "kind": "List", "items": list(objects), "metadata": {"resourceVersion": ""}}


def print_objects(
    objects: Sequence[Object], output: str, resources: Sequence[Resource], *, single: bool, headers: bool = True
) -> None:
    """Objects in one of the formats that `check_format` takes, tables apart; `single` leaves one object without a List
    around it."""
    form, _, template = output.partition("=")
    if form == "name":
        for obj, resource in zip(objects, resources, strict=True):
            say(str(Target(resource, obj["metadata"]["name"])))
        return
    if form == "custom-columns":
        print_rows(column_rows(template, objects, headers=headers))
        return
    shown = objects[0] if single and len(objects) == 1 else as_list(objects)
    if form == "jsonpath":
        sys.stdout.write(render(parse(template), shown))
    else:
        sys.stdout.write(to_yaml(shown) if form == "yaml" else to_json(shown) + "\n")


class TablePrinter:
    """Prints server-made tables; keeps columns and their widths from the first, so that watched rows line up below it.

    `label_columns` are labels that get a column each, `labels` is a last column with all of them.
    """

    def __init__(
        self,
        *,
        wide: bool,
        namespaces: bool,
        prefix: bool = False,
        labels: bool = False,
        label_columns: Sequence[str] = (),
        headers: bool = True,
    ) -> None:
        self._wide = wide
        self._namespaces = namespaces
        self._prefix = prefix
        self._labels = labels
        self._label_columns = label_columns
        self._headers = headers
        self._columns: list[Object] = []
        self._widths: list[int] = []

    def show(self, table: Object, resource: Resource) -> None:
        """Print a `meta.k8s.io/v1 Table`. A watch sends the columns with its first only."""
        self._columns = table.get("columnDefinitions") or self._columns
        rows = self._rows(table, resource)
        if self._headers and not self._widths:
            rows.insert(0, self._heading(resource))
        print_rows(rows, self._widths)

    def begin_anew(self) -> None:
        """The next table stands below the others, with columns of its own."""
        if self._headers:
            say("")
        self._widths = []

    def _heading(self, resource: Resource) -> list[str]:
        namespace = ["NAMESPACE"] if self._namespaces and resource.namespaced else []
        names = [c["name"].upper() for c in self._columns if self._shown(c)]
        chosen = [label.rpartition("/")[2].upper() for label in self._label_columns]
        return namespace + names + chosen + (["LABELS"] if self._labels else [])

    def _rows(self, table: Object, resource: Resource) -> list[list[str]]:
        shown = [i for i, column in enumerate(self._columns) if self._shown(column)]
        rows = []
        for row in table.get("rows") or ():
            cells = [_cell(row["cells"][i]) for i in shown]
            meta = (row.get("object") or {}).get("metadata") or {}
            labels = meta.get("labels") or {}
            if self._prefix:
                cells[0] = str(Target(resource, cells[0]))
            if self._namespaces and resource.namespaced:
                cells.insert(0, meta.get("namespace", ""))
            cells += [labels.get(label, "") for label in self._label_columns]
            if self._labels:
                cells.append(",".join(f"{k}={v}" for k, v in sorted(labels.items())) or "<none>")
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

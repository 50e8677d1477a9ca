"""The layout of descriptions: `Name:  value` in aligned columns, nested blocks, lists under a heading. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC

from mesh.objects.meta import parse_time

NONE = "<none>"
UNSET = "<unset>"


class Page:
    """Lines of cells separated by tabs, aligned when printed: neighbours with equally many cells share columns."""

    def __init__(self) -> None:
        self._lines: list[tuple[int, list[str]]] = []

    def line(self, *cells: str, indent: int = 0) -> None:
        """One line; cells are padded to their column."""
        self._lines.append((indent, list(cells)))

    def field(self, name: str, value: object, indent: int = 0) -> None:
        """`Name:  value`."""
        self.line(f"{name}:", str(value), indent=indent)

    def heading(self, text: str, indent: int = 0) -> None:
        """A line of its own with a colon."""
        self.line(f"{text}:", indent=indent)

    def pairs(self, name: str, values: Mapping[str, str] | None, indent: int = 0, joint: str = "=") -> None:
        """Labels and the like: one `key=value` on each line."""
        self.listed(name, [f"{k}{joint}{v}" for k, v in sorted((values or {}).items())], indent)

    def listed(self, name: str, values: Sequence[str], indent: int = 0) -> None:
        """Several values of one field below each other."""
        if not values:
            self.field(name, NONE, indent)
            return
        self.field(name, values[0], indent)
        for value in values[1:]:
            self.line("", value, indent=indent)

    def table(self, headers: Sequence[str], rows: Iterable[Sequence[str]], indent: int = 2) -> None:
        """A small table with a line of dashes below its headers."""
        self.line(*headers, indent=indent)
        self.line(*("-" * len(h) for h in headers), indent=indent)
        for row in rows:
            self.line(*row, indent=indent)

    def __str__(self) -> str:
        out: list[str] = []
        for start, stop in self._blocks():
            block = self._lines[start:stop]
            width: dict[int, int] = {}
            for indent, cells in block:
                for i, cell in enumerate(cells[:-1]):
                    width[i] = max(width.get(i, 0), len(cell) + (indent if i == 0 else 0))
            for indent, cells in block:
                text = ""
                for i, cell in enumerate(cells):
                    padded = (" " * indent if i == 0 else "") + cell
                    text += padded if i == len(cells) - 1 else padded.ljust(width[i] + 2)
                out.append(text.rstrip())
        return "\n".join(out) + "\n"

    def _blocks(self) -> Iterable[tuple[int, int]]:
        """Runs of lines that share columns: headings (one cell) and a change from fields to tables end a run."""
        start = 0
        for i in range(1, len(self._lines) + 1):
            if i == len(self._lines) or self._shape(i) != self._shape(i - 1):
                yield start, i
                start = i

    def _shape(self, i: int) -> tuple[int, int]:
        indent, cells = self._lines[i]
        return (len(cells), indent if len(cells) > 2 else 0)


def local_time(text: str | None) -> str:
    """A timestamp as `Mon, 02 Jan 2006 15:04:05 +0000`."""
    if not text:
        return "<unknown>"
    return parse_time(text).astimezone(UTC).strftime("%a, %d %b %Y %H:%M:%S +0000")

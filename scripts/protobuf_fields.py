# ruff: noqa: INP001
"""Writes `controlplane/apiserver/protobuf_fields.py`: the protobuf field numbers of Kubernetes' types.

Kubernetes publishes them as Go struct tags only. A kubectl binary carries those tags, with the types of the fields, in
its run-time type information; this reads them from there. Run it when the served kinds or kubectl's version change:

    python scripts/protobuf_fields.py .venv/bin/kubectl > controlplane/apiserver/protobuf_fields.py
"""

from __future__ import annotations

import re
import struct
import sys
import textwrap
from pathlib import Path

PACKAGES = (
    *("core/v1", "apps/v1", "discovery/v1", "coordination/v1", "policy/v1", "autoscaling/v1", "authentication/v1"),
    *("batch/v1", "networking/v1", "rbac/v1", "storage/v1", "scheduling/v1", "authorization/v1"),
)
SCALARS = {1: "bool", 2: "int64", 5: "int32", 6: "int64", 13: "float", 14: "double", 24: "string"}
UINT8, MAP, POINTER, SLICE, STRUCT = 8, 21, 22, 23, 25
_TAG = re.compile(r'json:"(?P<json>[^",]*).*protobuf:"\w+,(?P<number>\d+)')
_HEADER = '''"""The protobuf field numbers of Kubernetes' types, written by `scripts/protobuf_fields.py`.

For each message its fields as `number:name:type`. A name that is empty is an embedded message, whose fields are the
outer one's own in JSON. Types are scalars, `bytes`, messages by name, `[]` lists and `{}` maps from strings; `*` marks
what Go holds as a pointer, where a zero value differs from none.
"""

from __future__ import annotations

FIELDS: dict[str, str] = {'''


class Binary:
    """Go's run-time types (abi.Type) in a statically linked ELF executable."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        sections = self._sections()
        address, offset, size = sections[".rodata"]
        self._start, self._end = address, address + size
        self._shift = address - offset

    def _sections(self) -> dict[str, tuple[int, int, int]]:
        table = self._number("<Q", 0x28)
        size, count, names = struct.unpack_from("<HHH", self._data, 0x3A)
        headers = [struct.unpack_from("<IIQQQQ", self._data, table + i * size) for i in range(count)]
        strings = headers[names][4]
        found = {}
        for name, _, _, address, offset, length in headers:
            start = strings + name
            found[self._data[start : self._data.index(b"\0", start)].decode()] = (address, offset, length)
        return found

    def _number(self, form: str, offset: int) -> int:
        return int(struct.unpack_from(form, self._data, offset)[0])

    def _at(self, address: int) -> int:
        return address - self._shift

    def _varint(self, offset: int) -> tuple[int, int]:
        value, shift = 0, 0
        while True:
            byte = self._data[offset]
            offset += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value, offset

    def name(self, address: int) -> tuple[str, str]:
        """A name and its tag."""
        offset = self._at(address)
        flags = self._data[offset]
        length, offset = self._varint(offset + 1)
        text, tag = self._data[offset : offset + length], b""
        if flags & 2:
            size, start = self._varint(offset + length)
            tag = self._data[start : start + size]
        return text.decode(errors="replace"), tag.decode(errors="replace")

    def kind(self, address: int) -> int:
        """The kind of a type, as Go's reflect numbers them."""
        return self._data[self._at(address) + 23] & 31

    def element(self, address: int, which: int = 0) -> int:
        """The type a pointer, slice or map is of."""
        return self._number("<Q", self._at(address) + 48 + 8 * which)

    def message(self, address: int) -> str:
        """A named struct as "core/v1.Pod", "" for one of no Kubernetes package."""
        offset = self._at(address)
        flags = self._data[offset + 20]
        text = self.name(self._start + self._number("<i", offset + 40))[0].removeprefix("*" if flags & 2 else "")
        if not flags & 1:
            return ""
        package = self.name(self._start + self._number("<i", offset + 80))[0]
        for prefix in ("k8s.io/api/", "k8s.io/apimachinery/pkg/apis/", "k8s.io/apimachinery/pkg/"):
            if package.startswith(prefix):
                return f"{package.removeprefix(prefix)}.{text.rpartition('.')[2]}"
        return ""

    def fields(self, address: int) -> list[tuple[str, int]]:
        """The tag and type of each field of a struct."""
        start, count, _ = struct.unpack_from("<QQQ", self._data, self._at(address) + 56)
        found = []
        for index in range(count):
            name, kind, _ = struct.unpack_from("<QQQ", self._data, self._at(start) + 24 * index)
            found.append((self.name(name)[1], kind))
        return found

    def structs(self) -> list[int]:
        """Addresses of all that looks like a struct type."""
        found = []
        for address in range(self._start, self._end - 80, 8):
            offset = self._at(address)
            if self._data[offset + 23] != STRUCT:
                continue
            start, count, capacity = struct.unpack_from("<QQQ", self._data, offset + 56)
            if 0 < count == capacity < 150 and self._start <= start < self._end:
                found.append(address)
        return found

    def spell(self, address: int) -> str:
        """A field's type in the notation of the table."""
        kind = self.kind(address)
        if kind == POINTER:
            return "*" + self.spell(self.element(address))
        if kind == SLICE:
            inner = self.element(address)
            return "bytes" if self.kind(inner) == UINT8 else "[]" + self.spell(inner)
        if kind == MAP:
            return "{}" + self.spell(self.element(address, 1))
        if kind == STRUCT:
            return self.message(address)
        return SCALARS[kind]


def collect(binary: Binary) -> dict[str, list[str]]:
    """All messages with protobuf tags."""
    messages: dict[str, list[str]] = {}
    for address in binary.structs():
        try:
            name = binary.message(address)
            fields = [(m, kind) for tag, kind in binary.fields(address) if (m := _TAG.search(tag))]
            if name and fields:
                messages[name] = [f"{m['number']}:{m['json']}:{binary.spell(kind)}" for m, kind in fields]
        except (IndexError, KeyError, struct.error):
            continue  # bytes that only look like a type
    return messages


def reachable(messages: dict[str, list[str]]) -> list[str]:
    """The messages of `PACKAGES`, and what they hold."""
    todo = [name for name in messages if name.rpartition(".")[0] in PACKAGES or name == "meta/v1.DeleteOptions"]
    seen: set[str] = set()
    while todo:
        name = todo.pop()
        if name in seen or name not in messages:
            continue
        seen.add(name)
        todo += [field.split(":")[2].lstrip("*[]{}") for field in messages[name]]
    return sorted(seen)


def main() -> None:
    """Print the module."""
    messages = collect(Binary(Path(sys.argv[1]).read_bytes()))
    lines = [_HEADER]
    for name in reachable(messages):
        wrapped = textwrap.wrap(" ".join(messages[name]), 108, break_long_words=False, break_on_hyphens=False)
        if len(wrapped) == 1 and len(name) + len(wrapped[0]) < 106:
            lines.append(f'    "{name}": "{wrapped[0]}",')
            continue
        lines.append(f'    "{name}": (')
        lines += [f'        "{line} "' for line in wrapped[:-1]]
        lines += [f'        "{wrapped[-1]}"', "    ),"]
    sys.stdout.write("\n".join([*lines, "}\n"]))


if __name__ == "__main__":
    main()

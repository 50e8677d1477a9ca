"""Reads kubectl's JSONPath templates: `{range .items[*]}{.metadata.name}{"\\n"}{end}`. Pure.

Fields, `['field']`, `*`, `..field`, indexes, slices, unions, filters `[?(@.type=="Ready")]`, text in quotes, range and end.
Source: kubernetes.io/docs/reference/kubectl/jsonpath, client-go's util/jsonpath/parser.go.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import orjson

from cli.jsonpath import Descend, Field, Filter, Literal, Operand, Part, Path, Range, Slice, Step, Union
from mesh.errors import Terminal

_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}
_FIELD = re.compile(r"((?:\\.|[^\s.,\[\]$@{}()=<>!'\"\\])+)")
_QUOTED = re.compile(r"""'((?:\\.|[^'\\])*)'|"((?:\\.|[^"\\])*)\"""")
_SLICE = re.compile(r"(-?\d+)?(?::(-?\d+)?(?::(-?\d+)?)?)?")
_WORD = re.compile(r"[^\s)=<>!]+")
_CONDITION = re.compile(r"\s*(==|!=|<=|>=|<|>)\s*")


class _Reader:
    """A text and how far it has been read."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        found = pattern.match(self.text, self.at)
        if found is not None:
            self.at = found.end()
        return found

    def take(self, word: str) -> bool:
        if self.text.startswith(word, self.at):
            self.at += len(word)
            return True
        return False

    def need(self, word: str) -> None:
        if not self.take(word):
            raise self.wrong(f"expected {word}")

    def spaces(self) -> None:
        while self.text[self.at : self.at + 1].isspace():
            self.at += 1

    def wrong(self, what: str) -> Terminal:
        return Terminal(f"error parsing jsonpath {self.text}, {what} at {self.text[self.at :]!r}")


def parse(template: str) -> tuple[Part, ...]:
    """The parts of a template; `Terminal` says where it cannot be read."""
    return tuple(_parts(_Reader(template), nested=False))


def parse_relaxed(expression: str) -> Path:
    """One path, as columns and --sort-by take it: `{.metadata.name}`, `.metadata.name` or `metadata.name`."""
    bare = expression.strip().removeprefix("{").removesuffix("}")
    parts = parse("{" + (bare if bare[:1] in {".", "[", "$", "@"} else f".{bare}") + "}")
    if len(parts) != 1 or not isinstance(parts[0], tuple):
        raise Terminal(f"unexpected path string, expected a 'name1.name2' or '.name1.name2' or '{{name1.name2}}' or "
                       f"'{{.name1.name2}}': {expression}")  # fmt: skip
    return parts[0]


def _parts(reader: _Reader, *, nested: bool) -> Iterator[Part]:
    while reader.at < len(reader.text):
        brace = reader.text.find("{", reader.at)
        if brace != reader.at:
            end = brace if brace >= 0 else len(reader.text)
            yield reader.text[reader.at : end]
            reader.at = end
            continue
        reader.need("{")
        reader.spaces()
        if reader.take("end}"):
            if nested:
                return
            raise reader.wrong("not in range, nothing to end")
        if reader.take("range "):
            path = _path(reader)
            _close(reader)
            yield Range(path, tuple(_parts(reader, nested=True)))
            continue
        quoted = reader.match(_QUOTED)
        yield _unquoted(quoted) if quoted else _path(reader)
        _close(reader)
    if nested:
        raise reader.wrong("unterminated range")


def _close(reader: _Reader) -> None:
    reader.spaces()
    reader.need("}")


def _path(reader: _Reader) -> Path:
    """Steps as long as there are any."""
    reader.spaces()
    began = reader.at
    if not reader.take("$"):
        reader.take("@")
    steps: list[Step] = []
    while True:
        if reader.take(".."):
            steps.append(Descend())
            if reader.text[reader.at : reader.at + 1] != "[":
                steps.append(_field(reader))
        elif reader.take("."):
            if reader.text[reader.at : reader.at + 1] not in {"[", "}", ""}:
                steps.append(_field(reader))
        elif reader.take("["):
            steps.append(_bracket(reader))
        elif reader.at == began:
            raise reader.wrong("unrecognized identifier")
        else:
            return tuple(steps)


def _field(reader: _Reader) -> Field:
    found = reader.match(_FIELD)
    if found is None:
        raise reader.wrong("expected a field")
    return Field(re.sub(r"\\(.)", r"\1", found[1]))


def _bracket(reader: _Reader) -> Step:
    """What stands between `[` and `]`."""
    reader.spaces()
    if reader.take("?("):
        left = _operand(reader)
        compared = reader.match(_CONDITION)
        right = _operand(reader) if compared else None
        reader.spaces()
        reader.need(")")
        _close_bracket(reader)
        return Filter(left, compared[1] if compared else "", right)
    members = [_member(reader)]
    reader.spaces()
    while reader.take(","):
        reader.spaces()
        members.append(_member(reader))
        reader.spaces()
    _close_bracket(reader)
    return members[0] if len(members) == 1 else Union(tuple((member,) for member in members))


def _close_bracket(reader: _Reader) -> None:
    reader.spaces()
    reader.need("]")


def _member(reader: _Reader) -> Step:
    if reader.take("*"):
        return Field("*")
    if quoted := reader.match(_QUOTED):
        return Field(_unquoted(quoted))
    found = reader.match(_SLICE)
    if found is None or not found[0]:
        raise reader.wrong("invalid array index")
    start, end, step = (int(text) if text else None for text in found.groups())
    return Slice(start, end, step, single=":" not in found[0])


def _operand(reader: _Reader) -> Operand:
    reader.spaces()
    if quoted := reader.match(_QUOTED):
        return Literal(_unquoted(quoted))
    if reader.text[reader.at : reader.at + 1] in {"@", ".", "$"}:
        return _path(reader)
    found = reader.match(_WORD)
    if found is None:
        raise reader.wrong("expected a value")
    try:
        return Literal(orjson.loads(found[0]))
    except orjson.JSONDecodeError as error:
        raise reader.wrong(f"unrecognized identifier {found[0]}") from error


def _unquoted(found: re.Match[str]) -> str:
    text = found[1] if found[1] is not None else found[2]
    return re.sub(r"\\(.)", lambda match: _ESCAPES.get(match[1], match[1]), text)

"""Label selectors: the string notation, the `LabelSelector` object, matching, and printing.

Source: k8s.io/apimachinery/pkg/labels/selector.go and pkg/apis/meta/v1/helpers.go; error sentences are theirs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from mesh.errors import BadRequest
from mesh.objects import names
from mesh.objects.types import Object

Operator: TypeAlias = Literal["in", "notin", "=", "==", "!=", "gt", "lt", "exists", "!"]

_BINARY_OPERATORS: Final = ("in", "notin", "=", "==", "!=", "gt", "lt")
_SPELLING: Final[dict[str, Operator]] = {
    "in": "in", "notin": "notin", "=": "=", "==": "==", "!=": "!=", ">": "gt", "<": "lt",
}  # fmt: skip
_INTEGER = re.compile(r"[+-]?[0-9]+")


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on one label. `values` are sorted; none for "exists" and "!", one for "=", "!=", "gt", "lt"."""

    key: str
    operator: Operator
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether the labels meet this condition; a missing label meets "!", "!=" and "notin"."""
        value = labels.get(self.key)
        if self.operator in {"in", "=", "=="}:
            return value in self.values
        if self.operator in {"notin", "!="}:
            return value not in self.values
        if self.operator in {"exists", "!"}:
            return (value is not None) == (self.operator == "exists")
        if value is None or not _INTEGER.fullmatch(value):
            return False
        limit = int(self.values[0])
        return int(value) > limit if self.operator == "gt" else int(value) < limit

    def __str__(self) -> str:
        if self.operator == "exists":
            return self.key
        if self.operator == "!":
            return f"!{self.key}"
        if self.operator in {"in", "notin"}:
            return f"{self.key} {self.operator} ({','.join(self.values)})"
        sign = {"gt": ">", "lt": "<"}.get(self.operator, self.operator)
        return f"{self.key}{sign}{self.values[0]}"


class Selector:
    """A conjunction of requirements; without any it matches everything. Hashable, compares by meaning as written."""

    __slots__ = ("_equal", "_rest", "nothing", "requirements")

    def __init__(self, requirements: Iterable[Requirement] = (), *, nothing: bool = False) -> None:
        self.requirements = tuple(sorted(requirements, key=lambda r: r.key))
        self.nothing = nothing
        # Nearly all selectors are a few equalities: those are compared as one set of pairs, in C.
        single = [r for r in self.requirements if r.operator in {"=", "=="}]
        pairs = {r.key: r.values[0] for r in single}
        self._equal = pairs.items()
        self._rest = tuple(r for r in self.requirements if r.operator not in {"=", "=="} or pairs[r.key] != r.values[0])

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether every requirement holds."""
        if self.nothing or not self._equal <= labels.items():
            return False
        return all(r.matches(labels) for r in self._rest)

    @property
    def everything(self) -> bool:
        """Whether no label set is excluded."""
        return not self.requirements and not self.nothing

    def required(self, key: str) -> str | None:
        """The one value that label `key` must have for a match, or None; for looking up an index."""
        for r in self.requirements:
            if r.key == key and r.operator in {"=", "==", "in"} and len(r.values) == 1:
                return r.values[0]
        return None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Selector) and self.requirements == other.requirements and self.nothing == other.nothing

    def __hash__(self) -> int:
        return hash((self.requirements, self.nothing))

    def __str__(self) -> str:
        return ",".join(str(r) for r in self.requirements)

    def __repr__(self) -> str:
        return "NOTHING" if self.nothing else f"Selector({str(self)!r})"


EVERYTHING: Final = Selector()
NOTHING: Final = Selector(nothing=True)


def equal_to(labels: Mapping[str, str] | None) -> Selector:
    """The selector of exactly these labels, as `Service.spec.selector` is read; none match everything."""
    return Selector(Requirement(key, "=", (value,)) for key, value in (labels or {}).items())


_OBJECT_OPERATORS: Final[dict[str, Operator]] = {
    "In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "!", "Gt": "gt", "Lt": "lt",
}  # fmt: skip


def from_object(selector: Object | None) -> Selector:
    """The selector of a `LabelSelector` object: None matches nothing, `{}` everything. Raises `BadRequest`."""
    if selector is None:
        return NOTHING
    requirements = [Requirement(key, "=", (value,)) for key, value in (selector.get("matchLabels") or {}).items()]
    for expression in selector.get("matchExpressions") or ():
        operator = _OBJECT_OPERATORS.get(expression.get("operator", ""))
        if operator is None or operator in {"gt", "lt"}:
            raise BadRequest(f'"{expression.get("operator", "")}" is not a valid label selector operator')
        values = sorted(expression.get("values") or ())
        requirements.append(_requirement(expression.get("key", ""), operator, values))
    return Selector(requirements)


def format_object(selector: Object | None) -> str:
    """A `LabelSelector` as `kubectl get -o wide` prints it: "app=web,tier in (a,b)", "<none>" when empty."""
    text = str(from_object(selector))
    return text or "<none>"


def format_map(labels: Mapping[str, str] | None) -> str:
    """Labels as `kubectl` prints them: "a=1,b=2", "<none>" when there are none."""
    return ",".join(f"{key}={value}" for key, value in sorted((labels or {}).items())) or "<none>"


def _invalid(path: str, value: str, detail: str) -> BadRequest:
    return BadRequest(f'{path}: Invalid value: "{value}": {detail}')


def _requirement(key: str, operator: Operator, values: list[str]) -> Requirement:
    """A checked requirement; raises `BadRequest` as NewRequirement words it."""
    if errors := names.qualified_name(key):
        raise _invalid("key", key, "; ".join(errors))
    if operator in {"in", "notin"} and not values:
        raise BadRequest("values: Invalid value: []: for 'in', 'notin' operators, values set can't be empty")
    if operator in {"exists", "!"} and values:
        listed = ",".join(f'"{v}"' for v in values)
        raise BadRequest(f"values: Invalid value: [{listed}]: values set must be empty for exists and does not exist")
    for position, value in enumerate(values):
        if operator in {"gt", "lt"} and not _INTEGER.fullmatch(value):
            raise _invalid(f"values[{position}]", value, "for 'Gt', 'Lt' operators, the value must be an integer")
        if errors := names.label_value(value):
            raise _invalid(f"values[{position}][{key}]", value, "; ".join(errors))
    return Requirement(key, operator, tuple(values))


def parse(text: str) -> Selector:
    """The selector in string notation (`a=b,c!=d,e in (x,y),!f,g>1`); "" matches everything. Raises `BadRequest`."""
    return Selector(_Parser(text).parse())


_TOKEN = re.compile(r"[ \t\r\n]*(==|!=|[=!(),<>]|[^=!(),<> \t\r\n]+|$)")
_END = ""
_SYMBOLS = frozenset("=!(),<>") | {"==", "!="}


class _Parser:
    """Recursive descent over the tokens; "in" and "notin" are words unless an operator is due."""

    def __init__(self, text: str) -> None:
        self._tokens = [token.group(1) for token in _TOKEN.finditer(text)]
        self._position = 0

    def _peek(self) -> str:
        return self._tokens[self._position] if self._position < len(self._tokens) else _END

    def _take(self) -> str:
        token = self._peek()
        self._position += 1
        return token

    @staticmethod
    def _is_word(token: str) -> bool:
        return token != _END and token not in _SYMBOLS

    def parse(self) -> list[Requirement]:
        requirements: list[Requirement] = []
        while True:
            token = self._peek()
            if token == _END:
                return requirements
            if token != "!" and not self._is_word(token):
                raise BadRequest(f"found '{token}', expected: !, identifier, or 'end of string'")
            try:
                requirements.append(self._requirement())
            except BadRequest as error:
                raise BadRequest(f"unable to parse requirement: {error}") from error
            token = self._take()
            if token == _END:
                return requirements
            if token != ",":
                raise BadRequest(f"found '{token}', expected: ',' or 'end of string'")
            following = self._peek()
            if following != "!" and not self._is_word(following):
                raise BadRequest(f"found '{following}', expected: identifier after ','")

    def _requirement(self) -> Requirement:
        negated = self._peek() == "!"
        if negated:
            self._take()
        key = self._take()
        if not self._is_word(key):
            raise BadRequest(f"found '{key}', expected: identifier")
        if errors := names.qualified_name(key):
            raise _invalid("<nil>", key, "; ".join(errors))
        if negated:
            return Requirement(key, "!")
        if self._peek() in {_END, ","}:
            return Requirement(key, "exists")
        sign = self._take()
        operator = _SPELLING.get(sign)
        if operator is None:
            raise BadRequest(f"found '{sign}', expected: {', '.join(_BINARY_OPERATORS)}")
        values = self._values() if operator in {"in", "notin"} else [self._exact_value()]
        return _requirement(key, operator, sorted(set(values)))

    def _exact_value(self) -> str:
        token = self._peek()
        if token in {_END, ","}:
            return ""
        self._take()
        if not self._is_word(token):
            raise BadRequest(f"found '{token}', expected: identifier")
        return token

    def _values(self) -> list[str]:
        token = self._take()
        if token != "(":
            raise BadRequest(f"found '{token}' expected: '('")
        values: list[str] = []
        if self._peek() == ")":
            self._take()
            return values
        if self._peek() != "," and not self._is_word(self._peek()):
            raise BadRequest(f"found '{self._peek()}', expected: ',', ')' or identifier")
        while True:
            values.append(self._take() if self._is_word(self._peek()) else "")
            token = self._take()
            if token == ")":
                return values
            if token != ",":
                raise BadRequest(f"found '{token}', expected: ',' or ')'")

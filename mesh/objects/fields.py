"""Field selectors: `metadata.name=x,spec.nodeName!=y`.

Which fields a resource can be selected by is declared in its strategy; this module parses and matches.
Source: k8s.io/apimachinery/pkg/fields/selector.go.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from mesh.errors import BadRequest


@dataclass(frozen=True, slots=True)
class Term:
    """One condition: the field equals the value, or does not."""

    field: str
    value: str
    equal: bool = True

    def __str__(self) -> str:
        escaped = re.sub(r"([\\,=])", r"\\\1", self.value)
        return f"{self.field}{'=' if self.equal else '!='}{escaped}"


@dataclass(frozen=True, slots=True)
class FieldSelector:
    """A conjunction of terms; without any it matches everything."""

    terms: tuple[Term, ...] = ()

    def matches(self, fields: Mapping[str, str]) -> bool:
        """Whether every term holds; a missing field counts as ""."""
        return all((fields.get(term.field, "") == term.value) == term.equal for term in self.terms)

    @property
    def everything(self) -> bool:
        """Whether nothing is excluded."""
        return not self.terms

    def required(self, field: str) -> str | None:
        """The one value that `field` must have, or None; for looking up an index."""
        return next((term.value for term in self.terms if term.field == field and term.equal), None)

    def __str__(self) -> str:
        return ",".join(str(term) for term in self.terms)


EVERYTHING: Final = FieldSelector()

_PART = re.compile(r"(?:\\.|[^\\,])+|\\$", re.DOTALL)
_TERM = re.compile(r"(?P<field>(?:\\.|[^\\=!]|!(?!=))*)(?P<operator>!=|==|=)(?P<value>.*)", re.DOTALL)


def parse(text: str) -> FieldSelector:
    """The selector that `text` denotes; "" matches everything. Raises `BadRequest` in Kubernetes' words."""
    terms = []
    for part in _PART.findall(text):
        match = _TERM.fullmatch(part)
        if not match:
            raise BadRequest(f"invalid selector: '{text}'; can't understand '{part}'")
        terms.append(Term(match["field"], _unescape(match["value"]), match["operator"] != "!="))
    return FieldSelector(tuple(sorted(terms, key=lambda term: (term.field, term.value))))


def _unescape(value: str) -> str:
    """Undo the escapes of backslash, comma and equals sign; any other escape, or a bare sign, is an error."""
    result = []
    characters = iter(value)
    for character in characters:
        if character == "\\":
            escaped = next(characters, "")
            if not escaped or escaped not in "\\,=":
                raise BadRequest(f"invalid field selector: invalid escape sequence: \\{escaped}")
            result.append(escaped)
        elif character in ",=":
            raise BadRequest(f"invalid field selector: unescaped character in value: {character}")
        else:
            result.append(character)
    return "".join(result)

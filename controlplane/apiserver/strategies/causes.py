"""Making field errors in Kubernetes' words: one function per kind of mistake.

Source: k8s.io/apimachinery/pkg/util/validation/field/errors.go. A path is the dotted string a user sees, such as
`spec.containers[0].name`; `key` and `index` append to it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from mesh.errors import Cause
from mesh.objects.types import Json


def index(path: str, position: int) -> str:
    """`path[3]`."""
    return f"{path}[{position}]"


def key(path: str, name: str) -> str:
    """`path[name]`: an entry of a map."""
    return f"{path}[{name}]"


def quote(text: str) -> str:
    """`text` in double quotes, escaped as Go's %q does."""
    return json.dumps(text, ensure_ascii=False)


def show(value: Json) -> str:
    """A bad value as error messages print it: strings quoted, objects and lists as JSON."""
    if isinstance(value, str):
        return quote(value)
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _with(kind: str, detail: str) -> str:
    return f"{kind}: {detail}" if detail else kind


def required(path: str, detail: str = "") -> Cause:
    """The field must be set."""
    return Cause(path, "FieldValueRequired", _with("Required value", detail))


def invalid(path: str, value: Json, detail: str) -> Cause:
    """The value is malformed or out of range."""
    return Cause(path, "FieldValueInvalid", _with(f"Invalid value: {show(value)}", detail))


def unsupported(path: str, value: Json, supported: Iterable[str]) -> Cause:
    """The value is none of those that exist."""
    values = ", ".join(quote(v) for v in supported)
    detail = f"supported values: {values}" if values else ""
    return Cause(path, "FieldValueNotSupported", _with(f"Unsupported value: {show(value)}", detail))


def forbidden(path: str, detail: str) -> Cause:
    """The field may not be set, or not be changed, under these circumstances."""
    return Cause(path, "FieldValueForbidden", _with("Forbidden", detail))


def duplicate(path: str, value: Json) -> Cause:
    """The value appears twice where it must be unique."""
    return Cause(path, "FieldValueDuplicate", f"Duplicate value: {show(value)}")


def not_found(path: str, value: Json) -> Cause:
    """The value refers to something that is not there."""
    return Cause(path, "FieldValueNotFound", f"Not found: {show(value)}")


def too_long(path: str, limit: int) -> Cause:
    """The value has more bytes than allowed."""
    return Cause(path, "FieldValueTooLong", f"Too long: may not be more than {limit} bytes")


def too_many(path: str, actual: int, limit: int) -> Cause:
    """The list has more items than allowed."""
    return Cause(path, "FieldValueTooMany", f"Too many: {actual}: must have at most {limit} items")


def each(path: str, value: Json, sentences: Iterable[str]) -> list[Cause]:
    """One `invalid` cause for each sentence of a name check."""
    return [invalid(path, value, sentence) for sentence in sentences]


def immutable(path: str, new: Json, old: Json) -> list[Cause]:
    """A cause when the value differs from the old one."""
    return [] if new == old else [invalid(path, new, "field is immutable")]

"""ConfigMaps: valid keys, at most 1 MiB, and no change once immutable."""

from __future__ import annotations

import base64

from controlplane.apiserver.strategies import causes
from controlplane.apiserver.strategies.strategy import Strategy, UpdateRule
from mesh.errors import Cause
from mesh.objects import kinds, names
from mesh.objects.types import Object

MAX_BYTES = 1024 * 1024
"""The limit of Kubernetes for what one ConfigMap or Secret holds."""


def decoded_size(text: str) -> int:
    """Bytes that a base64 text stands for."""
    return len(base64.b64decode(text))


def validate_immutable(new: Object, old: Object, fields: tuple[str, ...]) -> list[Cause]:
    """Once `immutable` is true it stays, and so do the data."""
    if not old.get("immutable"):
        return []
    sentence = "field is immutable when `immutable` is set"
    found = [] if new.get("immutable") else [causes.forbidden("immutable", sentence)]
    return found + [
        causes.forbidden(field, sentence) for field in fields if (new.get(field) or {}) != (old.get(field) or {})
    ]


def _validate(config_map: Object) -> list[Cause]:
    data, binary = config_map.get("data") or {}, config_map.get("binaryData") or {}
    found: list[Cause] = []
    for key in data:
        at = causes.key("data", key)
        found += causes.each(at, key, names.config_key(key))
        if key in binary:
            found.append(causes.invalid(at, key, "duplicate of key present in binaryData"))
    for key in binary:
        found += causes.each(causes.key("binaryData", key), key, names.config_key(key))
    size = sum(len(value.encode()) for value in data.values()) + sum(decoded_size(value) for value in binary.values())
    return [*found, causes.too_long("", MAX_BYTES)] if size > MAX_BYTES else found


def _validate_update(new: Object, old: Object) -> list[Cause]:
    return validate_immutable(new, old, ("data", "binaryData")) + _validate(new)


STRATEGY = Strategy(
    resource=kinds.CONFIGMAPS,
    validate=_validate,
    updates={"": UpdateRule(validate=_validate_update)},
)

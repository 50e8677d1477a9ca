"""Store keys: `<group>.<resource>.<namespace>.<name>`, each part escaped into what a NATS KV bucket accepts. Pure.

A key is also the tail of a NATS subject, so a part may hold neither dots nor wildcards nor blanks; Kubernetes names may
hold dots, and RBAC names colons. Every byte outside `[-_/A-Za-z0-9]` is written `=XX` (upper-case hex of its UTF-8
form). The empty part (the core group, no namespace) is `_`.
"""

from __future__ import annotations

import re

from mesh.objects.kinds import Resource
from mesh.objects.meta import Key

_EMPTY = "_"
_UNSAFE = re.compile(rb"[^-_/A-Za-z0-9]")
_ESCAPED = re.compile(rb"=([0-9A-F]{2})")


def escape(part: str) -> str:
    """One part of a key, safe as a subject token. Different parts stay different."""
    if part == "":
        return _EMPTY
    if part == _EMPTY:
        return "=5F"
    return _UNSAFE.sub(lambda match: b"=%02X" % match[0][0], part.encode()).decode()


def unescape(token: str) -> str:
    """The part that `escape` turned into `token`."""
    if token == _EMPTY:
        return ""
    return _ESCAPED.sub(lambda match: bytes([int(match[1], 16)]), token.encode()).decode()


def key_for(resource: Resource, key: Key) -> str:
    """Where the object `key` of `resource` is stored: `apps.deployments.default.web`, `_.nodes._.node-1`.

    The version is no part of it: all versions of a resource are one stored object.
    """
    return prefix_for(resource, key.namespace) + escape(key.name)


def prefix_for(resource: Resource, namespace: str | None = None) -> str:
    """What the keys of all objects of `resource` begin with, or of those in `namespace` ("" is cluster scope)."""
    prefix = f"{escape(resource.group)}.{escape(resource.plural)}."
    return prefix if namespace is None else f"{prefix}{escape(namespace)}."


def parse(key: str) -> tuple[str, str, Key]:
    """The group, the plural resource name and the object's key; raises ValueError when `key` is no store key."""
    parts = key.split(".")
    if len(parts) != 4:
        raise ValueError(f"not a store key: {key!r}")
    group, plural, namespace, name = map(unescape, parts)
    return group, plural, Key(namespace, name)

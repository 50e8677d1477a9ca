"""Reading and copying object metadata: the small words every other room speaks.

Timestamps follow `metav1.Time` (RFC 3339, whole seconds, "Z") and `metav1.MicroTime` (six digits).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

from mesh.objects.types import Json, Object


class Key(NamedTuple):
    """Names one object of a given resource; `namespace` is "" for cluster-scoped resources."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


def key_of(obj: Object) -> Key:
    """The object's namespace and name."""
    meta = obj["metadata"]
    return Key(meta.get("namespace", ""), meta["name"])


def name_of(obj: Object) -> str:
    """`metadata.name`."""
    return str(obj["metadata"]["name"])


def namespace_of(obj: Object) -> str:
    """`metadata.namespace`, "" for cluster-scoped objects."""
    return str(obj["metadata"].get("namespace", ""))


def uid_of(obj: Object) -> str:
    """`metadata.uid`, "" before the object is stored."""
    return str(obj["metadata"].get("uid", ""))


def labels_of(obj: Object) -> dict[str, str]:
    """`metadata.labels`, empty when absent. Read-only."""
    return obj["metadata"].get("labels") or {}


def annotations_of(obj: Object) -> dict[str, str]:
    """`metadata.annotations`, empty when absent. Read-only."""
    return obj["metadata"].get("annotations") or {}


def is_deleting(obj: Object) -> bool:
    """Whether deletion has been asked for (`metadata.deletionTimestamp` is set)."""
    return "deletionTimestamp" in obj["metadata"]


def controller_of(obj: Object) -> Object | None:
    """The owner reference with `controller: true`, or None."""
    for ref in obj["metadata"].get("ownerReferences") or ():
        if ref.get("controller"):
            return dict(ref)
    return None


def owner_reference(owner: Object, *, block_owner_deletion: bool = True) -> Object:
    """A controller reference to `owner`, as controllers put it on what they create."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": name_of(owner),
        "uid": uid_of(owner),
        "controller": True,
        "blockOwnerDeletion": block_owner_deletion,
    }


def thaw(value: Json) -> Json:
    """A deep copy of a JSON value, several times faster than `copy.deepcopy`; for changing a cached object."""
    if isinstance(value, dict):
        return {k: thaw(v) for k, v in value.items()}
    if isinstance(value, list):
        return [thaw(v) for v in value]
    return value


def format_time(moment: datetime) -> str:
    """`metav1.Time`: "2026-01-31T12:00:00Z"."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"


def format_micro_time(moment: datetime) -> str:
    """`metav1.MicroTime`: "2026-01-31T12:00:00.000000Z"."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def parse_time(text: str) -> datetime:
    """A timestamp of either form as timezone-aware UTC; raises ValueError when it is neither."""
    return datetime.fromisoformat(text).astimezone(UTC)

"""Objects as the watch cache keeps them: the dict and its JSON, encoded once, resourceVersion spliced in. Pure.

The stored value of an object begins with its apiVersion, kind and metadata, so that splicing is a copy of bytes and no
encoding. Items and changes are values: nobody alters an object that is in one.
"""

from __future__ import annotations

from dataclasses import dataclass

import orjson

from mesh.objects.types import Object

ADDED = "ADDED"
MODIFIED = "MODIFIED"
DELETED = "DELETED"
BOOKMARK = "BOOKMARK"
ERROR = "ERROR"


def encode_for_store(obj: Object) -> bytes:
    """The object as it is stored: without resourceVersion, and with its metadata where `with_revision` expects it."""
    metadata = {k: v for k, v in obj["metadata"].items() if k != "resourceVersion"}
    head = {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "metadata": metadata}
    return orjson.dumps({**head, **{k: v for k, v in obj.items() if k not in head}})


def _head(obj: Object) -> bytes:
    return b'{"apiVersion":"%s","kind":"%s","metadata":{' % (obj["apiVersion"].encode(), obj["kind"].encode())


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """One version of one object. `path` is "namespace/name", the order of lists; `data` is `object` as JSON."""

    path: str
    revision: int
    object: Object
    data: bytes

    @classmethod
    def stored(cls, path: str, value: bytes, revision: int, decoded: Object | None = None) -> Item:
        """The item for a stored `value`; `decoded` spares decoding it, and becomes the cache's own."""
        obj: Object = orjson.loads(value) if decoded is None else decoded
        obj["metadata"]["resourceVersion"] = str(revision)
        head = _head(obj)
        if value.startswith(head):
            data = b'%s"resourceVersion":"%d",%s' % (head, revision, value[len(head) :])
        else:
            data = orjson.dumps(obj)
        return cls(path, revision, obj, data)

    def at(self, revision: int) -> Item:
        """The same object with another resourceVersion: what a DELETED event shows."""
        obj = {**self.object, "metadata": {**self.object["metadata"], "resourceVersion": str(revision)}}
        old = b'"resourceVersion":"%d"' % self.revision
        data = self.data.replace(old, b'"resourceVersion":"%d"' % revision, 1)
        return Item(self.path, revision, obj, data)


class Change:
    """One change of one object, as the ring keeps it and watchers receive it; encoded once for each event type."""

    __slots__ = ("_encoded", "item", "previous", "type")

    def __init__(self, type_: str, item: Item, previous: Item | None) -> None:
        self.type = type_
        self.item = item
        self.previous = previous
        self._encoded: dict[str, bytes] = {}

    @property
    def revision(self) -> int:
        """At which revision it happened."""
        return self.item.revision

    def encoded(self, type_: str) -> bytes:
        """The event as JSON. A watcher that no longer selects the object sees DELETED where others see MODIFIED: with
        the object as it last saw it, at the revision of the change."""
        data = self._encoded.get(type_)
        if data is None:
            item = self.item
            if type_ == DELETED and self.type != DELETED and self.previous is not None:
                item = self.previous.at(item.revision)
            data = self._encoded[type_] = event(type_, item.data)
        return data


def event(type_: str, data: bytes) -> bytes:
    """A watch event around an object's JSON."""
    return b'{"type":"%s","object":%s}' % (type_.encode(), data)

"""The objects of one resource as an informer knows them, filed under declared indexes.

A plain data structure: it does no I/O and never waits. Objects in it are shared by every reader of the process and
must not be changed; with `detect_mutations` (tests set it) each is remembered as bytes and compared.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import orjson

from mesh.errors import CoveyError
from mesh.objects.labels import Selector
from mesh.objects.meta import Key, key_of, labels_of
from mesh.objects.types import Object
from mesh.plan.controller import IndexFunction

_Files = dict[str, dict[Key, Object]]


class CachedObjectChanged(CoveyError):
    """Somebody changed an object that belongs to the cache: a fault in our code, found by a test."""


class ObjectCache:
    """Implements `mesh.plan.controller.Cache`; only its informer writes it."""

    def __init__(self, *, detect_mutations: bool = False) -> None:
        self._objects: dict[Key, Object] = {}
        self._namespaces: _Files = defaultdict(dict)
        self._functions: dict[str, IndexFunction] = {}
        self._indexes: dict[str, _Files] = {}
        self._originals: dict[Key, bytes] | None = {} if detect_mutations else None

    def add_index(self, name: str, function: IndexFunction) -> None:
        """File all objects, present and future, under the values of `function`. A known name is left as it is; raises
        ValueError when it is another function's."""
        known = self._functions.get(name)
        if known is not None:
            if known != function:
                raise ValueError(f"two different indexes are called {name!r}: one would read what the other files")
            return
        self._functions[name] = function
        files: _Files = defaultdict(dict)
        for key, obj in self._objects.items():
            for value in function(obj):
                files[value][key] = obj
        self._indexes[name] = files

    def get(self, key: Key) -> Object | None:
        """The object, or None."""
        return self._objects.get(key)

    def list(self, namespace: str = "", selector: Selector | None = None) -> Sequence[Object]:
        """Objects of one namespace ("" is all) that match, in no particular order."""
        objects = self._namespaces.get(namespace, {}) if namespace else self._objects
        if selector is None:
            return list(objects.values())
        return [obj for obj in objects.values() if selector.matches(labels_of(obj))]

    def index(self, name: str, value: str) -> Sequence[Object]:
        """Objects filed under `value` in the index `name`; KeyError when nobody declared it."""
        files = self._indexes[name]
        return list(files[value].values()) if value in files else []

    def keys(self) -> Sequence[Key]:
        """The keys of all objects."""
        return tuple(self._objects)

    def put(self, obj: Object) -> Object | None:
        """Store `obj` in place of the object of the same key, which is returned."""
        key = key_of(obj)
        old = self.remove(key)
        self._objects[key] = obj
        self._namespaces[key.namespace][key] = obj
        for name, function in self._functions.items():
            for value in function(obj):
                self._indexes[name][value][key] = obj
        if self._originals is not None:
            self._originals[key] = orjson.dumps(obj)
        return old

    def remove(self, key: Key) -> Object | None:
        """Forget the object of this key, which is returned."""
        old = self._objects.pop(key, None)
        if old is None:
            return None
        self._check(key, old)
        _unfile(self._namespaces, key.namespace, key)
        for name, function in self._functions.items():
            for value in function(old):
                _unfile(self._indexes[name], value, key)
        if self._originals is not None:
            del self._originals[key]
        return old

    def verify(self) -> None:
        """Raise `CachedObjectChanged` if any object is not what was put in; nothing without `detect_mutations`."""
        for key, obj in self._objects.items():
            self._check(key, obj)

    def _check(self, key: Key, obj: Object) -> None:
        if self._originals is None:
            return
        now = orjson.dumps(obj)
        if now != self._originals[key]:
            raise CachedObjectChanged(f"{key} was changed in the cache from {self._originals[key]!r} to {now!r}")


def _unfile(files: _Files, value: str, key: Key) -> None:
    """Take `key` out of the file `value`, and drop the file when it is empty."""
    file = files.get(value)
    if file is not None:
        file.pop(key, None)
        if not file:
            del files[value]

"""Everything that was ever written to the store, as the store saw it: what invariants compare the cluster with."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import orjson

from mesh.objects.kinds import Resource
from mesh.objects.meta import Key, uid_of
from mesh.objects.types import Object
from mesh.store import keys
from mesh.store.memory import Engine
from mesh.store.port import Entry


@dataclass(frozen=True, slots=True)
class Version:
    """One write. `object` is None where it was deleted; `at` is virtual time."""

    group: str
    plural: str
    key: Key
    revision: int
    object: Object | None
    at: float

    def of(self, resource: Resource) -> bool:
        """Whether it is an object of this resource."""
        return (self.group, self.plural) == (resource.group, resource.plural)

    @property
    def path(self) -> str:
        """How the trace names it."""
        return f"{self.plural}/{self.key}"


Listener = Callable[[Version, Version | None], None]


class History:
    """All versions of all objects. `on_write` is called with each new version and the one before it."""

    def __init__(self, engine: Engine) -> None:
        self.on_write: list[Listener] = []
        self._all: list[Version] = []
        self._by_key: dict[str, list[Version]] = defaultdict(list)
        self._by_resource: dict[tuple[str, str], dict[Key, Version]] = defaultdict(dict)
        engine.listen(self._entry)

    def _entry(self, entry: Entry) -> None:
        group, plural, key = keys.parse(entry.key)
        obj = None if entry.value is None else orjson.loads(entry.value)
        new = Version(group, plural, key, entry.revision, obj, asyncio.get_running_loop().time())
        versions = self._by_key[entry.key]
        old = versions[-1] if versions else None
        versions.append(new)
        self._all.append(new)
        self._by_resource[group, plural][key] = new
        for listener in self.on_write:
            listener(new, old)

    def at(self, revision: int) -> Version | None:
        """The write that had this revision."""
        return self._all[revision - 1] if 0 < revision <= len(self._all) else None

    def latest(self, resource: Resource) -> dict[Key, Version]:
        """The last version of every object of a resource, deleted ones too."""
        return self._by_resource[resource.group, resource.plural]

    def objects(self, resource: Resource) -> list[Object]:
        """What there is now."""
        return [v.object for v in self.latest(resource).values() if v.object is not None]

    def get(self, resource: Resource, key: Key) -> Object | None:
        """One object as it is now."""
        found = self.latest(resource).get(key)
        return None if found is None else found.object

    def versions(self, resource: Resource, key: Key, uid: str = "") -> Iterable[Version]:
        """All versions of one object, oldest first."""
        for version in self._by_key.get(keys.key_for(resource, key), ()):
            if not uid or (version.object is not None and uid_of(version.object) == uid):
                yield version

    def recent(self, resource: Resource, key: Key, seconds: float) -> list[Object]:
        """The versions that were the last one at some moment of the last `seconds`."""
        since = asyncio.get_running_loop().time() - seconds
        found: list[Object] = []
        for version in reversed(self._by_key.get(keys.key_for(resource, key), ())):
            if version.object is not None:
                found.append(version.object)
            if version.at < since:
                break
        return found

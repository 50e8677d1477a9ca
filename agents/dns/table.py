"""All records of the cluster, kept up to date one Service at a time.

The table is a function of the Services and EndpointSlices it was told about, whatever the order they came in. A name
exists when it has records or when a longer name below it has (RFC 8020): those get an empty answer instead of NXDOMAIN.
Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from agents.dns.records import Record, Records, records_of
from mesh.objects.meta import Key, key_of, labels_of, namespace_of
from mesh.objects.types import Object

SERVICE_NAME_LABEL = "kubernetes.io/service-name"


class Table:
    """The records of cluster domain `domain` ("cluster.local")."""

    def __init__(self, domain: str) -> None:
        self._domain = domain
        self._services: dict[Key, Object] = {}
        self._slices: dict[Key, dict[str, Object]] = {}
        self._records: dict[Key, Records] = {}
        self._names: dict[str, dict[Key, frozenset[Record]]] = {}
        self._above: Counter[str] = Counter()
        self.version = 0
        """Changes whenever the table may have."""

    def service_changed(self, old: Object | None, new: Object | None) -> None:
        """A Service was added (no old), changed, or deleted (no new)."""
        key = key_of(new or old or {})
        if new is None:
            self._services.pop(key, None)
        else:
            self._services[key] = new
        self._refresh(key)

    def slice_changed(self, old: Object | None, new: Object | None) -> None:
        """An EndpointSlice was added, changed (perhaps to another Service), or deleted."""
        before, after = _service_of(old), _service_of(new)
        if old is not None and before is not None and (new is None or before != after):
            self._slices.get(before, {}).pop(key_of(old).name, None)
        if new is not None and after is not None:
            self._slices.setdefault(after, {})[key_of(new).name] = new
        for key in {before, after} - {None}:
            if key is not None and not self._slices.get(key):
                self._slices.pop(key, None)
            if key is not None:
                self._refresh(key)

    def lookup(self, name: str) -> frozenset[Record] | None:
        """The records of a name; empty when only longer names exist; None when it does not exist."""
        if found := self._names.get(name):
            return frozenset().union(*found.values())
        return frozenset() if self._above[name] > 0 else None

    def __len__(self) -> int:
        return len(self._names)

    def services(self) -> list[Object]:
        """The Services it was told about."""
        return list(self._services.values())

    def slices(self) -> list[Object]:
        """The EndpointSlices it was told about."""
        return [piece for pieces in self._slices.values() for piece in pieces.values()]

    def _refresh(self, key: Key) -> None:
        self.version += 1
        service = self._services.get(key)
        slices = self._slices.get(key, {}).values()
        fresh = records_of(service, slices, self._domain) if service is not None else {}
        stale = self._records.pop(key, {})
        for name in stale.keys() - fresh.keys():
            self._drop(key, name)
        for name, records in fresh.items():
            if stale.get(name) != records:
                self._put(key, name, records)
        if fresh:
            self._records[key] = fresh

    def _put(self, key: Key, name: str, records: frozenset[Record]) -> None:
        if name not in self._names:
            self._above.update(_above(name))
        self._names.setdefault(name, {})[key] = records

    def _drop(self, key: Key, name: str) -> None:
        holders = self._names[name]
        del holders[key]
        if not holders:
            del self._names[name]
            self._above.subtract(_above(name))
            for upper in _above(name):
                if not self._above[upper]:
                    del self._above[upper]


def _service_of(piece: Object | None) -> Key | None:
    name = labels_of(piece).get(SERVICE_NAME_LABEL) if piece else None
    return Key(namespace_of(piece), name) if piece and name else None


def _above(name: str) -> Iterator[str]:
    """Every name that a name lies below."""
    while (cut := name.find(".")) >= 0:
        name = name[cut + 1 :]
        yield name

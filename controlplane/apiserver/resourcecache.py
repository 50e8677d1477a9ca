"""One resource in the watch cache: its objects, the ring of recent changes, and the watchers they are fanned out to.

Watchers that select on one value of an indexed field (`spec.nodeName=x`, `metadata.name=x`) are filed under it, so that
a change wakes only those it may concern. Plain and synchronous: `watchcache.py` decides when things happen.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping

import orjson

from controlplane.apiserver import refusals
from controlplane.apiserver.cached import ADDED, DELETED, MODIFIED, Change, Item
from controlplane.apiserver.watcher import Scope, Watcher
from mesh.clock import Clock
from mesh.errors import InternalError
from mesh.objects.kinds import Resource
from mesh.objects.meta import Key, uid_of
from mesh.objects.types import Object

log = logging.getLogger(__name__)

RING = 4096
"""How many recent changes of one resource a watch can resume from."""
SNAPSHOTS = 8
"""How many paged lists of one resource can be under way at their own revision."""

GAPS = 64
"""How many gaps in the ring of one resource are remembered."""

Trigger = tuple[str, str]
"""An indexed field and the value a watcher wants of it."""


def path_of(key: Key) -> str:
    """The order of lists, and the name of an item in its resource: "namespace/name"."""
    return f"{key.namespace}/{key.name}"


class ResourceCache:
    """The objects of one resource, by path and by namespace."""

    def __init__(self, resource: Resource, clock: Clock, triggers: Mapping[str, Callable[[Object], str]]) -> None:
        self.resource = resource
        self.items: dict[str, Item] = {}
        self._clock = clock
        self._triggers = triggers
        self._by_namespace: dict[str, dict[str, Item]] = {}
        self._order: list[str] = []
        self._unordered = False
        self._seen_at: dict[str, float] = {}
        self._ring: deque[Change] = deque()
        self._floor = 0
        self._gaps: deque[tuple[int, int]] = deque()
        self._snapshots: dict[tuple[int, str], list[Item]] = {}
        self._watchers: dict[Trigger | None, dict[Watcher, None]] = {}
        """In the order they came, in which they are served: the same in every run of a simulation."""

    # Reading

    def get(self, namespace: str, name: str) -> Item | None:
        """One object, or None."""
        return self.items.get(f"{namespace}/{name}")

    def ordered(self, namespace: str = "") -> list[Item]:
        """All objects (of one namespace) in the order of their paths."""
        if namespace:
            members = self._by_namespace.get(namespace, {})
            return [members[path] for path in sorted(members)]
        if self._unordered:
            self._order = sorted(self.items)
            self._unordered = False
        items = self.items
        return [items[path] for path in self._order]

    def snapshot(self, revision: int, namespace: str) -> list[Item] | None:
        """The objects as a paged list saw them at `revision`, if that is still known."""
        return self._snapshots.get((revision, namespace))

    def keep_snapshot(self, revision: int, namespace: str, items: list[Item]) -> None:
        """Remember what a paged list saw; the oldest snapshot gives way."""
        self._snapshots[revision, namespace] = items
        while len(self._snapshots) > SNAPSHOTS:
            del self._snapshots[next(iter(self._snapshots))]

    @property
    def last_change(self) -> int:
        """No object of this resource changed after this revision."""
        return self._ring[-1].revision if self._ring else self._floor

    # Following

    def apply(self, key: Key, value: bytes | None, revision: int, decoded: Object | None, *, live: bool) -> None:
        """Take over one version from the store; `live` ones go to the ring and the watchers."""
        path = path_of(key)
        previous = self.items.get(path)
        if value is None:
            if previous is None:
                return
            self._remove(path, key.namespace)
            change = Change(DELETED, previous.at(revision), previous)
        else:
            item = Item.stored(path, value, revision, decoded)
            if previous is not None and uid_of(previous.object) != uid_of(item.object):
                # The store keeps only the last version of a key: what was deleted and made anew while we were away comes
                # as one version. Its deletion is told at the revision before, so that nobody takes the two for one.
                if live:
                    self._publish(Change(DELETED, previous.at(revision - 1), previous))
                previous = None
            self.items[path] = item
            self._by_namespace.setdefault(key.namespace, {})[path] = item
            self._seen_at[path] = self._clock.monotonic()
            if previous is None:
                self._unordered = True
            change = Change(ADDED if previous is None else MODIFIED, item, previous)
        if live:
            self._publish(change)

    def _remove(self, path: str, namespace: str) -> None:
        del self.items[path]
        self._seen_at.pop(path, None)
        members = self._by_namespace[namespace]
        del members[path]
        if not members:
            del self._by_namespace[namespace]
        self._unordered = True

    def _publish(self, change: Change) -> None:
        self._ring.append(change)
        if len(self._ring) > RING:
            self._floor = self._ring.popleft().revision
        for trigger in self._concerned(change):
            for watcher in tuple(self._watchers.get(trigger, ())):  # one that is too slow leaves the set
                try:
                    watcher.offer(change)
                except Exception:
                    # Its representation cannot show this object. The cache and all others must not suffer for it.
                    log.exception("watch ended: %s %s", self.resource.qualified, change.item.path)
                    watcher.close(InternalError("Internal error occurred: the object cannot be shown").to_status())

    def _concerned(self, change: Change) -> Iterable[Trigger | None]:
        if len(self._watchers) <= 1:
            return tuple(self._watchers)
        values: dict[Trigger | None, None] = {None: None}
        for item in (change.item, change.previous):
            if item is not None:
                values.update(((label, get(item.object)), None) for label, get in self._triggers.items())
        return values

    def expire(self, before: float, revision: int) -> None:
        """Forget objects last seen before the monotonic time `before`."""
        old = [path for path, seen in self._seen_at.items() if seen < before]
        for path in old:
            self.drop(self.items[path], revision)

    def drop(self, item: Item, revision: int) -> None:
        """Forget an object that the store has forgotten without telling."""
        self._remove(item.path, item.path.partition("/")[0])
        self._publish(Change(DELETED, item.at(revision), item))

    def start_ring(self, revision: int) -> None:
        """The first snapshot is complete at `revision`: watches can begin there and later."""
        self._floor = revision

    def skipped(self, after: int, until: int) -> None:
        """Versions between these revisions may have been passed over, because later ones up to `until` took their
        place before they could be read. Called again while the gap grows."""
        if self._gaps and self._gaps[-1][0] == after:
            self._gaps.pop()
        self._gaps.append((after, until))
        if len(self._gaps) > GAPS:
            self._floor = max(self._floor, self._gaps.popleft()[1])

    def clear(self) -> None:
        """Forget everything; watchers are told to list again."""
        self.close_watchers(refusals.too_old(0, 0).to_status())
        for held in (
            self.items,
            self._by_namespace,
            self._seen_at,
            self._snapshots,
            self._order,
            self._ring,
            self._gaps,
        ):
            held.clear()

    # Watching

    def changes_after(self, revision: int) -> list[Change]:
        """The changes after `revision`, oldest first; raises `Gone` when the ring no longer reaches back to it, or when
        it lies in a gap: whoever saw an object there that we never saw would not be told of its deletion."""
        if revision < self._floor or any(after < revision < until for after, until in self._gaps):
            raise refusals.too_old(revision, self._floor)
        recent: list[Change] = []
        for change in reversed(self._ring):
            if change.revision <= revision:
                break
            recent.append(change)
        recent.reverse()
        return recent

    def add_watcher(self, watcher: Watcher) -> None:
        """Feed `watcher` with every change from now on."""
        self._watchers.setdefault(self._trigger(watcher.scope), {})[watcher] = None

    def remove_watcher(self, watcher: Watcher) -> None:
        """Feed it no more."""
        trigger = self._trigger(watcher.scope)
        members = self._watchers.get(trigger)
        if members is not None:
            members.pop(watcher, None)
            if not members:
                del self._watchers[trigger]

    def _trigger(self, scope: Scope) -> Trigger | None:
        for label, _, value, equal in scope.fields:
            if equal and label in self._triggers:
                return label, value
        return None

    def bookmark(self, revision: int) -> None:
        """Tell idle watchers how far the cache is."""
        metadata = {"resourceVersion": str(revision), "creationTimestamp": None}
        data = orjson.dumps({"kind": self.resource.kind, "apiVersion": self.resource.api_version, "metadata": metadata})
        for members in self._watchers.values():
            for watcher in members:
                watcher.offer_bookmark(data)

    @property
    def watcher_count(self) -> int:
        """How many watches are open."""
        return sum(len(members) for members in self._watchers.values())

    def close_watchers(self, status: Object | None = None) -> None:
        """End every watch, with `status` as an ERROR event if given."""
        for members in list(self._watchers.values()):
            for watcher in list(members):
                watcher.close(status)
        self._watchers.clear()

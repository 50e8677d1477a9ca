"""The watch cache behind a store that passes over versions: nobody may miss a deletion."""

from __future__ import annotations

import asyncio

import pytest

from controlplane.apiserver.cached import encode_for_store
from controlplane.apiserver.watchcache import WatchCache
from mesh.clock import ManualClock
from mesh.errors import Gone
from mesh.objects.kinds import CONFIGMAPS
from mesh.objects.meta import Key
from mesh.store import keys
from mesh.store.memory import Engine, MemoryStore, NoFaults
from mesh.store.port import Write

pytestmark = pytest.mark.looptime


class Switch(NoFaults):
    """A link to the store that can be down."""

    def __init__(self) -> None:
        self.connected = True  # type: ignore[misc]


def write(engine: Engine, name: str, expected: int = 0, *, delete: bool = False) -> int:
    """Another server's write."""
    obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "ns", "name": name}}
    key = keys.key_for(CONFIGMAPS, Key("ns", name))
    return engine.apply(Write(key, None if delete else encode_for_store(obj), expected))


async def test_a_watch_cannot_begin_between_versions_that_were_passed_over() -> None:
    engine, link = Engine(), Switch()
    store = MemoryStore(engine, link)
    cache = WatchCache(store, [CONFIGMAPS], ManualClock(), triggers={})
    await cache.start()
    before = write(engine, "a")
    await cache.wait_for(before)
    link.connected = False
    never_seen = write(engine, "b")
    between = write(engine, "c")
    deleted = write(engine, "b", never_seen, delete=True)
    link.connected = True
    store.reconnected()
    await cache.wait_for(deleted)
    changes = cache.resources[CONFIGMAPS]
    for revision in (never_seen, between):
        with pytest.raises(Gone):
            changes.changes_after(revision)
    assert [change.item.path for change in changes.changes_after(before)] == ["ns/c"]
    assert changes.changes_after(deleted) == []

    await asyncio.sleep(1)
    after = write(engine, "d")
    await cache.wait_for(after)
    assert [change.item.path for change in changes.changes_after(deleted)] == ["ns/d"], "the gap does not grow"
    await cache.stop()

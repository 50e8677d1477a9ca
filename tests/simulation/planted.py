"""Faults in the product itself, put in by tests to see that the simulation finds them.

Each is a context manager; while it is open, one part of the product does not do one thing that matters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from agents.node.fence_guard import LoopFence
from controlplane.apiserver.cached import Change, Item
from controlplane.apiserver.registry import Registry
from controlplane.apiserver.watcher import Watcher
from controlplane.controllers import deployment_sizes as sizes
from mesh.objects.kinds import DEPLOYMENTS, Resource
from mesh.objects.meta import Key, name_of
from mesh.objects.types import Object
from mesh.store import keys
from mesh.store.memory import Engine
from mesh.store.port import Write

EVERY = 40
"""A fault that would be too plain if it showed at once shows once in so many times."""


@contextmanager
def skipped_compare_and_set() -> Iterator[None]:
    """The store writes whatever comes, also over a version that the writer has not seen."""
    compare_and_set = Engine.apply

    def apply(engine: Engine, write: Write) -> int:
        last = engine.entries.get(write.key)
        if write.expected and last is not None and last.value is not None:
            write = replace(write, expected=last.revision)
        return compare_and_set(engine, write)

    with patch.object(Engine, "apply", apply):
        yield


@contextmanager
def ignored_fence() -> Iterator[None]:
    """The watchdog of a node that is out of touch ends nothing."""

    async def never(fence: LoopFence, look_seconds: float = 0.2) -> None:
        del fence, look_seconds

    with patch.object(LoopFence, "run", never), patch.object(LoopFence, "out_of_touch", lambda fence: False):
        yield


@contextmanager
def lost_watch_event() -> Iterator[None]:
    """Now and then an API server forgets to tell one of its watchers of a change."""
    offer, count = Watcher.offer, 0

    def forgetful(watcher: Watcher, change: Change) -> None:
        nonlocal count
        count += 1
        if count % EVERY:
            offer(watcher, change)

    with patch.object(Watcher, "offer", forgetful):
        yield


@contextmanager
def hasty_acknowledgement() -> Iterator[None]:
    """Now and then an API server answers that a Deployment is stored, and does not wait for the store."""
    write, count = Registry.write, 0

    async def hasty(registry: Registry, resource: Resource, obj: Object, expected: int) -> Item:
        nonlocal count
        count += resource is DEPLOYMENTS
        if resource is not DEPLOYMENTS or count % EVERY:
            return await write(registry, resource, obj, expected)
        key = Key(obj["metadata"].get("namespace", ""), name_of(obj))
        cache = registry.cache(resource)
        return Item.stored(keys.key_for(resource, key), b"", cache.revision + 1, obj)

    with patch.object(Registry, "write", hasty):
        yield


@contextmanager
def greedy_rollout() -> Iterator[None]:
    """A rollout takes all old pods away at once, whether or not there are new ones."""

    def all_of_them(bounds: sizes.Bounds, new_set: Object, old_sets: tuple[Object, ...]) -> sizes.Sizes:
        del bounds, new_set
        return {name_of(rs): 0 for rs in old_sets if sizes.size(rs)}

    with patch.object(sizes, "old_set_sizes", all_of_them):
        yield


PLANTED: Mapping[str, Callable[[], AbstractContextManager[Any]]] = {
    "skipped-compare-and-set": skipped_compare_and_set,
    "ignored-fence": ignored_fence,
    "lost-watch-event": lost_watch_event,
    "hasty-acknowledgement": hasty_acknowledgement,
    "greedy-rollout": greedy_rollout,
}

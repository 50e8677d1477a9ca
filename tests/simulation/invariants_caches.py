"""Invariants about what the parts of the cluster believe: their caches against the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mesh.client.cache import CachedObjectChanged
from mesh.client.informer import Informer, revision_of
from mesh.client.shared import SharedInformers
from mesh.objects import fields
from mesh.objects.kinds import EVENTS
from mesh.objects.meta import key_of, name_of
from mesh.objects.types import Object

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.simulation.world import World


def _all(world: World) -> Iterator[tuple[str, SharedInformers]]:
    for part in world.machines:
        if part.informers is not None:
            yield part.name, part.informers


def caches_hold_what_was_written(world: World) -> str:
    """Watchers see every change, in order: a cache at some revision holds whatever has not changed since, and nothing
    else.

    (What has changed since, it may hold in an older version, or not yet, or still.)
    """
    for owner, informers in _all(world):
        for informer in informers._informers.values():
            if informer.has_synced and informer.resource is not EVENTS and (wrong := _difference(world, informer)):
                return f"{owner}'s cache of {informer.resource.plural} at revision {informer.revision} {wrong}"
    return ""


def _difference(world: World, informer: Informer) -> str:
    if world.checked.get(informer) == (informer.revision, world.engine.revision):
        return ""
    selector = fields.parse(informer._field_selector)
    cached = {key_of(obj): revision_of(obj) for obj in informer.list()}
    latest = world.history.latest(informer.resource)
    for key, version in latest.items():
        if version.revision > informer.revision:
            continue
        obj = version.object
        there = obj is not None and selector.matches(_fields(obj))
        held = cached.get(key, 0)
        if held != (version.revision if there else 0):
            return f"holds {key} at {held}, which was {'written' if obj else 'deleted'} at {version.revision}"
    unknown = next((key for key in cached if key not in latest), None)
    if unknown is not None:
        return f"holds {unknown}, which was never written"
    world.checked[informer] = (informer.revision, world.engine.revision)
    return ""


def _fields(obj: Object) -> dict[str, str]:
    return {"metadata.name": name_of(obj), "spec.nodeName": (obj.get("spec") or {}).get("nodeName", "")}


def cached_objects_are_not_changed(world: World) -> str:
    """Nobody changes an object that belongs to a cache."""
    for owner, informers in _all(world):
        try:
            informers.verify()
        except CachedObjectChanged as error:
            return f"{owner}: {error}"
    return ""

"""Whose object is whose: controller references, adoption and release.

Pure. An object belongs to the owner named by its controller reference, not to whoever's selector matches; the selector
decides only what is adopted and what is let go. Behaviour: Kubernetes' pkg/controller/controller_ref_manager.go.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mesh.objects import labels
from mesh.objects.kinds import Resource
from mesh.objects.meta import (
    Key,
    controller_of,
    is_deleting,
    key_of,
    labels_of,
    name_of,
    namespace_of,
    owner_reference,
    thaw,
    uid_of,
)
from mesh.objects.types import Object
from mesh.plan.actions import Plan, Read, Update
from mesh.plan.controller import Caches, IndexFunction, MapToKeys, Observed

BY_CONTROLLER = "controller"
ORPHANS = "orphans"


def controller_uids(obj: Object) -> Iterable[str]:
    """Index: the UID of an object's controller."""
    ref = controller_of(obj)
    return () if ref is None else (ref["uid"],)


def orphan_namespaces(obj: Object) -> Iterable[str]:
    """Index: the namespace of an object without a controller."""
    return () if controller_of(obj) is not None else (namespace_of(obj),)


OWNED_INDEXES: dict[str, IndexFunction] = {BY_CONTROLLER: controller_uids, ORPHANS: orphan_namespaces}
"""What `claim` needs of the cache of the owned resource."""


def wake_owner(owner: Resource) -> MapToKeys:
    """The map from an owned object to its controller of kind `owner`, or, while it has none, to all whose selector
    matches it."""

    def keys(obj: Object, caches: Caches) -> Iterable[Key]:
        ref = controller_of(obj)
        if ref is not None:
            if ref["kind"] == owner.kind and ref["apiVersion"] == owner.api_version:
                yield Key(namespace_of(obj), ref["name"])
            return
        if is_deleting(obj):
            return
        for candidate in caches[owner].list(namespace_of(obj)):
            if labels.from_object(candidate["spec"].get("selector")).matches(labels_of(obj)):
                yield key_of(candidate)

    return keys


@dataclass(frozen=True, slots=True)
class Claim:
    """What an owner owns, and what has to be done first so that this is what it should own ("" plan: nothing)."""

    owned: tuple[Object, ...]
    first: Plan | None


def claim(owner: Object, owner_resource: Resource, owned: Resource, observed: Observed) -> Claim:
    """The objects of `owned` that `owner` controls, with adoption and release planned where they are due.

    An orphan is adopted only once a live read has shown that the owner still exists and is not being deleted.
    """
    cache = observed.caches[owned]
    selector = labels.from_object(owner["spec"].get("selector"))
    mine = [obj for obj in cache.index(BY_CONTROLLER, uid_of(owner)) if namespace_of(obj) == namespace_of(owner)]
    if is_deleting(owner):
        return Claim(tuple(mine), None)
    release = [obj for obj in mine if not selector.matches(labels_of(obj))]
    adopt = [
        obj
        for obj in cache.index(ORPHANS, namespace_of(owner))
        if not is_deleting(obj) and selector.matches(labels_of(obj))
    ]
    updates = tuple(_released(owned, obj, owner) for obj in release)
    if adopt:
        read = Read(owner_resource, namespace_of(owner), name_of(owner))
        if read not in observed.answers:
            return Claim((), Plan(reads=(read,)))
        live = observed.answers[read]
        if live and uid_of(live[0]) == uid_of(owner) and not is_deleting(live[0]):
            updates += tuple(_adopted(owned, obj, owner) for obj in adopt)
    if updates:
        return Claim((), Plan(updates))
    return Claim(tuple(mine), None)


def _adopted(resource: Resource, obj: Object, owner: Object) -> Update:
    new = thaw(obj)
    others = [ref for ref in new["metadata"].get("ownerReferences") or () if ref["uid"] != uid_of(owner)]
    new["metadata"]["ownerReferences"] = [*others, owner_reference(owner)]
    return Update(resource, new)


def _released(resource: Resource, obj: Object, owner: Object) -> Update:
    new = thaw(obj)
    refs = new["metadata"]["ownerReferences"]
    new["metadata"]["ownerReferences"] = [ref for ref in refs if ref["uid"] != uid_of(owner)]
    return Update(resource, new)

"""The garbage collector: what is owned goes when its owners are gone.

Pure. An object lives while one of its owners does. `background`: dependents go after the owner; `foreground`: the owner
waits, with a finalizer, for the dependents that block it; `orphan`: it waits, with another, until they have forgotten
it. That an owner is gone is believed only after a live read, and what is deleted is the very version that was judged.
Owners in another namespace count as absent. Behaviour: Kubernetes' pkg/controller/garbagecollector and
https://kubernetes.io/docs/concepts/architecture/garbage-collection/
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mesh.objects.kinds import EVENTS, Resource
from mesh.objects.meta import Key, is_deleting, key_of, name_of, namespace_of, thaw, uid_of
from mesh.objects.types import Object
from mesh.plan.actions import NOTHING, Delete, Plan, Read, Record, Update
from mesh.plan.controller import Caches, MapToKeys, Observed, Watch

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"
_BY_OWNER = "owner"
_MOST_PER_PASS = 500


class _Owner(enum.Enum):
    """What a reference points at."""

    SOLID = "there, and keeps its dependents"
    GONE = "not there"
    WAITING = "being deleted, after its dependents"


@dataclass(frozen=True, slots=True)
class _Node:
    """One object and the resource it belongs to."""

    resource: Resource
    object: Object


def owner_uids(obj: Object) -> Iterable[str]:
    """Index: the UIDs of all owners."""
    return [ref["uid"] for ref in _references(obj)]


def graph_key(resource: Resource, key: Key) -> Key:
    """The key under which the collector works on an object: kinds share one queue, so the name tells the resource."""
    return Key(key.namespace, f"{resource.qualified}/{key.name}")


class GarbageCollector:
    """Watches `resources` (Events, which nobody owns, are left out)."""

    name = "garbage-collector-controller"

    def __init__(self, resources: Sequence[Resource]) -> None:
        self._resources = [resource for resource in resources if resource is not EVENTS]
        self._by_name = {resource.qualified: resource for resource in self._resources}
        self._by_kind = {(resource.api_version, resource.kind): resource for resource in self._resources}
        indexes = {_BY_OWNER: owner_uids}
        self.watches: Sequence[Watch] = tuple(
            Watch(resource, self._wake(resource), indexes) for resource in self._resources
        )

    def plan(self, key: Key, observed: Observed) -> Plan:
        """What to do about one object, as an owner that is being deleted or as a dependent."""
        qualified, name = key.name.split("/", 1)
        resource = self._by_name[qualified]
        obj = observed.caches[resource].get(Key(key.namespace, name))
        if obj is None:
            return NOTHING
        node = _Node(resource, obj)
        if is_deleting(obj):
            return self._plan_owner(node, observed.caches)
        return self._plan_dependent(node, observed)

    def _plan_owner(self, node: _Node, caches: Caches) -> Plan:
        """An object that waits for its dependents: orphan them, or see them gone; then let it go."""
        finalizers = node.object["metadata"].get("finalizers") or []
        dependents = self._dependents(node.object, caches)
        uid = uid_of(node.object)
        if ORPHAN in finalizers:
            if dependents:
                actions = tuple(_without_owners(dependent, {uid}) for dependent in dependents[:_MOST_PER_PASS])
                return Plan(actions, parallel=True)
            return Plan((_without_finalizer(node, ORPHAN),))
        if FOREGROUND in finalizers and not any(_blocks(dependent.object, uid) for dependent in dependents):
            return Plan((_without_finalizer(node, FOREGROUND),))
        return NOTHING

    def _plan_dependent(self, node: _Node, observed: Observed) -> Plan:
        """An object with owners: it stays with those that stay, and goes when none does."""
        references = _references(node.object)
        reads = [read for ref in references if (read := self._doubt(node.object, ref, observed)) is not None]
        if reads:
            return Plan(reads=(*observed.answers, *reads))
        states = {ref["uid"]: self._state(node.object, ref, observed) for ref in references}
        leaving = {uid for uid, state in states.items() if state is not _Owner.SOLID}
        if not leaving:
            return NOTHING
        complaints = self._misplaced(node.object, references, states, observed.caches)
        if len(leaving) < len(states):
            return Plan((*complaints, _without_owners(node, leaving)))
        dependents = self._dependents(node.object, observed.caches) if _Owner.WAITING in states.values() else []
        if any(_waits(dependent.object) for dependent in dependents) and _blocks_any(node.object):
            # A circle of owners, each waiting for the next: let this one block nobody.
            return Plan((_unblocking(node),))
        delete = Delete(
            node.resource,
            key_of(node.object),
            uid_of(node.object),
            propagation=_policy(node.object, foreground=bool(dependents)),
            revision=node.object["metadata"].get("resourceVersion", ""),
        )
        return Plan((*complaints, delete))

    def _owner_place(self, obj: Object, ref: Object) -> tuple[Resource, Key] | None:
        """Where an owner must be: in the dependent's namespace, or cluster-wide. None when that cannot be told: an
        unknown kind, or a namespaced owner of a cluster-wide object."""
        resource = self._by_kind.get((ref["apiVersion"], ref["kind"]))
        if resource is None or (resource.namespaced and not namespace_of(obj)):
            return None
        return resource, Key(namespace_of(obj) if resource.namespaced else "", ref["name"])

    def _cached(self, obj: Object, ref: Object, caches: Caches) -> Object | None:
        """The owner as the cache knows it."""
        place = self._owner_place(obj, ref)
        found = None if place is None else caches[place[0]].get(place[1])
        return found if found is not None and uid_of(found) == ref["uid"] else None

    def _doubt(self, obj: Object, ref: Object, observed: Observed) -> Read | None:
        """The live read without which nothing can be said about an owner that the cache does not know."""
        place = self._owner_place(obj, ref)
        if place is None or self._cached(obj, ref, observed.caches) is not None:
            return None
        read = Read(place[0], place[1].namespace, place[1].name)
        return None if read in observed.answers else read

    def _state(self, obj: Object, ref: Object, observed: Observed) -> _Owner:
        place = self._owner_place(obj, ref)
        if place is None:
            return _Owner.SOLID
        owner = self._cached(obj, ref, observed.caches)
        if owner is None:
            live = observed.answers[Read(place[0], place[1].namespace, place[1].name)]
            if not live or uid_of(live[0]) != ref["uid"]:
                return _Owner.GONE
            owner = live[0]
        return _Owner.WAITING if _waits(owner) else _Owner.SOLID

    def _misplaced(
        self, obj: Object, references: Sequence[Object], states: Mapping[str, _Owner], caches: Caches
    ) -> list[Record]:
        """Warnings about owners that exist, but in another namespace."""
        found = []
        for ref in references:
            place = self._owner_place(obj, ref)
            if place is None or states[ref["uid"]] is not _Owner.GONE or not place[0].namespaced:
                continue
            if any(uid_of(other) == ref["uid"] and name_of(other) == ref["name"] for other in caches[place[0]].list()):
                described = f"[{ref['apiVersion']}/{ref['kind']}, namespace: {namespace_of(obj)}, name: {ref['name']}, "
                message = f'ownerRef {described}uid: {ref["uid"]}] does not exist in namespace "{namespace_of(obj)}"'
                found.append(Record(obj, "Warning", "OwnerRefInvalidNamespace", message))
        return found

    def _dependents(self, owner: Object, caches: Caches) -> list[_Node]:
        """All objects that refer to `owner` and could be its own: in its namespace, if it has one."""
        namespace = namespace_of(owner)
        return [
            _Node(resource, obj)
            for resource in self._resources
            for obj in caches[resource].index(_BY_OWNER, uid_of(owner))
            if not namespace or namespace_of(obj) == namespace
        ]

    def _wake(self, resource: Resource) -> MapToKeys:
        """The keys that a change of an object of `resource` concerns: itself if its owners or its deletion give cause,
        its dependents if it is gone or waits for them, its owners if they wait for it."""

        def keys(obj: Object, caches: Caches) -> Iterable[Key]:
            current = caches[resource].get(key_of(obj))
            gone = current is None or uid_of(current) != uid_of(obj)
            if not gone and (_holds(obj) or self._leaves(obj, caches)):
                yield graph_key(resource, key_of(obj))
            if gone or _waits(obj):
                for dependent in self._dependents(obj, caches):
                    yield graph_key(dependent.resource, key_of(dependent.object))
            for ref in _references(obj):
                owner = self._cached(obj, ref, caches)
                place = self._owner_place(obj, ref)
                if owner is not None and place is not None and _holds(owner):
                    yield graph_key(*place)

        return keys

    def _leaves(self, obj: Object, caches: Caches) -> bool:
        """Whether some owner of the object is not simply there."""
        owners = [self._cached(obj, ref, caches) for ref in _references(obj)]
        return any(owner is None or _waits(owner) for owner in owners)


def _references(obj: Object) -> list[Object]:
    return obj["metadata"].get("ownerReferences") or []


def _waits(obj: Object) -> bool:
    """Whether it is being deleted in the foreground: it waits for its dependents to go."""
    return is_deleting(obj) and FOREGROUND in (obj["metadata"].get("finalizers") or ())


def _holds(obj: Object) -> bool:
    """Whether it is being deleted and has a finalizer of ours."""
    return is_deleting(obj) and bool({FOREGROUND, ORPHAN} & set(obj["metadata"].get("finalizers") or ()))


def _blocks(dependent: Object, owner_uid: str) -> bool:
    return any(ref["uid"] == owner_uid and ref.get("blockOwnerDeletion") for ref in _references(dependent))


def _blocks_any(dependent: Object) -> bool:
    return any(ref.get("blockOwnerDeletion") for ref in _references(dependent))


def _policy(obj: Object, *, foreground: bool) -> str:
    """How the deletion goes on below a dependent: as its finalizers say, or like its waiting owner's."""
    finalizers = obj["metadata"].get("finalizers") or ()
    if ORPHAN in finalizers:
        return "Orphan"
    return "Foreground" if foreground or FOREGROUND in finalizers else "Background"


def _without_owners(node: _Node, uids: set[str]) -> Update:
    new = thaw(node.object)
    new["metadata"]["ownerReferences"] = [ref for ref in _references(node.object) if ref["uid"] not in uids]
    return Update(node.resource, new)


def _without_finalizer(node: _Node, finalizer: str) -> Update:
    new = thaw(node.object)
    new["metadata"]["finalizers"] = [name for name in new["metadata"]["finalizers"] if name != finalizer]
    return Update(node.resource, new)


def _unblocking(node: _Node) -> Update:
    new = thaw(node.object)
    for ref in new["metadata"]["ownerReferences"]:
        if ref.get("blockOwnerDeletion"):
            ref["blockOwnerDeletion"] = False
    return Update(node.resource, new)

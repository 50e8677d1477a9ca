"""The namespace controller: empties a namespace that is being deleted, and then lets it go.

Pure. What the caches know of is deleted first. When they know of nothing more the namespace is read live, because letting
go of one that still holds something would leave that behind for ever. Behaviour and sentences: Kubernetes'
pkg/controller/namespace/deletion.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from controlplane.controllers import conditions
from mesh.objects.kinds import EVENTS, NAMESPACES, Resource
from mesh.objects.meta import Key, is_deleting, namespace_of, thaw
from mesh.objects.types import Object
from mesh.plan.actions import NOTHING, Action, DeleteCollection, Plan, Read, Update
from mesh.plan.controller import Caches, Observed, Watch, itself

_FINALIZER = "kubernetes"
_LOOK_AGAIN = timedelta(seconds=5)
"""In case the last object goes without a doorbell (Events are not watched)."""

Contents = dict[Resource, Sequence[Object]]


def _wake_terminating(obj: Object, caches: Caches) -> Iterable[Key]:
    """The namespace of an object, when it is being deleted."""
    key = Key("", namespace_of(obj))
    namespace = caches[NAMESPACES].get(key)
    return (key,) if namespace is not None and is_deleting(namespace) else ()


class NamespaceController:
    """Deletes the contents of terminating namespaces. `resources` are all that the API serves."""

    name = "namespace-controller"

    def __init__(self, resources: Sequence[Resource]) -> None:
        self._namespaced = [resource for resource in resources if resource.namespaced]
        self.watches: Sequence[Watch] = (
            Watch(NAMESPACES, itself),
            *(Watch(resource, _wake_terminating) for resource in self._namespaced if resource is not EVENTS),
        )

    def plan(self, key: Key, observed: Observed) -> Plan:
        """Delete what is there; when nothing is, remove the finalizer."""
        namespace = observed.caches[NAMESPACES].get(key)
        if namespace is None or not is_deleting(namespace):
            return NOTHING
        finalizers = (namespace.get("spec") or {}).get("finalizers") or []
        if _FINALIZER not in finalizers:
            return NOTHING
        contents = self._known(key, observed.caches)
        if not contents:
            reads = {resource: Read(resource, key.name) for resource in self._namespaced}
            if any(read not in observed.answers for read in reads.values()):
                return Plan(reads=tuple(reads.values()))
            answers = {resource: observed.answers[read] for resource, read in reads.items()}
            contents = {resource: found for resource, found in answers.items() if found}
        actions = _report(namespace, contents, observed.now)
        if not contents:
            free = thaw(namespace)
            free["spec"]["finalizers"] = [name for name in finalizers if name != _FINALIZER]
            # Once the report is written the object is another version; the doorbell brings us back to let it go.
            return Plan(actions or (Update(NAMESPACES, free, "finalize"),))
        doomed = [
            DeleteCollection(resource, key.name)
            for resource, found in contents.items()
            if not all(map(is_deleting, found))
        ]
        return Plan((*actions, *doomed), _LOOK_AGAIN)

    def _known(self, key: Key, caches: Caches) -> Contents:
        """What the caches show of the namespace's contents; there is none of Events."""
        found = {resource: caches[resource].list(key.name) for resource in self._namespaced if resource is not EVENTS}
        return {resource: objects for resource, objects in found.items() if objects}


def _report(namespace: Object, contents: Contents, now: datetime) -> tuple[Action, ...]:
    """The status write that tells what remains, if it is not told already."""
    old = namespace.get("status") or {}
    found = old.get("conditions") or []
    for kind, (state, reason, message) in _conditions(contents).items():
        current = conditions.find(found, kind)
        if current is None or current["message"] != message:
            made = conditions.make(current, kind, state, reason=reason, message=message, now=now)
            found = [*conditions.without(found, kind), made]
    status = {**old, "phase": "Terminating", "conditions": found}
    if status == old:
        return ()
    return (Update(NAMESPACES, {**namespace, "status": status}, "status"),)


def _conditions(contents: Contents) -> dict[str, tuple[str, str, str]]:
    """Status, reason and message of each condition."""
    told = {
        "NamespaceDeletionDiscoveryFailure": ("False", "ResourcesDiscovered", "All resources successfully discovered"),
        "NamespaceDeletionGroupVersionParsingFailure": (
            "False",
            "ParsedGroupVersions",
            "All legacy kube types successfully parsed",
        ),
        "NamespaceDeletionContentFailure": (
            "False",
            "ContentDeleted",
            "All content successfully deleted, may be waiting on finalization",
        ),
        "NamespaceContentRemaining": ("False", "ContentRemoved", "All content successfully removed"),
        "NamespaceFinalizersRemaining": (
            "False",
            "ContentHasNoFinalizers",
            "All content-preserving finalizers finished",
        ),
    }
    if contents:
        remaining = sorted(f"{r.plural}.{r.group} has {len(o)} resource instances" for r, o in contents.items())
        sentence = f"Some resources are remaining: {', '.join(remaining)}"
        told["NamespaceContentRemaining"] = ("True", "SomeResourcesRemain", sentence)
    held = Counter(
        finalizer
        for found in contents.values()
        for obj in found
        for finalizer in obj["metadata"].get("finalizers") or ()
    )
    if held:
        names = ", ".join(f"{name} in {number} resource instances" for name, number in sorted(held.items()))
        sentence = f"Some content in the namespace has finalizers remaining: {names}"
        told["NamespaceFinalizersRemaining"] = ("True", "SomeFinalizersRemain", sentence)
    return told

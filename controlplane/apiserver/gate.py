"""Admission's look-ups: fetches what the pure rules of `admission.py` need, and applies them."""

from __future__ import annotations

import random

from controlplane.apiserver import admission, chance
from controlplane.apiserver.admission import PodDefaults, Tolerance
from controlplane.apiserver.registry import Registry
from mesh.objects.kinds import NAMESPACES, PODS, SERVICEACCOUNTS, Resource
from mesh.objects.types import Object


class Gate:
    """Lets objects in, completed, or refuses them."""

    def __init__(self, registry: Registry, *, tolerance: Tolerance, rng: random.Random) -> None:
        self._registry = registry
        self._tolerance = tolerance
        self._rng = rng

    async def admit_create(self, resource: Resource, obj: Object) -> None:
        """Check and complete a new object, in place."""
        metadata = obj["metadata"]
        if not resource.namespaced:
            return
        namespace = metadata["namespace"]
        found = await self._find(NAMESPACES, "", namespace)
        admission.check_namespace(resource, metadata.get("name", ""), namespace, found)
        if resource is PODS:
            account = await self._find(SERVICEACCOUNTS, namespace, admission.service_account_of(obj))
            admission.admit_pod(obj, PodDefaults(self._tolerance, account, chance.suffix(self._rng)))

    def admit_update(self, resource: Resource, new: Object, old: Object) -> None:
        """Keep what admission added when a client's update leaves it out, in place."""
        if resource is PODS:
            admission.keep_admitted(new, old)

    async def _find(self, resource: Resource, namespace: str, name: str) -> Object | None:
        item = await self._registry.current(resource, namespace, name)
        return None if item is None else item.object

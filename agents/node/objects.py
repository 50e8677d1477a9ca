"""ConfigMaps and Secrets that pods of this node refer to: one informer for each, for as long as a pod needs it.

What was seen last is kept with the pods' checkpoint, so that a container can be restarted with no broker in reach.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from mesh.client.client import Client
from mesh.client.informer import Informer
from mesh.errors import Unavailable
from mesh.objects.kinds import CONFIGMAPS, SECRETS
from mesh.objects.meta import Key
from mesh.objects.types import Object

RESOURCES = {"ConfigMap": CONFIGMAPS, "Secret": SECRETS}
FIRST_LIST_SECONDS = 10.0
"""How long to wait for the first answer about an object before the pod has to try again."""


class Reference(NamedTuple):
    """One ConfigMap or Secret."""

    kind: str
    namespace: str
    name: str


@dataclass(slots=True)
class _Followed:
    informer: Informer
    task: asyncio.Task[None]
    users: set[str] = field(default_factory=set)


class ReferencedObjects:
    """Follows exactly the objects that pods refer to. `changed(reference, pod UIDs)` rings when one changes."""

    def __init__(
        self, client: Client, rng: random.Random, changed: Callable[[Reference, frozenset[str]], None]
    ) -> None:
        self._client = client
        self._rng = rng
        self._changed = changed
        self._followed: dict[Reference, _Followed] = {}
        self._saved: dict[Reference, Object] = {}

    def restore(self, saved: Mapping[Reference, Object]) -> None:
        """What a checkpoint remembers: used until the API has been heard."""
        self._saved |= saved

    async def fetch(self, pod_uid: str, references: Iterable[Reference]) -> dict[Reference, Object | None]:
        """The objects as they are now, None for those that do not exist. They are followed for this pod from now on.
        Raises `Unavailable` when the API cannot be heard and nothing is remembered either."""
        return {reference: await self._one(pod_uid, reference) for reference in references}

    async def _one(self, pod_uid: str, reference: Reference) -> Object | None:
        followed = self._follow(pod_uid, reference)
        informer = followed.informer
        if not informer.has_synced and reference in self._saved:
            return self._saved[reference]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FIRST_LIST_SECONDS):
                await informer.synced()
        if not informer.has_synced:
            raise Unavailable(f"{reference.kind} {reference.namespace}/{reference.name}: the API does not answer")
        return informer.get(Key(reference.namespace, reference.name))

    def known(self, pod_uid: str) -> dict[Reference, Object]:
        """What this pod refers to, as last seen: for its checkpoint."""
        found: dict[Reference, Object] = {}
        for reference, followed in self._followed.items():
            if pod_uid in followed.users:
                key = Key(reference.namespace, reference.name)
                obj = followed.informer.get(key) if followed.informer.has_synced else self._saved.get(reference)
                if obj is not None:
                    found[reference] = obj
        return found

    def _follow(self, pod_uid: str, reference: Reference) -> _Followed:
        followed = self._followed.get(reference)
        if followed is None:
            informer = Informer(
                self._client,
                RESOURCES[reference.kind],
                self._rng,
                namespace=reference.namespace,
                field_selector=f"metadata.name={reference.name}",
            )
            followed = _Followed(informer, asyncio.ensure_future(informer.run()))
            self._followed[reference] = followed
            informer.add_handler(lambda _old, _new: self._ring(reference))
        followed.users.add(pod_uid)
        return followed

    def _ring(self, reference: Reference) -> None:
        followed = self._followed.get(reference)
        if followed is not None:
            self._changed(reference, frozenset(followed.users))

    def release(self, pod_uid: str) -> None:
        """The pod is gone: stop following what nobody else needs."""
        for reference, followed in list(self._followed.items()):
            followed.users.discard(pod_uid)
            if not followed.users:
                followed.task.cancel()
                del self._followed[reference]
                self._saved.pop(reference, None)

    async def close(self) -> None:
        """Stop following anything."""
        tasks = [f.task for f in self._followed.values()]
        self._followed.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

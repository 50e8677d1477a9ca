"""The informers of one process: whoever needs the same objects shares one cache and one watch."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Mapping

from mesh.client.client import Client
from mesh.client.informer import Informer
from mesh.objects.kinds import Resource


class SharedInformers(Mapping[Resource, Informer]):
    """One informer per resource and selector in a process. As a mapping it holds the unselected ones by resource.

    `get_or_create` may be called before or after `run`; what it makes is followed from then on.
    """

    def __init__(self, client: Client, rng: random.Random, *, detect_mutations: bool = False) -> None:
        self._client = client
        self._rng = rng
        self._detect_mutations = detect_mutations
        self._informers: dict[tuple[Resource, str, str, str], Informer] = {}
        self._tasks: asyncio.TaskGroup | None = None

    def get_or_create(
        self, resource: Resource, namespace: str = "", *, label_selector: str = "", field_selector: str = ""
    ) -> Informer:
        """The informer for exactly this selection."""
        key = (resource, namespace, label_selector, field_selector)
        informer = self._informers.get(key)
        if informer is None:
            informer = Informer(
                self._client,
                resource,
                self._rng,
                namespace=namespace,
                label_selector=label_selector,
                field_selector=field_selector,
                detect_mutations=self._detect_mutations,
            )
            self._informers[key] = informer
            if self._tasks is not None:
                self._tasks.create_task(informer.run())
        return informer

    async def run(self) -> None:
        """Run all informers until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            for informer in self._informers.values():
                tasks.create_task(informer.run())
            await asyncio.Event().wait()

    async def synced(self) -> None:
        """Wait until every informer made so far has its first list."""
        for informer in tuple(self._informers.values()):
            await informer.synced()

    def verify(self) -> None:
        """Raise `CachedObjectChanged` if anybody changed a cached object (only with mutation detection)."""
        for informer in self._informers.values():
            informer.verify()

    def __getitem__(self, resource: Resource) -> Informer:
        return self._informers[(resource, "", "", "")]

    def __iter__(self) -> Iterator[Resource]:
        return iter([key[0] for key in self._informers if not any(key[1:])])

    def __len__(self) -> int:
        return sum(1 for key in self._informers if not any(key[1:]))

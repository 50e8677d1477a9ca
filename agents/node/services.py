"""The Services that containers get variables for: from the API's cache, and from disk until that has been read.

Written are only those that pods of this node could want, and of them only what variables are made of.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence, Set

from agents.node.keeper import CheckpointKeeper
from mesh.client.informer import Informer
from mesh.objects.meta import name_of, namespace_of
from mesh.objects.types import Object

NAME = "services"
WRITE_SECONDS = 5.0
"""Changes that come within this time are written together."""


class NodeServices:
    """One node's. `namespaces` are those that it has pods of."""

    def __init__(self, cache: Informer, keeper: CheckpointKeeper, namespaces: Callable[[], Set[str]]) -> None:
        self._cache = cache
        self._keeper = keeper
        self._namespaces = namespaces
        self._saved: Sequence[Object] = keeper.noted(NAME) or ()
        self._bell = asyncio.Event()
        cache.add_handler(lambda _old, _new: self.ring())

    def list(self) -> Sequence[Object]:
        """All Services that are known."""
        return self._cache.list() if self._cache.has_synced else self._saved

    def ring(self) -> None:
        """A Service has changed, or the pods have."""
        self._bell.set()

    async def run(self) -> None:
        """Keep them on disk, until cancelled."""
        await self._cache.synced()
        while True:
            await self._bell.wait()
            self._bell.clear()
            namespaces = self._namespaces()
            wanted = [_essence(service) for service in self._cache.list() if _concerns(service, namespaces)]
            self._keeper.note(NAME, sorted(wanted, key=lambda s: (namespace_of(s), name_of(s))))
            await asyncio.sleep(WRITE_SECONDS)


def _concerns(service: Object, namespaces: Set[str]) -> bool:
    where = namespace_of(service)
    return where in namespaces or (where, name_of(service)) == ("default", "kubernetes")


def _essence(service: Object) -> Object:
    """What `environment.service_environment` reads."""
    spec = service["spec"]
    ports = [
        {key: port[key] for key in ("name", "port", "protocol") if key in port} for port in spec.get("ports") or ()
    ]
    return {
        "metadata": {"name": name_of(service), "namespace": namespace_of(service)},
        "spec": {"clusterIP": spec.get("clusterIP") or "None", "ports": ports},
    }

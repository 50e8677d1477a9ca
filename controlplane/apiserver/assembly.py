"""Puts the API server together: stores, caches, pipeline, HTTPS. The only file of this room that knows all others."""

from __future__ import annotations

import asyncio
import logging
import random
from pathlib import Path

from controlplane.apiserver import pki
from controlplane.apiserver.admission import Tolerance
from controlplane.apiserver.allocation import Allocation
from controlplane.apiserver.authenticate import Authenticator
from controlplane.apiserver.authorize import GroupAuthorizer
from controlplane.apiserver.bootstrap import Bootstrap
from controlplane.apiserver.deletes import Deletes
from controlplane.apiserver.documents import Documents
from controlplane.apiserver.gate import Gate
from controlplane.apiserver.health import Health
from controlplane.apiserver.http import HttpsServer
from controlplane.apiserver.metrics import Metrics
from controlplane.apiserver.nodestreams import NodeCalls, NodeStreams
from controlplane.apiserver.reads import Reads
from controlplane.apiserver.registry import Registry
from controlplane.apiserver.reservations import RESERVATIONS, Reservations
from controlplane.apiserver.reviews import Reviews
from controlplane.apiserver.server import ApiServer, Parts
from controlplane.apiserver.strategies.registry import strategy_for
from controlplane.apiserver.subresources import Subresources
from controlplane.apiserver.tokens import Tokens
from controlplane.apiserver.watchcache import WatchCache
from controlplane.apiserver.watcher import FieldGetter
from controlplane.apiserver.writes import Writes
from mesh.clock import Clock, SystemClock
from mesh.config import ServerConfig
from mesh.errors import CoveyError, Terminal
from mesh.objects.kinds import BUILT_IN, EVENTS, PODS, Resource
from mesh.objects.meta import name_of
from mesh.store.port import Store

log = logging.getLogger(__name__)

EVENT_LIFE = 3600.0
"""Seconds that Events are kept."""
REPAIR_INTERVAL = 300.0
"""Seconds between two looks for reservations without a Service."""


class RunningServer:
    """An API server at work. `api` is what front ends and in-process clients talk to."""

    def __init__(self, api: ApiServer, registry: Registry, https: HttpsServer | None, port: int) -> None:
        self.api = api
        self.registry = registry
        self.port = port
        """Where HTTPS listens; 0 without HTTPS."""
        self._https = https
        self._tasks: list[asyncio.Task[None]] = []

    def spawn(self, work: asyncio.Task[None]) -> None:
        """Cancel this task when the server stops."""
        self._tasks.append(work)

    async def stop(self) -> None:
        """End watches, streams and listening; the stores stay open, they are the caller's."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for cache in self.registry.caches:
            await cache.stop()
        if self._https is not None:
            await self._https.stop()


async def start(
    config: ServerConfig,
    store: Store,
    events_store: Store,
    nodes: NodeCalls,
    *,
    clock: Clock | None = None,
    rng: random.Random | None = None,
    https: bool = True,
) -> RunningServer:
    """Start an API server; returns once its caches have caught up and it listens.

    `nodes` is how nodes are called (`mesh.bus.calls.NodeCaller`). Without `https` only `RunningServer.api` serves (the
    simulation). Raises `Terminal` when the port or the certificates cannot be used.
    """
    clock = clock or SystemClock()
    rng = rng or random.Random()
    keys = _keys(config, clock)
    registry = await _registry(store, events_store, clock)
    tokens = Tokens(keys.service_account_key.read_bytes(), registry, clock)
    reservations = Reservations(registry, clock)
    allocation = Allocation(reservations, config.network, rng)
    writes = _writes(config, registry, allocation, clock, rng)
    deletes = Deletes(registry, allocation, clock)
    metrics = Metrics(registry)
    authorizer = GroupAuthorizer()
    api = ApiServer(
        Parts(
            reads=Reads(registry, rng),
            writes=writes,
            deletes=deletes,
            subresources=Subresources(registry, writes, deletes, clock),
            tokens=tokens,
            reviews=Reviews(authorizer, tokens, clock),
            streams=NodeStreams(registry, nodes),
            documents=Documents(_health(registry), metrics, tokens),
            metrics=metrics,
            authorizer=authorizer,
            clock=clock,
        )
    )
    server, port = None, 0
    if https:
        server = HttpsServer(api, Authenticator(tokens.authenticate))
        port = await _listen(server, config, keys)
    bootstrap = Bootstrap(config, port or config.port, registry, writes, clock)
    await bootstrap.ensure()
    await reservations.repair()
    running = RunningServer(api, registry, server, port)
    running.spawn(asyncio.create_task(bootstrap.keep()))
    running.spawn(asyncio.create_task(_repair(reservations)))
    return running


def _keys(config: ServerConfig, clock: Clock) -> pki.Pki:
    names = pki.server_names(config.advertise_address, config.network.service_cidrs, config.network.cluster_domain)
    return pki.ensure(Path(config.pki_dir), names, clock.now())


async def _registry(store: Store, events_store: Store, clock: Clock) -> Registry:
    main = [resource for resource in BUILT_IN if resource is not EVENTS]
    triggers: dict[Resource, dict[str, FieldGetter]] = {r: {"metadata.name": name_of} for r in BUILT_IN}
    triggers[PODS]["spec.nodeName"] = strategy_for(PODS).fields["spec.nodeName"]
    objects = WatchCache(store, [*main, *RESERVATIONS], clock, triggers=triggers)
    events = WatchCache(events_store, [EVENTS], clock, triggers=triggers, expire_after=EVENT_LIFE)
    await asyncio.gather(objects.start(), events.start())
    return Registry(objects, events)


def _writes(
    config: ServerConfig, registry: Registry, allocation: Allocation, clock: Clock, rng: random.Random
) -> Writes:
    tolerance = Tolerance(config.not_ready_seconds, config.unreachable_seconds)
    gate = Gate(registry, tolerance=tolerance, rng=rng)
    return Writes(registry, gate, allocation, clock, rng)


def _health(registry: Registry) -> Health:
    async def ping() -> None:
        """Answering is the proof."""

    async def store() -> None:
        for cache in registry.caches:
            await cache.store.last_revision()

    async def caches() -> None:
        for cache in registry.caches:
            for resource in cache.resources:
                registry.cache(resource)
                break

    return Health({"ping": ping}, {"store": store, "watch-cache": caches})


async def _listen(server: HttpsServer, config: ServerConfig, keys: pki.Pki) -> int:
    try:
        return await server.start(config.bind_address, config.port, keys.server_context())
    except OSError as error:
        where = f"{config.bind_address}:{config.port}"
        raise Terminal(f"cannot listen on {where}: {error.strerror}; is another server running there?") from error


async def _repair(reservations: Reservations) -> None:
    while True:
        await asyncio.sleep(REPAIR_INTERVAL)
        try:
            await reservations.repair()
        except CoveyError as error:
            log.warning("reservations could not be repaired, trying again: %s", error)

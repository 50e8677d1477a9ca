"""Runs all controllers of one control-plane process: caches always, the rest while it leads."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

from controlplane.controllers.nodelifecycle import NodeLifecycleController
from controlplane.controllers.table import controllers
from controlplane.manager.heartbeats import Heartbeats, Who, nobody
from mesh.bus.port import Bus
from mesh.client.client import Client
from mesh.client.events import EventBroadcaster
from mesh.client.leader import DEFAULT_TIMING, LeaderElector, Timing
from mesh.client.runtime import Runtime
from mesh.client.shared import SharedInformers
from mesh.clock import Clock
from mesh.config import ServerConfig
from mesh.objects.kinds import BUILT_IN, NODES, Resource
from mesh.objects.meta import Key

ELECTION = "covey-controllers"
"""The Lease in kube-system."""


class ControllerManager:
    """The controllers of one process, `identity` in elections. `ca` is the cluster's CA certificate (PEM).

    `informers` may be shared with the scheduler of the same process; whoever makes them runs them. `who` tells which
    identities are nodes' proxies.
    """

    def __init__(
        self,
        client: Client,
        informers: SharedInformers,
        bus: Bus,
        config: ServerConfig,
        *,
        clock: Clock,
        rng: random.Random,
        ca: str,
        identity: str,
        resources: Sequence[Resource] = BUILT_IN,
        timing: Timing = DEFAULT_TIMING,
        who: Who = nobody,
    ) -> None:
        self._events = EventBroadcaster(client, clock)
        self._runtime = Runtime(client, informers, self._events, clock, rng)
        self._heartbeats = Heartbeats(
            bus,
            informers.get_or_create(NODES),
            clock,
            leader=identity,
            silence_limit=config.node_silence_seconds,
            fence_time=config.fence_seconds,
            who=who,
        )
        for controller in controllers(config, ca, self._heartbeats.health, resources):
            self._runtime.add(controller)
        self._elector = LeaderElector(client, clock, rng, name=ELECTION, identity=identity, timing=timing)

    @property
    def leading(self) -> bool:
        """Whether this process's controllers are at work."""
        return self._elector.leading

    async def run(self) -> None:
        """Stand for election, and run everything while elected, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._events.run())
            tasks.create_task(self._elector.run(self._lead))

    async def _lead(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._heartbeats.run(self._ring))
            tasks.create_task(self._runtime.run())

    def _ring(self, node: Key) -> None:
        self._runtime.ring(NodeLifecycleController.name, node)

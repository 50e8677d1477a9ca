"""The real API pipeline and all controllers in one process, with nodes that are a few lines each.

The nodes heartbeat, make their pods ready and end deleted ones; a three-line scheduler hands pods round. Stores and bus
are the in-memory ones, so it runs on virtual time.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgpack

from controlplane.apiserver.assembly import start
from controlplane.manager.heartbeats import IDENTITY
from controlplane.manager.manager import ControllerManager
from mesh.api.local import LocalTransport
from mesh.api.port import Stream, User
from mesh.bus import subjects
from mesh.bus.memory import MemoryBroker
from mesh.client.client import Client
from mesh.client.shared import SharedInformers
from mesh.config import BusConfig, ServerConfig
from mesh.errors import ApiError, NotFound, Unavailable
from mesh.objects.kinds import NODES, PODS
from mesh.objects.meta import Key, format_time, is_deleting, key_of, name_of, thaw, uid_of
from mesh.objects.types import Object
from mesh.store.memory import MemoryStore

ADMIN = User("covey:server", ("system:masters", "system:authenticated"))


class LoopClock:
    """The event loop's time, virtual or real."""

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    boottime = monotonic


class NoCalls:
    """Nodes that cannot be called."""

    async def open(self, identity: str, op: str, params: Mapping[str, Any]) -> Stream:
        raise NotFound(f"{identity} {op}")


class Node:
    """A node agent in small: announces itself, heartbeats, makes its pods ready, ends deleted ones."""

    def __init__(self, cluster: ControllerCluster, name: str) -> None:
        self.name = name
        self.identity = f"U{name.upper()}"
        self.reachable = True
        self.fenced = False
        self._cluster = cluster
        self._bus = cluster.broker.connect(self.identity)
        self._address = 0

    async def register(self) -> None:
        meta = {"name": self.name, "annotations": {IDENTITY: self.identity}}
        node = {"apiVersion": "v1", "kind": "Node", "metadata": meta, "spec": {}}
        made = await self._cluster.client.create(NODES, node)
        await self._post_ready(made)

    def cut(self) -> None:
        """Its link is gone, both ways."""
        self.reachable = False
        self._cluster.broker.cut(self.identity)

    def heal(self) -> None:
        self.reachable = True
        self._cluster.broker.heal(self.identity)

    async def run(self) -> None:
        sequence, answered = 0, self._cluster.clock.monotonic()
        while True:
            sequence += 1
            sent = self._cluster.clock.monotonic()
            beat = msgpack.packb({"node": self.name, "sequence": sequence})
            try:
                await self._bus.request(subjects.heartbeat(self.identity), beat, timeout=0.4)
                answered = sent
            except Unavailable:
                pass
            self.fenced = self._cluster.clock.monotonic() - answered > 8
            if self.reachable:
                await self._work()
            await asyncio.sleep(0.5)

    async def _work(self) -> None:
        node = self._cluster.informers[NODES].get(Key("", self.name))
        if node is not None and self._state(node) != "True":
            await self._post_ready(node)
        for pod in self._cluster.informers[PODS].list():
            if pod["spec"].get("nodeName") != self.name:
                continue
            try:
                await self._sync(pod)
            except ApiError:
                continue

    async def _sync(self, pod: Object) -> None:
        client = self._cluster.client
        if is_deleting(pod):
            namespace, name = key_of(pod)
            await client.delete(PODS, name, namespace, uid=uid_of(pod), grace_period_seconds=0)
            return
        found = (pod.get("status") or {}).get("conditions") or []
        if any(c["type"] == "Ready" and c["status"] == "True" for c in found):
            return
        new = thaw(pod)
        self._address += 1
        address = f"10.64.{self.name[1:]}.{self._address}"
        ready = {"type": "Ready", "status": "True", "lastTransitionTime": format_time(self._cluster.clock.now())}
        new["status"] = {"phase": "Running", "conditions": [ready], "podIP": address, "podIPs": [{"ip": address}]}
        await client.update(PODS, new, subresource="status")

    def _state(self, node: Object) -> str:
        found = (node.get("status") or {}).get("conditions") or ()
        return next((str(c["status"]) for c in found if c["type"] == "Ready"), "")

    async def _post_ready(self, node: Object) -> None:
        new = thaw(node)
        stamp = format_time(self._cluster.clock.now())
        times = {"lastTransitionTime": stamp, "lastHeartbeatTime": stamp}
        new["status"] = {"conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady", **times}]}
        await self._cluster.client.update(NODES, new, subresource="status")


class ControllerCluster:
    """What a test holds: a client, caches, the broker, the nodes."""

    def __init__(self, client: Client, informers: SharedInformers, broker: MemoryBroker) -> None:
        self.client = client
        self.informers = informers
        self.broker = broker
        self.clock = LoopClock()
        self.nodes: list[Node] = []
        self.config: ServerConfig
        self._tasks: list[asyncio.Task[None]] = []

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.append(task)
        return task

    def manager(self, identity: str) -> ControllerManager:
        """One more process's controllers."""
        bus = self.broker.connect(identity, server=True)
        rng = random.Random(identity)
        informers = SharedInformers(self.client, rng, detect_mutations=True)
        manager = ControllerManager(
            self.client, informers, bus, self.config, clock=self.clock, rng=rng, ca="PEM", identity=identity
        )
        self.spawn(informers.run())
        return manager

    async def schedule(self) -> None:
        """Hand pods round to the nodes that take any."""
        turn = 0
        while True:
            await asyncio.sleep(0.05)
            open_nodes = [n for n in self.informers[NODES].list() if not n["spec"].get("taints")]
            for pod in self.informers[PODS].list():
                if pod["spec"].get("nodeName") or is_deleting(pod) or not open_nodes:
                    continue
                turn += 1
                node = sorted(open_nodes, key=name_of)[turn % len(open_nodes)]
                try:
                    await self.client.bind(pod["metadata"]["namespace"], name_of(pod), name_of(node))
                except ApiError:
                    continue

    async def until(self, condition: Callable[[], bool], seconds: float = 60) -> float:
        """Wait for `condition`; returns how long it took."""
        started = self.clock.monotonic()
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110 - many things may make it true
                await asyncio.sleep(0.05)
        return self.clock.monotonic() - started

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        results = await asyncio.gather(*self._tasks, return_exceptions=True)
        failures = [r for r in results if isinstance(r, Exception)]
        assert not failures, failures
        self.informers.verify()


@asynccontextmanager
async def running(directory: Path, nodes: int = 3) -> AsyncIterator[ControllerCluster]:
    """An API server, `nodes` ready nodes and a scheduler; controllers are the test's to start."""
    unused = BusConfig(servers=[], seed_file="")
    config = ServerConfig(bus=unused, store=unused, identities_file="", pki_dir=str(directory))
    store, events = MemoryStore(), MemoryStore()
    server = await start(config, store, events, NoCalls(), clock=LoopClock(), rng=random.Random(1), https=False)
    client = Client(LocalTransport(server.api, ADMIN))
    cluster = ControllerCluster(client, SharedInformers(client, random.Random(2)), MemoryBroker())
    cluster.config = config
    for resource in (NODES, PODS):
        cluster.informers.get_or_create(resource)
    cluster.spawn(cluster.informers.run())
    await cluster.informers.synced()
    for n in range(1, nodes + 1):
        node = Node(cluster, f"n{n}")
        await node.register()
        cluster.nodes.append(node)
        cluster.spawn(node.run())
    cluster.spawn(cluster.schedule())
    try:
        yield cluster
    finally:
        await cluster.stop()
        await server.stop()
        await store.close()
        await events.close()

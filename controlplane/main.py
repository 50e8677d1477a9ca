"""`covey server`: wires the control plane to the real broker, and runs it.

Every server answers the API, over HTTPS and over NATS. The scheduler and the controllers run where they are leader.
Only this file knows the adapters; everything below it receives ports.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import random
import signal
from pathlib import Path

from controlplane.apiserver.assembly import start as start_api
from controlplane.lag import watch_lag
from controlplane.manager.heartbeats import Who
from controlplane.manager.manager import ControllerManager
from mesh.api.local import LocalTransport
from mesh.api.port import User
from mesh.bus.api_server import ApiServer
from mesh.bus.calls import NodeCaller
from mesh.bus.connection import Connection
from mesh.bus.identities import IdentityBook, load_signer
from mesh.bus.nats import NatsBus
from mesh.bus.streams import StreamHub
from mesh.client.client import Client
from mesh.client.events import EventBroadcaster
from mesh.client.leader import LeaderElector
from mesh.client.shared import SharedInformers
from mesh.clock import Clock, SystemClock
from mesh.collector import take_small_steps
from mesh.config import ServerConfig
from mesh.objects.kinds import NODES, PODS
from mesh.store.bucket import events_bucket, objects_bucket
from mesh.store.jetstream import open_store

log = logging.getLogger("covey.server")

ITSELF = User("system:covey:server", ("system:masters", "system:authenticated"))
SCHEDULER_ELECTION = "covey-scheduler"
"""The Lease in kube-system; the controllers have one of their own."""
BROKER_PATIENCE = 60.0
"""Seconds to wait for the broker when starting; then the process ends with a sentence and is started again."""


async def run(config: ServerConfig) -> None:
    """Serve until SIGTERM or SIGINT. Raises `Terminal` for what an operator must mend."""
    take_small_steps()
    clock, rng = SystemClock(), random.Random()
    store_connection = Connection(config.store.servers, load_signer(Path(config.store.seed_file)), name="store")
    bus = NatsBus(config.bus.servers, load_signer(Path(config.bus.seed_file)), name="server")
    try:
        await asyncio.gather(store_connection.start(wait=BROKER_PATIENCE), bus.start(wait=BROKER_PATIENCE))
        store = await open_store(store_connection, objects_bucket(config.replicas), clock)
        events = await open_store(store_connection, events_bucket(config.replicas), clock)
        hub = StreamHub(bus)
        await hub.start()
        server = await start_api(config, store, events, NodeCaller(bus, hub), clock=clock, rng=rng)
        who = IdentityBook(Path(config.identities_file)).user
        front = ApiServer(bus, hub, server.api, who)
        await front.start()
        log.info("server.ready port=%d", server.port)
        client = Client(LocalTransport(server.api, ITSELF), user_agent="covey-server")
        deciding = asyncio.create_task(decide(config, client, bus, clock=clock, rng=rng, who=who))
        stop = asyncio.create_task(_signalled())
        done, _ = await asyncio.wait({deciding, stop}, return_when=asyncio.FIRST_COMPLETED)
        deciding.cancel()
        await asyncio.gather(deciding, return_exceptions=True)
        await front.close()
        await hub.close()
        await server.stop()
        await store.close()
        await events.close()
        if deciding in done:
            deciding.result()
    finally:
        await bus.close()
        await store_connection.close()


async def decide(
    config: ServerConfig, client: Client, bus: NatsBus, *, clock: Clock, rng: random.Random, who: Who
) -> None:
    """Scheduler and controllers, until cancelled. Both stand for election under this server's NKEY: started again, it
    leads again at once, without waiting for its own old Lease to run out."""
    informers = SharedInformers(client, rng)
    events = EventBroadcaster(client, clock)
    ca = (Path(config.pki_dir) / "ca.crt").read_text()
    manager = ControllerManager(
        client, informers, bus, config, clock=clock, rng=rng, ca=ca, identity=bus.identity, who=who
    )
    scheduling = _schedule(client, informers, events, clock=clock, rng=rng, identity=bus.identity)
    async with asyncio.TaskGroup() as tasks:
        for work in (informers.run(), events.run(), manager.run(), scheduling, watch_lag()):
            tasks.create_task(work)


async def _schedule(
    client: Client,
    informers: SharedInformers,
    events: EventBroadcaster,
    *,
    clock: Clock,
    rng: random.Random,
    identity: str,
) -> None:
    """The scheduler, until cancelled. It alone needs numpy, a fifth of what this process takes to start: that is
    imported beside the work, when the API answers already."""
    await asyncio.to_thread(importlib.import_module, "controlplane.scheduler.loop")
    from controlplane.scheduler.loop import NAME, Scheduler

    pods, nodes = informers.get_or_create(PODS), informers.get_or_create(NODES)
    scheduler = Scheduler(client, pods, nodes, events.recorder(NAME), clock)
    elector = LeaderElector(client, clock, rng, name=SCHEDULER_ELECTION, identity=identity)
    await elector.run(scheduler.run)


async def _signalled() -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await stop.wait()

"""One control-plane process, wired as `controlplane/main.py` does it, over the stores and the bus in memory."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

from controlplane.apiserver.assembly import start
from controlplane.main import ITSELF, SCHEDULER_ELECTION
from controlplane.manager.manager import ControllerManager
from controlplane.scheduler.loop import NAME, Scheduler
from mesh.api.local import LocalTransport
from mesh.bus.api_server import ApiServer
from mesh.bus.calls import NodeCaller
from mesh.bus.streams import StreamHub
from mesh.client.client import Client
from mesh.client.events import EventBroadcaster
from mesh.client.leader import LeaderElector
from mesh.client.shared import SharedInformers
from mesh.errors import CoveyError
from mesh.objects.kinds import NODES, PODS
from mesh.store.memory import MemoryStore
from tests.simulation.process import Process, ProcessBus, spawn_outside
from tests.simulation.virtual import MachineClock
from tests.simulation.weather import StoreLink

if TYPE_CHECKING:
    from tests.simulation.world import World

RESTART_SECONDS = 1.0
"""After how long a supervisor starts a server again that could not start."""


class Server:
    """A machine with a control plane. Everything but its name is lost when it crashes."""

    def __init__(self, world: World, name: str) -> None:
        self.name = name
        self.identity = f"US{name.upper()}"
        self.clock = MachineClock()
        self.informers: SharedInformers | None = None
        self.manager: ControllerManager | None = None
        self.link = StoreLink(world.rng(f"{name} store"))
        self.running = False
        self._world = world
        self._life = 0
        self._process: Process | None = None
        self._stores: tuple[MemoryStore, MemoryStore] | None = None

    def start(self) -> None:
        """Begin a new life."""
        assert not self.running
        self._life += 1
        self.running = True
        world = self._world
        stores = (MemoryStore(world.engine, self.link), MemoryStore(world.events_engine, self.link))
        self._stores = stores
        memory_bus = world.broker.connect(self.identity, server=True)
        if self.identity in world.cut_off:
            memory_bus.set_connected(up=False)

        async def cut() -> None:
            for store in stores:
                await store.close()
            await memory_bus.close()

        process = Process(f"{self.name}/{self._life}", cut)
        self._process = process
        process.spawn(self._main(ProcessBus(memory_bus, process), stores, process))

    async def crash(self) -> None:
        """Kill -9."""
        if self.running and self._process is not None:
            self.running = False
            self.informers = self.manager = None
            await self._process.kill()

    def store_reconnected(self) -> None:
        """The link to the store is up again."""
        for store in self._stores or ():
            store.reconnected()

    async def _main(self, bus: ProcessBus, stores: tuple[MemoryStore, MemoryStore], process: Process) -> None:
        try:
            await self._serve(bus, stores)
        except CoveyError as error:
            self._world.trace.note(self.name, f"ended: {error}")
        except Exception as error:  # noqa: BLE001 - whatever ends a server is for the trace to tell
            self._world.fail("No process ends by itself.", f"{process.name} ended with {error!r}", error)
        spawn_outside(self._start_again())

    async def _start_again(self) -> None:
        """What a supervisor does about a server that gave up."""
        await self.crash()
        await asyncio.sleep(RESTART_SECONDS)
        if not self.running:
            self.start()

    async def _serve(self, bus: ProcessBus, stores: tuple[MemoryStore, MemoryStore]) -> None:
        world = self._world
        rng = world.rng(f"{self.name} life {self._life}")
        hub = StreamHub(bus)
        await hub.start()
        calls = NodeCaller(bus, hub)
        running = await start(world.server_config, *stores, calls, clock=self.clock, rng=rng, https=False)
        front = ApiServer(bus, hub, running.api, world.users.get)
        await front.start()
        world.trace.note(self.name, "ready")
        client = Client(LocalTransport(running.api, ITSELF), user_agent="covey-server")
        await self._decide(client, bus, rng)

    async def _decide(self, client: Client, bus: ProcessBus, rng: random.Random) -> None:
        informers = SharedInformers(client, rng, detect_mutations=True)
        events = EventBroadcaster(client, self.clock)
        manager = ControllerManager(
            client,
            informers,
            bus,
            self._world.server_config,
            clock=self.clock,
            rng=rng,
            ca="PEM",
            identity=bus.identity,
        )
        pods, nodes = informers.get_or_create(PODS), informers.get_or_create(NODES)
        scheduler = Scheduler(client, pods, nodes, events.recorder(NAME), self.clock)
        elector = LeaderElector(client, self.clock, rng, name=SCHEDULER_ELECTION, identity=bus.identity)
        self.informers, self.manager = informers, manager
        async with asyncio.TaskGroup() as tasks:
            for work in (informers.run(), events.run(), manager.run(), elector.run(scheduler.run)):
                tasks.create_task(work)

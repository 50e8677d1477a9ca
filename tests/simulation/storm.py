"""Everything that goes wrong, and when: drawn from the seed, one fault after the other, a few at a time.

A fault has a beginning and an end; what ends it is done even if the simulation has moved on. When the storm is over nothing
is broken any more, and `settled.py` may be asked.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from tests.simulation.world import CLIENTS

if TYPE_CHECKING:
    from tests.simulation.node import Node
    from tests.simulation.server import Server
    from tests.simulation.world import World

T = TypeVar("T")

AT_A_TIME = 3
"""Faults that last at the same moment, at most."""
_LONGEST_CUT = 25.0
"""Seconds that a node may be cut off: longer than it takes until its exclusive pods run elsewhere."""


class Storm:
    """Breaks `world` for some time, and mends it."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._rng: random.Random = world.rng("storm")
        self._busy: set[str] = set()
        anything: list[tuple[int, Callable[[], Any], Callable[[Any], AbstractAsyncContextManager[None]]]] = [
            (3, self._sky, self._bad_weather),
            (4, self._node, self._cut),
            (4, self._node, self._silent),
            (2, self._server, self._cut),
            (1, self._broker, self._no_broker),
            (3, self._server, self._store_trouble),
            (2, self._server, self._no_store),
            (3, self._server, self._server_crash),
            (3, self._node, self._agent_crash),
            (2, self._node, self._no_power),
            (2, self._node, self._no_runtime),
            (3, self._node, self._container_crash),
            (1, self._node, self._wrong_clock),
            (1, self._server, self._wrong_clock),
        ]
        self._weights = [weight for weight, _, _ in anything]
        self._faults = [(place, fault) for _, place, fault in anything]
        """Where something may go wrong, and what."""

    async def rage(self, seconds: float) -> None:
        """Break things until the time is up, then mend them all."""
        end = self._world.now + seconds
        async with asyncio.TaskGroup() as tasks:
            while self._world.now < end:
                await asyncio.sleep(self._rng.uniform(0.5, 4.0))
                (choose, fault), *_ = self._rng.choices(self._faults, self._weights)
                if len(self._world.faults) < AT_A_TIME and (place := choose()) is not None:
                    tasks.create_task(self._last(fault(place), self._seconds()))

    def _seconds(self) -> float:
        """How long a fault lasts: mostly short."""
        return self._rng.choice((0.5, 2.0, 5.0, 9.0, 14.0, _LONGEST_CUT)) * self._rng.uniform(0.5, 1.0)

    @staticmethod
    async def _last(fault: AbstractAsyncContextManager[None], seconds: float) -> None:
        async with fault:
            await asyncio.sleep(seconds)

    @asynccontextmanager
    async def _named(self, what: str, place: str) -> AsyncIterator[None]:
        """A fault for the record; while it lasts nothing else happens to the same place."""
        self._busy.add(place)
        self._world.broken(what)
        try:
            yield
        finally:
            self._world.mended(what)
            self._busy.discard(place)

    def _free(self, things: list[T], name: Callable[[T], str]) -> T | None:
        """One of those to which nothing happens now."""
        found = [thing for thing in things if name(thing) not in self._busy]
        return self._rng.choice(found) if found else None

    def _sky(self) -> str | None:
        return None if "the weather" in self._busy else "the weather"

    def _broker(self) -> str | None:
        """The broker, if nothing else is wrong."""
        return None if self._busy else "the broker"

    def _node(self) -> Node | None:
        return self._free(self._world.nodes, lambda node: node.name)

    def _server(self) -> Server | None:
        """A server to which something may happen: never both at a time, or nobody could tell anything."""
        if any(server.name in self._busy for server in self._world.servers):
            return None
        return self._free(self._world.servers, lambda server: server.name)

    # Faults of the bus

    @asynccontextmanager
    async def _bad_weather(self, sky: str) -> AsyncIterator[None]:
        """Messages are lost, doubled and late."""
        weather, rng = self._world.weather, self._rng
        async with self._named("bad weather", sky):
            weather.loss, weather.duplicates = rng.choice((0.0, 0.02, 0.1)), rng.choice((0.0, 0.05))
            weather.slowness = rng.choice((0.05, 0.3, 1.0))
            try:
                yield
            finally:
                weather.loss = weather.duplicates = weather.slowness = 0.0

    @asynccontextmanager
    async def _cut(self, machine: Node | Server) -> AsyncIterator[None]:
        """The connection to the broker breaks, and is seen to."""
        async with self._named(f"{machine.name} is cut off", machine.name):
            self._world.cut(machine.identity)
            try:
                yield
            finally:
                self._world.heal(machine.identity)

    @asynccontextmanager
    async def _silent(self, node: Node) -> AsyncIterator[None]:
        """Messages vanish, to it, from it or both, and nobody is told."""
        ways = self._rng.choice((("mute",), ("deaf",), ("mute", "deaf")))
        sets = [getattr(self._world.weather, way) for way in ways]
        async with self._named(f"{node.name} is {' and '.join(ways)}", node.name):
            for members in sets:
                members.add(node.identity)
            try:
                yield
            finally:
                for members in sets:
                    members.discard(node.identity)

    @asynccontextmanager
    async def _no_broker(self, broker: str) -> AsyncIterator[None]:
        """The broker is down, and with it the store, which lies in it."""
        world = self._world
        everybody = [part.identity for part in world.machines] + list(CLIENTS)
        async with self._named(f"{broker} is away", broker):
            self._busy.update(part.name for part in world.machines)
            for identity in everybody:
                world.cut(identity)
            for server in world.servers:
                server.link.connected = False
            try:
                yield
            finally:
                for server in world.servers:
                    server.link.connected = True
                    server.store_reconnected()
                for identity in everybody:
                    world.heal(identity)
                self._busy.difference_update(part.name for part in world.machines)

    # Faults of the store

    @asynccontextmanager
    async def _store_trouble(self, server: Server) -> AsyncIterator[None]:
        """Writes are refused, late, or done without an answer."""
        link, rng = server.link, self._rng
        async with self._named(f"{server.name} has trouble with the store", server.name):
            link.loss = {"write": rng.choice((0.0, 0.2)), "ack": rng.choice((0.0, 0.2)), "read": rng.choice((0.0, 0.1))}
            link.slowness = rng.choice((0.0, 0.1, 0.5))
            try:
                yield
            finally:
                link.loss, link.slowness = dict.fromkeys(link.loss, 0.0), 0.0

    @asynccontextmanager
    async def _no_store(self, server: Server) -> AsyncIterator[None]:
        """One server cannot reach the store."""
        async with self._named(f"{server.name} cannot reach the store", server.name):
            server.link.connected = False
            try:
                yield
            finally:
                server.link.connected = True
                server.store_reconnected()

    # Deaths

    @asynccontextmanager
    async def _server_crash(self, server: Server) -> AsyncIterator[None]:
        async with self._named(f"{server.name} has crashed", server.name):
            await server.crash()
            try:
                yield
            finally:
                if not server.running:
                    server.start()

    @asynccontextmanager
    async def _agent_crash(self, node: Node) -> AsyncIterator[None]:
        """Containers go on."""
        async with self._named(f"the agent of {node.name} has crashed", node.name):
            await node.crash_agent()
            try:
                yield
            finally:
                node.start_agent()

    @asynccontextmanager
    async def _no_power(self, node: Node) -> AsyncIterator[None]:
        async with self._named(f"{node.name} has no power", node.name):
            await node.lose_power()
            try:
                yield
            finally:
                node.boot()

    # Faults of a node's own

    @asynccontextmanager
    async def _no_runtime(self, node: Node) -> AsyncIterator[None]:
        """The container daemon does not answer; containers go on."""
        async with self._named(f"the runtime of {node.name} is away", node.name):
            node.runtime.disconnect()
            try:
                yield
            finally:
                node.runtime.away = False

    @asynccontextmanager
    async def _container_crash(self, node: Node) -> AsyncIterator[None]:
        """One container ends by itself; that is over at once."""
        if running := sorted(node.runtime.running()):
            chosen = self._rng.choice(running)
            self._world.trace.note("fault", f"container {chosen} on {node.name} crashes")
            node.runtime.crash(chosen, oom_killed=self._rng.random() < 0.3)
        yield

    @asynccontextmanager
    async def _wrong_clock(self, machine: Node | Server) -> AsyncIterator[None]:
        """Somebody sets the wall clock wrong, and right again later."""
        seconds = self._rng.choice((-1.0, 1.0)) * self._rng.choice((1.0, 10.0, 60.0, 3600.0))
        async with self._named(f"the clock of {machine.name} is wrong by {seconds:+.0f} s", machine.name):
            machine.clock.wrong_by = seconds
            try:
                yield
            finally:
                machine.clock.wrong_by = 0.0

"""Who is answered, who is believed, and what is said of those who fall silent. In-memory bus, virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import msgpack
import pytest

from controlplane.manager.heartbeats import IDENTITY, Heartbeats
from mesh.api.port import User
from mesh.bus import subjects
from mesh.bus.memory import MemoryBroker, MemoryBus
from mesh.client.cache import ObjectCache
from mesh.errors import Unavailable
from mesh.objects.meta import Key
from tests.support.controller_cluster import LoopClock

pytestmark = pytest.mark.looptime


class Lagging:
    """The leader takes what is sent to it, its own marks too, only after `seconds`."""

    seconds = 0.0

    def copies(self, sender: str, receiver: str, subject: str) -> Sequence[float]:
        del sender, subject
        return (self.seconds if receiver == "USERVER" else 0.0,)


class World:
    """A leader that listens, and two nodes."""

    def __init__(self) -> None:
        self.lag = Lagging()
        self.broker = MemoryBroker(self.lag)
        self.nodes = ObjectCache()
        self.rung: list[str] = []
        for name in ("a", "b"):
            meta = {"name": name, "annotations": {IDENTITY: f"U{name.upper()}"}}
            self.nodes.put({"metadata": meta})
        self.buses: dict[str, MemoryBus] = {i: self.broker.connect(i) for i in ("UA", "UB", "UP", "UX")}
        self.heartbeats = Heartbeats(
            self.broker.connect("USERVER", server=True),
            self.nodes,
            LoopClock(),
            leader="me",
            silence_limit=2.0,
            fence_time=12.0,
            who={"UP": User("system:covey:proxy:a", ()), "UX": User("system:node:x", ())}.get,
        )

    def ring(self, key: Key) -> None:
        self.rung.append(key.name)

    async def beat(self, identity: str, data: bytes) -> dict[str, object] | None:
        try:
            answer = await self.buses[identity].request(subjects.heartbeat(identity), data, timeout=0.2)
        except Unavailable:
            return None
        found: dict[str, object] = msgpack.unpackb(answer)
        return found

    async def live(self, *names: str, seconds: float) -> None:
        """Let these nodes heartbeat for a while."""
        for number in range(int(seconds * 2)):
            for name in names:
                await self.beat(f"U{name.upper()}", beat(name, number))
            await asyncio.sleep(0.5)


def beat(name: str, sequence: int = 1) -> bytes:
    return bytes(msgpack.packb({"node": name, "sequence": sequence}))


@asynccontextmanager
async def listening() -> AsyncIterator[World]:
    world = World()
    task = asyncio.create_task(world.heartbeats.run(world.ring))
    await asyncio.sleep(0)
    try:
        yield world
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_node_is_answered_with_its_number() -> None:
    async with listening() as world:
        assert await world.beat("UA", beat("a", 7)) == {"leader": "me", "sequence": 7}
        assert world.heartbeats.health().is_heard("a")
        assert not world.heartbeats.health().is_heard("b")


REFUSED = {
    "another node's name": ("UX", beat("a")),
    "a node without an object": ("UX", beat("x")),
    "no message at all": ("UA", b"\xc1"),
    "no number": ("UA", bytes(msgpack.packb({"node": "a"}))),
    "an infinite number": ("UA", bytes(msgpack.packb({"node": "a", "sequence": float("inf")}))),
    "another shape": ("UA", bytes(msgpack.packb([1, 2]))),
}


@pytest.mark.parametrize(("identity", "data"), REFUSED.values(), ids=REFUSED.keys())
async def test_nobody_else_is_answered_or_believed(identity: str, data: bytes) -> None:
    async with listening() as world:
        assert await world.beat(identity, data) is None
        assert not world.heartbeats.health().silent_for


async def test_silence_and_return_ring() -> None:
    async with listening() as world:
        await world.live("a", "b", seconds=15)
        assert world.rung == []
        await world.live("b", seconds=3)
        assert world.rung == ["a"]
        health = world.heartbeats.health()
        assert health.is_silent("a")
        assert not health.is_fenced("a")
        await world.live("b", seconds=10)
        assert world.heartbeats.health().is_fenced("a")
        await world.live("a", "b", seconds=1)
        assert world.rung == ["a", "a"]


async def test_a_busy_leader_takes_nobody_for_silent_and_misses_nobody_who_is() -> None:
    async with listening() as world:
        await world.live("a", "b", seconds=15)
        world.lag.seconds = 6.0
        await world.live("a", seconds=10)
        assert world.rung == ["b"]
        assert world.heartbeats.health().is_heard("a")
        assert world.heartbeats.health().is_silent("b")
        world.lag.seconds = 0.0
        await world.live("a", "b", seconds=8)
        assert world.rung == ["b", "b"]


async def test_nobody_is_silent_before_one_fence_time_has_passed() -> None:
    async with listening() as world:
        await asyncio.sleep(11.9)
        assert not world.heartbeats.health().is_silent("a")
        assert world.rung == []
        await asyncio.sleep(0.5)
        assert world.heartbeats.health().is_silent("a")
        assert sorted(world.rung) == ["a", "b"]


async def test_after_the_broker_was_away_the_time_starts_anew() -> None:
    async with listening() as world:
        await world.live("a", "b", seconds=15)
        world.broker.cut("USERVER")
        await asyncio.sleep(60)
        world.broker.heal("USERVER")
        health = world.heartbeats.health()
        assert not health.is_silent("a")
        assert not health.is_fenced("a")


async def test_it_waits_for_the_broker() -> None:
    world = World()
    world.broker.cut("USERVER")
    task = asyncio.create_task(world.heartbeats.run(world.ring))
    await asyncio.sleep(5)
    assert not task.done()
    world.broker.heal("USERVER")
    await asyncio.sleep(1)
    assert await world.beat("UA", beat("a")) is not None
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_proxy_says_that_its_node_lives_and_nothing_about_the_agent() -> None:
    async with listening() as world:
        await asyncio.sleep(13)
        for identity, node in (("UP", "a"), ("UP", "b"), ("UX", "b"), ("UB", "b")):
            await world.buses[identity].publish(subjects.heartbeat(identity), beat(node))
        await asyncio.sleep(0.1)
        health = world.heartbeats.health()
        assert {node: health.lacks_only_its_agent(node) for node in ("a", "b")} == {"a": True, "b": False}
        assert health.is_silent("a")
        assert health.is_fenced("a")
        await asyncio.sleep(2)
        assert not world.heartbeats.health().lacks_only_its_agent("a")


async def test_a_proxy_is_not_believed_for_ever() -> None:
    async with listening() as world:
        for _ in range(59):
            await world.buses["UP"].publish(subjects.heartbeat("UP"), beat("a"))
            await asyncio.sleep(1)
            assert world.heartbeats.health().lacks_only_its_agent("a")
        await asyncio.sleep(1.5)
        assert not world.heartbeats.health().lacks_only_its_agent("a")

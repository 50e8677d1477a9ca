"""The in-memory bus keeps the contract, and does to messages what the policy says."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import pytest

from mesh.bus import subjects
from mesh.bus.memory import MemoryBroker, MemoryBus
from mesh.bus.port import Bus
from mesh.errors import Unavailable
from tests.support.bus_contract import BusContract, Heard


class TestMemoryBus(BusContract):
    @pytest.fixture
    def broker(self) -> MemoryBroker:
        return MemoryBroker()

    @pytest.fixture
    async def a(self, broker: MemoryBroker) -> AsyncIterator[Bus]:
        bus = broker.connect("UA")
        yield bus
        await bus.close()

    @pytest.fixture
    async def b(self, broker: MemoryBroker) -> Bus:
        return broker.connect("UB")

    @pytest.fixture
    async def server(self, broker: MemoryBroker) -> Bus:
        return broker.connect("US", server=True)


class Scripted:
    def __init__(self, *copies: Sequence[float]) -> None:
        self._copies = list(copies)

    def copies(self, sender: str, receiver: str, subject: str) -> Sequence[float]:
        return self._copies.pop(0)


async def _sent(policy: Scripted, count: int) -> tuple[MemoryBus, Heard]:
    broker = MemoryBroker(policy)
    client, server = broker.connect("UA"), broker.connect("US", server=True)
    heard = Heard()
    await server.subscribe(subjects.ALL_HEARTBEATS, heard)
    for number in range(count):
        await client.publish(subjects.heartbeat("UA"), b"%d" % number)
    return client, heard


async def test_messages_are_lost_doubled_and_never_overtake() -> None:
    _, heard = await _sent(Scripted((0.05,), (), (0.0, 0.0), (0.0,)), 4)
    await heard.count(4)
    assert [message.data for message in heard.messages] == [b"0", b"2", b"2", b"3"]


async def test_a_cut_connection_fails_what_waits_and_tells() -> None:
    broker = MemoryBroker()
    client, server = broker.connect("UA"), broker.connect("US", server=True)
    told: list[bool] = []
    client.on_connection(told.append)

    class Cut(Heard):
        def __call__(self, message: object) -> None:
            broker.cut("UA")

    await server.subscribe(subjects.ALL_API, Cut())
    with pytest.raises(Unavailable, match="lost"):
        await client.request(subjects.api("UA"), b"", timeout=10)
    with pytest.raises(Unavailable):
        await client.publish(subjects.heartbeat("UA"), b"")
    broker.heal("UA")
    await client.publish(subjects.heartbeat("UA"), b"")
    assert told == [False, True]

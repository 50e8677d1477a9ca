"""The proxy's signs of life, on the bus in memory and virtual time."""

from __future__ import annotations

import asyncio

import msgpack
import pytest

from mesh.bus import subjects
from mesh.bus.memory import MemoryBroker
from mesh.bus.port import Message
from netproxy.life import give_signs

pytestmark = pytest.mark.looptime


async def test_signs_name_the_node_ask_for_no_answer_and_go_on_after_a_loss() -> None:
    broker = MemoryBroker()
    heard: list[Message] = []
    await broker.connect("US", server=True).subscribe(subjects.ALL_HEARTBEATS, heard.append)
    giving = asyncio.create_task(give_signs(broker.connect("UP"), "a"))
    await asyncio.sleep(1.2)
    broker.cut("UP")
    await asyncio.sleep(2)
    before = len(heard)
    broker.heal("UP")
    await asyncio.sleep(1.2)
    giving.cancel()
    await asyncio.gather(giving, return_exceptions=True)
    assert before == 3
    assert len(heard) > before
    assert {(m.subject, m.reply) for m in heard} == {(subjects.heartbeat("UP"), "")}
    numbers = [msgpack.unpackb(m.data)["sequence"] for m in heard]
    assert numbers == sorted(numbers)
    assert {msgpack.unpackb(m.data)["node"] for m in heard} == {"a"}

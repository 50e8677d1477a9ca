"""The in-memory store keeps the contract, and fails as told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from mesh.errors import Unavailable
from mesh.store.memory import Engine, MemoryStore
from mesh.store.port import Store, Write
from tests.support.store_contract import Recorder, StoreContract


class Trouble:
    def __init__(self) -> None:
        self.connected = True
        self.losing: set[str] = set()

    def delay(self, step: str) -> float:
        return 0.0

    def lost(self, step: str) -> bool:
        return step in self.losing


class TestMemoryStore(StoreContract):
    @pytest.fixture
    async def store(self) -> AsyncIterator[Store]:
        store = MemoryStore()
        yield store
        await store.close()


async def test_a_lost_acknowledgement_leaves_the_write_done() -> None:
    engine, trouble = Engine(), Trouble()
    store = MemoryStore(engine, trouble)
    trouble.losing = {"ack"}
    with pytest.raises(Unavailable):
        await store.write(Write("a", b"1", 0))
    assert engine.revision == 1


async def test_a_cut_off_follower_catches_up() -> None:
    engine, trouble = Engine(), Trouble()
    ours, theirs = MemoryStore(engine, trouble), MemoryStore(engine)
    seen = Recorder()
    await ours.follow(seen)
    first = await theirs.write(Write("a", b"1", 0))
    await seen.until(lambda: seen.entries)
    trouble.connected = False
    second = await theirs.write(Write("a", b"2", first))
    last = await theirs.write(Write("a", b"3", second))
    await asyncio.sleep(0)
    assert len(seen.entries) == 1
    with pytest.raises(Unavailable):
        await ours.last_revision()
    trouble.connected = True
    ours.reconnected()
    await seen.until(lambda: len(seen.entries) == 2)
    assert seen.view == {"a": b"3"}
    assert seen.caught[-1] == last

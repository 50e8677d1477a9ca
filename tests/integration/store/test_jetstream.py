"""The store on a real nats-server: the contract, restarts, crashes, other people's streams."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from mesh.bus.connection import Connection
from mesh.clock import SystemClock
from mesh.errors import Terminal, Unavailable
from mesh.store.api import StreamApi
from mesh.store.bucket import Bucket, events_bucket, objects_bucket
from mesh.store.jetstream import JetStreamStore, open_store
from mesh.store.port import RevisionMismatch, Store, Write
from tests.support.nats import NatsServer, eventually
from tests.support.store_contract import Recorder, StoreContract

pytestmark = pytest.mark.nats


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[NatsServer]:
    server = NatsServer(tmp_path)
    await server.start()
    yield server
    server.kill()


@pytest.fixture
async def connection(server: NatsServer) -> AsyncIterator[Connection]:
    connection = await server.store_connection()
    yield connection
    await connection.close()


@pytest.fixture
async def store(connection: Connection) -> AsyncIterator[JetStreamStore]:
    store = await open_store(connection, objects_bucket())
    yield store
    await store.close()


class TestJetStreamStore(StoreContract):
    pass


class TestEventsBucket(StoreContract):
    """The bucket that is not durable keeps the same contract, without batches."""

    @pytest.fixture
    async def store(self, connection: Connection) -> AsyncIterator[Store]:
        store = await open_store(connection, events_bucket())
        yield store
        await store.close()


async def test_two_stores_on_one_stream_agree(server: NatsServer, store: JetStreamStore) -> None:
    connection = await server.store_connection()
    other = await open_store(connection, objects_bucket())
    first = await store.write(Write("a", b"1", 0))
    gone = await other.write(Write("a", None, first))
    assert await store.write(Write("a", b"2", 0)) == gone + 1
    with pytest.raises(RevisionMismatch):
        await other.write(Write("a", b"3", 0))
    await other.close()
    await connection.close()


async def test_created_over_an_expired_tombstone(connection: Connection) -> None:
    store = await open_store(connection, Bucket("short", tombstone_seconds=1))
    first = await store.write(Write("a", b"1", 0))
    await store.write(Write("a", None, first))
    api = StreamApi(connection)

    async def expired() -> bool:
        return await api.last("KV_short", "$KV.short.a") is None

    await eventually(expired)
    await store.write(Write("a", b"2", 0))
    await store.close()


async def test_a_follower_survives_a_crash_of_the_broker(server: NatsServer, store: JetStreamStore) -> None:
    seen = Recorder()
    following = await store.follow(seen)
    revision = await store.write(Write("a", b"1", 0))
    await seen.until(lambda: seen.view)
    server.kill()
    await server.start()
    revision = await store.write(Write("a", b"2", revision))
    await store.write(Write("b", b"1", 0))
    await seen.until(lambda: len(seen.view) == 2 and len(seen.caught) == 2)
    assert [entry.value for entry in seen.entries] == [b"1", b"2", b"1"]
    await following.stop()


async def _crash_repeatedly(server: NatsServer, ledger: Mapping[str, bytes], *, times: int) -> None:
    for _ in range(times):
        enough = len(ledger) + 500

        async def written(enough: int = enough) -> bool:
            return len(ledger) >= enough

        await eventually(written)
        server.kill()
        await server.start()


async def test_nothing_acknowledged_is_lost_when_the_broker_is_killed(
    server: NatsServer, store: JetStreamStore
) -> None:
    seen = Recorder()
    following = await store.follow(seen)
    ledger: dict[str, bytes] = {}
    unknown: list[str] = []
    stop = asyncio.Event()

    async def writer(number: int) -> None:
        count = 0
        while not stop.is_set():
            key, value = f"w{number}.{count}", b"%d" % count
            try:
                await store.write(Write(key, value, 0))
                ledger[key] = value
            except Unavailable:
                unknown.append(key)
            count += 1

    writers = [asyncio.create_task(writer(i)) for i in range(60)]
    try:
        await _crash_repeatedly(server, ledger, times=3)
    finally:
        stop.set()
        await asyncio.gather(*writers)
    last = await store.last_revision()
    await seen.until(lambda: seen.revision >= last)
    assert {key: seen.view.get(key) for key in ledger} == ledger
    assert not set(seen.view) - set(ledger) - set(unknown)
    fresh = Recorder()
    again = await store.follow(fresh)
    await fresh.until(lambda: fresh.caught)
    assert fresh.view == seen.view
    await again.stop()
    await following.stop()


async def test_a_replaced_stream_is_lost(server: NatsServer, store: JetStreamStore) -> None:
    seen = Recorder()
    await store.follow(seen)
    await store.write(Write("a", b"1", 0))
    await seen.until(lambda: seen.view)
    server.kill()
    server.wipe()
    await server.start()
    await seen.until(lambda: seen.error)


async def test_without_a_broker_writes_are_unavailable_in_the_end(
    server: NatsServer, store: JetStreamStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mesh.store.commit.WRITE_TIMEOUT", 0.3)
    server.kill()
    with pytest.raises(Unavailable):
        await store.write(Write("a", b"1", 0))
    with pytest.raises(Unavailable):
        await store.last_revision()


async def test_replicas_that_cannot_be_had_are_terminal(connection: Connection, store: JetStreamStore) -> None:
    with pytest.raises(Terminal, match="cannot have 3 replicas"):
        await open_store(connection, objects_bucket(replicas=3))


async def test_events_live_for_their_time(connection: Connection) -> None:
    store = await open_store(connection, Bucket("brief", durable=False, value_seconds=1))
    await store.write(Write("a", b"1", 0))
    api = StreamApi(connection)

    async def expired() -> bool:
        return await api.last("KV_brief", "$KV.brief.a") is None

    await eventually(expired)
    await store.write(Write("a", b"2", 0))
    await store.close()


async def test_a_foreign_stream_is_not_touched(connection: Connection) -> None:
    await StreamApi(connection).call(
        "STREAM.CREATE.KV_covey", {"name": "KV_covey", "subjects": ["$KV.covey.>"], "storage": "memory"}
    )
    with pytest.raises(Terminal, match="storage is 'memory'"):
        await JetStreamStore(connection, objects_bucket(), SystemClock()).start()


async def test_last_revision_is_asked_once_for_many(connection: Connection, store: JetStreamStore) -> None:
    revision = await store.write(Write("a", b"1", 0))
    assert set(await asyncio.gather(*(store.last_revision() for _ in range(100)))) == {revision}
    waiting = asyncio.ensure_future(store.last_revision())
    await asyncio.sleep(0)
    later = await store.write(Write("b", b"1", 0))
    assert await waiting in {revision, later}
    assert await store.last_revision() == later


async def test_a_large_snapshot_arrives_whole(store: JetStreamStore) -> None:
    value = b"x" * 2000
    await asyncio.gather(*(store.write(Write(f"k{i}", value, 0)) for i in range(5000)))
    seen = Recorder()
    following = await store.follow(seen)
    await seen.until(lambda: seen.caught)
    assert len(seen.view) == 5000
    await following.stop()

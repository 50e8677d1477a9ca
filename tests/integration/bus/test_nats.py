"""The bus on a real nats-server: the contract, the broker's permissions, reconnection, identities added later."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from mesh.api.port import Request, User
from mesh.bus import subjects
from mesh.bus.api_client import BusTransport
from mesh.bus.api_server import ApiServer
from mesh.bus.broker import add_identity
from mesh.bus.identities import Identity, ensure_seed, load_signer, save_identities
from mesh.bus.nats import NatsBus
from mesh.bus.port import Bus
from mesh.bus.streams import StreamHub
from mesh.errors import Forbidden, Unavailable
from tests.integration.bus.conftest import signer
from tests.support.bus_contract import BusContract, Heard, echo
from tests.support.bus_traffic import ScriptedApi, Traffic
from tests.support.nats import NatsServer, eventually

pytestmark = pytest.mark.nats


class TestNatsBus(BusContract):
    pass


class TestNatsTraffic(Traffic):
    pass


async def test_an_unknown_key_is_refused(nats: NatsServer, tmp_path: Path) -> None:
    ensure_seed(tmp_path / "stranger.seed")
    with pytest.raises(Unavailable, match="Authorization Violation"):
        await nats.bus(load_signer(tmp_path / "stranger.seed"), wait=1)


async def test_nothing_enters_without_a_key(nats: NatsServer) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", nats.config.port)
    await reader.readline()
    writer.write(b'CONNECT {"verbose":false}\r\nPING\r\n')
    assert b"Authorization Violation" in await reader.readline()
    writer.close()
    await writer.wait_closed()


async def test_a_reply_subject_inside_the_store_reaches_nothing(nats: NatsServer, a: Bus, server: Bus) -> None:
    """The account that asks cannot reach the store, whoever it makes answer for it."""
    handler = echo(server)
    await server.subscribe(subjects.ALL_API, handler)
    await a.publish(subjects.api(a.identity), b"x", reply="$KV.covey.x")
    await handler.count(1)
    with pytest.raises(Forbidden):
        await server.request("$KV.covey.x", b"", timeout=5)


async def test_subscriptions_and_requests_survive_a_crash_of_the_broker(
    nats: NatsServer, a: NatsBus, server: NatsBus
) -> None:
    told: list[bool] = []
    a.on_connection(told.append)
    await server.subscribe(subjects.ALL_API, echo(server))
    nats.kill()

    async def noticed() -> bool:
        return not a.connected and not server.connected

    await eventually(noticed)
    with pytest.raises(Unavailable):
        await a.request(subjects.api(a.identity), b"", timeout=5)
    await nats.start()

    async def back() -> bool:
        return a.connected and server.connected

    await eventually(back)
    assert await a.request(subjects.api(a.identity), b"x", timeout=5) == b"x"
    assert told == [False, True]


async def test_a_process_may_start_before_the_broker(nats: NatsServer) -> None:
    nats.kill()
    bus = NatsBus([nats.url], signer(nats, "a"))
    await bus.start(wait=0)
    heard = Heard()
    inbox = bus.new_inbox()
    await bus.subscribe(inbox, heard)
    assert not bus.connected
    await nats.start()
    server = await nats.bus(signer(nats, "server"))

    async def arrived() -> bool:
        await server.publish(inbox, b"x")
        return bool(heard.messages)

    await eventually(arrived)
    await bus.close()
    await server.close()


async def test_an_identity_is_added_while_the_broker_runs(nats: NatsServer, a: NatsBus, tmp_path: Path) -> None:
    told: list[bool] = []
    a.on_connection(told.append)
    identities_file = tmp_path / "identities.json"
    save_identities(identities_file, nats.identities)
    key = ensure_seed(tmp_path / "new.seed")
    add_identity(nats.config, identities_file, key, Identity(user="system:node:new", groups=["system:nodes"]))
    new = await nats.bus(load_signer(tmp_path / "new.seed"))
    assert new.connected
    assert told == []
    await new.close()


async def test_a_crash_of_the_broker_ends_watches_and_streams(nats: NatsServer, a: NatsBus, server: NatsBus) -> None:
    hub = StreamHub(server)
    await hub.start()
    served = ApiServer(server, hub, ScriptedApi(), lambda _: User("a"))
    await served.start()
    transport = BusTransport(a)
    events = transport.watch(Request("GET", "/watch", (("count", "1"), ("stay", "1"))))
    await anext(events)
    stream = await transport.connect(Request("GET", "/exec"))
    nats.kill()
    with pytest.raises(Unavailable):
        await anext(events)
    with pytest.raises(Unavailable):
        await stream.receive()
    await nats.start()

    async def served_again() -> bool:
        try:
            return (await transport.send(Request("GET", "/"))).status == 200
        except Unavailable:
            return False

    await eventually(served_again)
    await served.close()
    await hub.close()


async def test_a_large_list_does_not_hold_up_small_answers(nats: NatsServer, a: NatsBus, server: NatsBus) -> None:
    hub = StreamHub(server)
    await hub.start()
    served = ApiServer(server, hub, ScriptedApi(), lambda _: User("a"))
    await served.start()
    transport = BusTransport(a)
    large = asyncio.ensure_future(transport.send(Request("GET", "/large")))
    small = 0
    while not large.done():
        assert (await transport.send(Request("GET", "/"))).status == 200
        small += 1
    assert small > 1
    assert len((await large).body) == 20_000_003
    await served.close()
    await hub.close()


async def test_a_subscription_given_up_half_way_leaves_nothing_behind(
    nats: NatsServer, a: NatsBus, server: Bus
) -> None:
    """Whoever waits for it with a timeout would leave one more with each attempt, made again on every reconnection."""
    heard = Heard()
    subject = subjects.stream_in(a.identity, "x")
    for _ in range(20):
        asking = asyncio.create_task(a.subscribe(subject, heard))
        await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
    await server.publish(subject, b"nobody hears this")
    last = Heard()
    await a.subscribe(subject, last)
    await server.publish(subject, b"but this")
    await last.count(1)
    assert heard.messages == []
    assert len(asyncio.all_tasks()) < 20

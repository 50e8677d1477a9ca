"""Streams, calls and the API over the in-memory bus."""

from __future__ import annotations

import asyncio

import pytest

from mesh.api.port import Request, Response, User
from mesh.bus import envelope, subjects
from mesh.bus.api_client import SILENCE, BusTransport
from mesh.bus.api_server import ApiServer
from mesh.bus.memory import MemoryBroker
from mesh.bus.port import Bus, Message, Silence
from mesh.bus.streams import StreamHub
from mesh.errors import Forbidden, Unavailable
from tests.support.bus_traffic import ScriptedApi, Traffic


class TestMemoryTraffic(Traffic):
    @pytest.fixture
    def broker(self) -> MemoryBroker:
        return MemoryBroker()

    @pytest.fixture
    async def a(self, broker: MemoryBroker) -> Bus:
        return broker.connect("UA")

    @pytest.fixture
    async def b(self, broker: MemoryBroker) -> Bus:
        return broker.connect("UB")

    @pytest.fixture
    async def server(self, broker: MemoryBroker) -> Bus:
        return broker.connect("US", server=True)


@pytest.mark.looptime
async def test_a_request_may_take_long_while_its_server_works() -> None:
    broker, api = MemoryBroker(), ScriptedApi()
    server = broker.connect("US", server=True)
    hub = StreamHub(server)
    await hub.start()
    served = ApiServer(server, hub, api, lambda _: User("somebody", ()))
    await served.start()
    transport = BusTransport(broker.connect("UA"))
    for slow in (transport.send(Request("POST", "/slow")), transport.connect(Request("GET", "/slow"))):
        api.slow.clear()
        waiting = asyncio.ensure_future(slow)
        await asyncio.sleep(100 * SILENCE)
        assert not waiting.done()
        api.slow.set()
        await waiting
    await served.close()
    await hub.close()


@pytest.mark.looptime
async def test_a_reply_subject_that_the_broker_refuses_costs_nobody_else_his_signs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broker, api = MemoryBroker(), ScriptedApi()
    a, server = broker.connect("UA"), broker.connect("US", server=True)
    refused, publish = list[str](), server.publish

    async def refusing(subject: str, data: bytes, *, reply: str = "") -> None:
        if subject == "_INBOX.UA.refused":
            refused.append(subject)
            raise Forbidden(f"the broker refuses US to publish on {subject}")
        await publish(subject, data, reply=reply)

    monkeypatch.setattr(server, "publish", refusing)
    hub = StreamHub(server)
    served = ApiServer(server, hub, api, lambda _: User("somebody", ()))
    await served.start()
    request = Request("GET", "/slow")
    await a.publish("covey.api.UA", envelope.encode_request(envelope.SEND, request), reply="_INBOX.UA.refused")
    waiting = asyncio.ensure_future(BusTransport(a).send(request))
    await asyncio.sleep(10 * SILENCE)
    assert len(refused) > 1
    assert not waiting.done()
    api.slow.set()
    await waiting
    await served.close()


@pytest.mark.looptime
async def test_a_server_that_vanished_is_given_up() -> None:
    """A read is asked again, of whoever answers now; what became of a write nobody can say."""
    broker = MemoryBroker()
    a, server = broker.connect("UA"), broker.connect("US", server=True)
    asked: list[Message] = []
    tasks: list[asyncio.Future[None]] = []

    def deaf_at_first(message: Message) -> None:
        asked.append(message)
        if len(asked) > 2:
            answer = envelope.encode_response(Response(200, b"{}"))
            tasks.append(asyncio.ensure_future(server.publish(message.reply, answer)))

    await server.subscribe(subjects.ALL_API, deaf_at_first)
    with pytest.raises(Silence, match="no answer to POST /x within 4 s"):
        await BusTransport(a).send(Request("POST", "/x"))
    assert (await BusTransport(a).send(Request("GET", "/x"))).status == 200
    assert len(asked) == 3


async def test_a_server_that_is_not_there_is_told_in_words() -> None:
    transport = BusTransport(MemoryBroker().connect("UA"))
    for asked in (transport.send(Request("GET", "/x")), transport.connect(Request("GET", "/x"))):
        with pytest.raises(Unavailable, match=r"^no API server is there to answer GET /x$"):
            await asked

"""What every Bus does: the suite that the in-memory one and the one on NATS both pass.

Fixtures: `a` and `b` are clients, `server` is a server.
"""

from __future__ import annotations

import asyncio

import pytest

from mesh.bus import subjects
from mesh.bus.port import WORKING, Bus, Message, NobodyListens, Silence
from mesh.errors import Forbidden, Unavailable
from tests.support.nats import eventually


class Heard:
    """A handler that keeps what it hears."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self._changed = asyncio.Event()

    def __call__(self, message: Message) -> None:
        self.messages.append(message)
        self._changed.set()

    async def count(self, number: int) -> None:
        async with asyncio.timeout(10):
            while len(self.messages) < number:
                self._changed.clear()
                await self._changed.wait()


def echo(bus: Bus, mark: bytes = b"") -> Heard:
    """A handler that answers what it hears."""

    class Echo(Heard):
        def __call__(self, message: Message) -> None:
            super().__call__(message)
            self.task = asyncio.ensure_future(bus.publish(message.reply, mark + message.data))

    return Echo()


class BusContract:
    async def test_request_and_answer(self, a: Bus, server: Bus) -> None:
        await server.subscribe(subjects.ALL_API, echo(server, b"re: "))
        assert await a.request(subjects.api(a.identity), b"hello", timeout=5) == b"re: hello"

    async def test_a_sign_of_work_is_no_answer(self, a: Bus, server: Bus) -> None:
        async def work(reply: str) -> None:
            for data in (WORKING, WORKING, b"done"):
                await server.publish(reply, data)

        tasks: list[asyncio.Future[None]] = []
        await server.subscribe(subjects.ALL_API, lambda m: tasks.append(asyncio.ensure_future(work(m.reply))))
        assert await a.request(subjects.api(a.identity), b"", timeout=5) == b"done"

    async def test_a_node_answers_a_server(self, a: Bus, server: Bus) -> None:
        await a.subscribe(subjects.calls(a.identity), echo(a))
        assert await server.request(subjects.calls(a.identity), b"x", timeout=5) == b"x"

    async def test_nobody_listens(self, a: Bus) -> None:
        with pytest.raises(NobodyListens, match="nobody listens"):
            await a.request(subjects.api(a.identity), b"", timeout=5)

    async def test_nobody_answers(self, a: Bus, server: Bus) -> None:
        await server.subscribe(subjects.ALL_API, Heard())
        with pytest.raises(Silence, match="no answer"):
            await a.request(subjects.api(a.identity), b"", timeout=0.05)

    async def test_a_queue_group_shares(self, a: Bus, server: Bus) -> None:
        one, two, alone = Heard(), Heard(), Heard()
        await server.subscribe(subjects.ALL_HEARTBEATS, one, queue="q")
        await server.subscribe(subjects.ALL_HEARTBEATS, two, queue="q")
        await server.subscribe(subjects.ALL_HEARTBEATS, alone)
        for number in range(100):
            await a.publish(subjects.heartbeat(a.identity), b"%d" % number)
        await alone.count(100)
        assert [message.data for message in alone.messages] == [b"%d" % number for number in range(100)]
        await one.count(1)
        await two.count(1)

        async def shared() -> bool:
            return len(one.messages) + len(two.messages) == 100

        await eventually(shared)

    async def test_no_call_after_unsubscribe(self, a: Bus, server: Bus) -> None:
        heard, witness = Heard(), Heard()
        subscription = await server.subscribe(subjects.ALL_HEARTBEATS, heard)
        await server.subscribe(subjects.ALL_HEARTBEATS, witness)
        await subscription.unsubscribe()
        await a.publish(subjects.heartbeat(a.identity), b"")
        await witness.count(1)
        assert heard.messages == []

    async def test_an_inbox_is_reached_by_servers(self, a: Bus, server: Bus) -> None:
        inbox = a.new_inbox()
        assert subjects.answerable(inbox, a.identity)
        assert inbox != a.new_inbox()
        heard = Heard()
        await a.subscribe(inbox, heard)
        await server.publish(inbox, b"x", reply="somewhere.else")
        await heard.count(1)
        assert heard.messages == [Message(inbox, "somewhere.else", b"x")]

    @pytest.mark.parametrize(
        "subject",
        [
            "_INBOX.{b}.x",
            "_INBOX.>",
            "_INBOX.*.x",
            "covey.api.*",
            "covey.api.{a}",
            "covey.heartbeat.*",
            "covey.out.>",
            "covey.out.{a}.s.1",
            "covey.in.{b}.call",
            "covey.in.*.call",
            ">",
            "$KV.>",
            "$JS.>",
            "$SYS.>",
        ],
    )
    async def test_refused_to_subscribe(self, a: Bus, b: Bus, subject: str) -> None:
        with pytest.raises(Forbidden):
            await a.subscribe(subject.format(a=a.identity, b=b.identity), Heard())

    @pytest.mark.parametrize(
        "subject",
        [
            "covey.api.{b}",
            "covey.heartbeat.{b}",
            "covey.out.{b}.s.1",
            "covey.in.{b}.call",
            "covey.in.{a}.call",
            "_INBOX.{b}.x",
            "_INBOX.{server}.x",
            "$KV.covey.x",
            "$JS.API.INFO",
            "$SYS.REQ.USER.INFO.x",
        ],
    )
    async def test_refused_to_publish(self, a: Bus, b: Bus, server: Bus, subject: str) -> None:
        with pytest.raises(Forbidden):
            await a.request(subject.format(a=a.identity, b=b.identity, server=server.identity), b"", timeout=5)

    @pytest.mark.parametrize("subject", ["$KV.covey.x", "$JS.API.STREAM.INFO.KV_covey", "anything"])
    async def test_a_server_has_no_right_on_the_store(self, server: Bus, subject: str) -> None:
        with pytest.raises(Forbidden):
            await server.request(subject, b"", timeout=5)

    async def test_an_answer_may_be_given_once(self, a: Bus, server: Bus) -> None:
        inbox, heard, got = server.new_inbox(), Heard(), Heard()
        await server.subscribe(inbox, got)
        await a.subscribe(subjects.calls(a.identity), heard)
        await server.publish(subjects.calls(a.identity), b"", reply=inbox)
        await heard.count(1)
        await a.publish(inbox, b"one")
        await got.count(1)
        with pytest.raises(Forbidden):
            await a.request(inbox, b"two", timeout=5)
        assert [message.data for message in got.messages] == [b"one"]

    async def test_large_messages(self, a: Bus, server: Bus) -> None:
        await server.subscribe(subjects.ALL_API, echo(server))
        data = b"x" * (4 * 1024 * 1024)
        assert await a.request(subjects.api(a.identity), data, timeout=20) == data

    async def test_closed_is_unavailable(self, a: Bus) -> None:
        assert a.connected
        await a.close()
        assert not a.connected
        with pytest.raises(Unavailable):
            await a.publish(subjects.heartbeat(a.identity), b"")

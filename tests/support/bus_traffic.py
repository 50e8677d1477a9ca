"""Streams, calls and the API over a bus: the suite that runs on the in-memory bus and on NATS.

Fixtures: `a` is a client (a node), `b` another, `server` is a server.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping

import orjson
import pytest

from mesh.api.port import Request, Response, Stream, User, WatchEvent
from mesh.bus import envelope, streams, subjects
from mesh.bus.api_client import BusTransport
from mesh.bus.api_server import ApiServer
from mesh.bus.calls import CallServer, NodeCaller
from mesh.bus.port import Bus
from mesh.bus.streams import FrameStream, StreamHub, join
from mesh.errors import BadRequest, Forbidden, Gone, InternalError, NotFound, Unavailable
from mesh.objects.types import Json
from tests.support.bus_contract import Heard
from tests.support.nats import eventually


class ScriptedApi:
    """An API whose answers depend on the path, to see what crosses the bus."""

    def __init__(self) -> None:
        self.slow = asyncio.Event()
        self.watching = 0
        self.produced = 0
        self.asked: list[tuple[Request, User]] = []

    async def handle(self, request: Request, user: User) -> Response:
        self.asked.append((request, user))
        if request.path == "/slow":
            await self.slow.wait()
        if request.path == "/broken":
            raise RuntimeError("a bug")
        if request.path == "/large":
            return Response(200, b"[" + b"1," * 10_000_000 + b"1]")
        if request.path == "/missing":
            error = NotFound('pods "x" not found', name="x", kind="pods")
            return Response(error.code, orjson.dumps(error.to_status()))
        return Response(200, request.body or b"{}", "text/plain", (("Warning", "299"),))

    async def watch(self, request: Request, user: User) -> AsyncIterator[bytes]:
        if request.path == "/gone":
            raise Gone("too old resource version: 1 (5)")
        return self._events(int(request.param("count", "3")), int(request.param("size", "1")), request.flag("stay"))

    async def _events(self, count: int, size: int, stay: bool) -> AsyncIterator[bytes]:
        self.watching += 1
        try:
            for number in range(count):
                self.produced += 1
                yield orjson.dumps({"type": "ADDED", "object": {"n": number, "fill": "x" * size}})
                if number % 100 == 0:
                    await asyncio.sleep(0)
            if stay:
                await asyncio.Event().wait()
        finally:
            self.watching -= 1

    async def connect(self, request: Request, user: User, stream: Stream) -> None:
        if request.path == "/forbidden":
            raise Forbidden('pods "x" is forbidden')
        if request.path == "/slow":
            await self.slow.wait()
        await _echo(stream)


async def _echo(stream: Stream) -> None:
    while (frame := await stream.receive()) is not None:
        await stream.send(1, frame[1])


def _users(identity: str) -> User | None:
    return User(f"user-of-{identity[:8]}", ("system:authenticated",))


class Traffic:
    @pytest.fixture
    async def hub(self, server: Bus) -> AsyncIterator[StreamHub]:
        hub = StreamHub(server)
        await hub.start()
        yield hub
        await hub.close()

    @pytest.fixture
    async def api(self) -> ScriptedApi:
        return ScriptedApi()

    @pytest.fixture
    async def served(self, server: Bus, hub: StreamHub, api: ScriptedApi) -> AsyncIterator[ApiServer]:
        served = ApiServer(server, hub, api, _users)
        await served.start()
        yield served
        await served.close()

    @pytest.fixture
    async def transport(self, a: Bus, served: ApiServer) -> BusTransport:
        return BusTransport(a)

    @pytest.fixture
    async def pair(self, a: Bus, hub: StreamHub) -> AsyncIterator[tuple[FrameStream, FrameStream]]:
        """The server's end and the node's end."""
        stream_id, ours = hub.open(a.identity)
        hub.start_stream(a.identity, stream_id)
        theirs = await join(a, stream_id)
        yield ours, theirs
        await ours.close()
        await theirs.close()

    # Streams.

    async def test_both_ways_with_channels(self, pair: tuple[FrameStream, FrameStream]) -> None:
        for here, there in (pair, pair[::-1]):
            await here.send(3, b"abc")
            await here.send(255, b"")
            assert await there.receive() == (3, b"abc")
            assert await there.receive() == (255, b"")

    async def test_close_comes_after_what_was_sent(self, pair: tuple[FrameStream, FrameStream]) -> None:
        ours, theirs = pair
        await ours.send(1, b"last words")
        await ours.close()
        await ours.close()
        assert await theirs.receive() == (1, b"last words")
        assert await theirs.receive() is None
        with pytest.raises(Unavailable):
            await theirs.send(1, b"too late")
        with pytest.raises(Unavailable):
            await ours.send(1, b"too late")

    async def test_abort_tells_the_peer_why(self, pair: tuple[FrameStream, FrameStream]) -> None:
        ours, theirs = pair
        await ours.abort(Unavailable("the container is gone"))
        with pytest.raises(Unavailable, match="the container is gone"):
            await theirs.receive()

    @pytest.mark.parametrize("outwards", [True, False])
    async def test_fifty_megabytes_arrive_whole(self, pair: tuple[FrameStream, FrameStream], *, outwards: bool) -> None:
        sender, receiver = pair if outwards else pair[::-1]
        block = bytes(range(256)) * 4096
        sent, received = hashlib.sha256(), hashlib.sha256()

        async def write() -> None:
            for number in range(50):
                data = block[number:] + block[:number]
                sent.update(data)
                await sender.send(1, data)
            await sender.close()

        writing = asyncio.ensure_future(write())
        while (frame := await receiver.receive()) is not None:
            received.update(frame[1])
        await writing
        assert received.digest() == sent.digest()

    async def test_a_slow_reader_slows_the_writer(self, pair: tuple[FrameStream, FrameStream]) -> None:
        sender, receiver = pair
        progress = 0

        async def write() -> None:
            nonlocal progress
            for _ in range(200):
                await sender.send(1, b"x" * streams.CHUNK)
                progress += streams.CHUNK

        writing = asyncio.ensure_future(write())

        async def full() -> bool:
            return progress >= streams.WINDOW - 2 * streams.CHUNK

        await eventually(full)
        await asyncio.sleep(0.1)
        assert progress <= streams.WINDOW + 2 * streams.CHUNK
        for _ in range(200):
            await receiver.receive()
        await writing

    async def test_a_lost_frame_ends_the_stream(self, a: Bus, pair: tuple[FrameStream, FrameStream]) -> None:
        ours, theirs = pair
        theirs._sent += 1  # as if a frame had vanished
        await theirs.send(1, b"x")
        with pytest.raises(Unavailable, match="frames were lost"):
            await ours.receive()

    @pytest.mark.parametrize("frame", [b"", b"\xc1", b"\x94\x00\x01\x02\x03", b"\x93\x00\x01\x02"])
    async def test_what_is_no_frame_ends_the_stream(
        self, a: Bus, pair: tuple[FrameStream, FrameStream], frame: bytes
    ) -> None:
        ours, theirs = pair
        await a.publish(theirs._to, frame)
        with pytest.raises(Unavailable, match="no frame"):
            await ours.receive()

    async def test_a_peer_that_ignores_its_credit_is_cut_off(self, pair: tuple[FrameStream, FrameStream]) -> None:
        ours, theirs = pair
        theirs._granted = 10**9
        for _ in range(streams.WINDOW // streams.CHUNK + 2):
            await theirs.send(1, b"x" * streams.CHUNK)

        async def failed() -> bool:
            return ours.ended.done()

        await eventually(failed)
        assert len(ours._inbox) <= streams.WINDOW // streams.CHUNK + 2

    async def test_a_silent_peer_is_given_up(self, a: Bus, hub: StreamHub, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(streams, "SILENCE", 0.1)
        monkeypatch.setattr(streams, "KEEPALIVE", 0.02)
        stream_id, ours = hub.open(a.identity)
        hub.start_stream(a.identity, stream_id)
        with pytest.raises(Unavailable, match="silent"):
            await ours.send(1, b"nobody ever joined")
        with pytest.raises(Unavailable, match="silent"):
            await ours.receive()
        await ours.close()

    async def test_keepalives_hold_an_idle_stream(
        self, a: Bus, hub: StreamHub, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(streams, "SILENCE", 0.5)
        monkeypatch.setattr(streams, "KEEPALIVE", 0.05)
        stream_id, ours = hub.open(a.identity)
        hub.start_stream(a.identity, stream_id)
        theirs = await join(a, stream_id)
        await asyncio.sleep(0.8)
        await theirs.send(1, b"still here")
        assert await ours.receive() == (1, b"still here")
        await ours.close()
        await theirs.close()

    async def test_frames_of_another_identity_do_not_reach_a_stream(self, b: Bus, hub: StreamHub, a: Bus) -> None:
        stream_id, ours = hub.open(a.identity)
        hub.start_stream(a.identity, stream_id)
        theirs = await join(a, stream_id)
        stranger = await join(b, stream_id)
        forged = asyncio.ensure_future(stranger.send(1, b"forged"))
        await theirs.send(1, b"true")
        assert await ours.receive() == (1, b"true")
        forged.cancel()
        for stream in (ours, theirs, stranger):
            await stream.close()

    # Calls.

    @pytest.fixture
    async def caller(self, server: Bus, hub: StreamHub) -> NodeCaller:
        return NodeCaller(server, hub)

    @pytest.fixture
    async def node(self, a: Bus) -> AsyncIterator[CallServer]:
        node = CallServer(a)

        async def stats(params: Mapping[str, Json]) -> Json:
            if params.get("bug"):
                raise RuntimeError("a bug")
            if params.get("name") == "x":
                raise NotFound("no such pod", name="x")
            return {"cpu": params["name"]}

        async def run(params: Mapping[str, Json], stream: Stream) -> None:
            if params.get("name") == "x":
                raise BadRequest("container x is not running")
            if params.get("name") == "late":
                await stream.send(1, b"begun")
                raise NotFound("the container went away")
            if params.get("name") == "silent":
                return
            await _echo(stream)

        node.register("stats", stats)
        node.register_stream("exec", run)
        await node.start()
        yield node
        await node.close()

    async def test_call(self, a: Bus, node: CallServer, caller: NodeCaller) -> None:
        assert await caller.call(a.identity, "stats", {"name": "web"}) == {"cpu": "web"}

    async def test_errors_of_calls(self, a: Bus, b: Bus, node: CallServer, caller: NodeCaller) -> None:
        with pytest.raises(NotFound, match="no such pod") as caught:
            await caller.call(a.identity, "stats", {"name": "x"})
        assert caught.value.name == "x"
        with pytest.raises(InternalError):
            await caller.call(a.identity, "stats", {"bug": True})
        with pytest.raises(NotFound, match="does not know"):
            await caller.call(a.identity, "dance", {})
        with pytest.raises(NotFound, match="does not know"):
            await caller.open(a.identity, "stats", {})
        with pytest.raises(Unavailable):
            await caller.call(b.identity, "stats", {})

    async def test_a_stream_to_a_node(self, a: Bus, node: CallServer, caller: NodeCaller) -> None:
        stream = await caller.open(a.identity, "exec", {"name": "web"})
        await stream.send(0, b"ls\n")
        assert await stream.receive() == (1, b"ls\n")
        await stream.close()

        async def idle() -> bool:
            return not node._tasks

        await eventually(idle)

    async def test_a_node_refuses_a_stream(self, a: Bus, node: CallServer, caller: NodeCaller) -> None:
        with pytest.raises(BadRequest, match="not running"):
            await caller.open(a.identity, "exec", {"name": "x"})

    async def test_a_handler_that_says_nothing_closes(self, a: Bus, node: CallServer, caller: NodeCaller) -> None:
        stream = await caller.open(a.identity, "exec", {"name": "silent"})
        assert await stream.receive() is None
        await stream.close()

    async def test_a_stream_that_fails_later(self, a: Bus, node: CallServer, caller: NodeCaller) -> None:
        stream = await caller.open(a.identity, "exec", {"name": "late"})
        assert await stream.receive() == (1, b"begun")
        with pytest.raises(Unavailable, match="went away"):
            await stream.receive()
        await stream.close()

    # The API.

    async def test_request_and_response(self, a: Bus, transport: BusTransport, api: ScriptedApi) -> None:
        request = Request("POST", "/echo", (("x", "1"), ("x", "2")), b"body", "text/plain", "text/plain", "test/1")
        assert await transport.send(request) == Response(200, b"body", "text/plain", (("Warning", "299"),))
        assert api.asked == [(request, _users(a.identity))]

    async def test_refusals_are_responses(self, transport: BusTransport) -> None:
        missing = await transport.send(Request("GET", "/missing"))
        assert (missing.status, orjson.loads(missing.body)["reason"]) == (404, "NotFound")
        broken = await transport.send(Request("GET", "/broken"))
        assert (broken.status, orjson.loads(broken.body)["reason"]) == (500, "InternalError")
        large = await transport.send(Request("POST", "/echo", body=b"x" * (3 * 1024 * 1024 + 1)))
        assert large.status == 413
        assert b"limit is 3145728" in large.body

    async def test_the_largest_body(self, transport: BusTransport) -> None:
        body = b"x" * (3 * 1024 * 1024)
        assert (await transport.send(Request("POST", "/echo", body=body))).body == body

    async def test_a_large_answer_comes_in_pieces(self, transport: BusTransport) -> None:
        answer = await transport.send(Request("GET", "/large"))
        assert len(answer.body) == 20_000_003
        assert answer.body.endswith(b"1,1]")

    async def test_a_slow_request_blocks_nobody(self, transport: BusTransport, api: ScriptedApi) -> None:
        slow = asyncio.ensure_future(transport.send(Request("GET", "/slow")))
        assert (await transport.send(Request("GET", "/fast"))).status == 200
        assert not slow.done()
        api.slow.set()
        assert (await slow).status == 200

    async def test_an_unknown_user_is_unauthorized(self, a: Bus, server: Bus, hub: StreamHub) -> None:
        served = ApiServer(server, hub, ScriptedApi(), lambda _: None)
        await served.start()
        assert (await BusTransport(a).send(Request("GET", "/"))).status == 401
        await served.close()

    async def test_no_server_is_unavailable(self, a: Bus) -> None:
        with pytest.raises(Unavailable):
            await BusTransport(a).send(Request("GET", "/"))

    @pytest.mark.parametrize("message", [b"", b"\xc1", b"\x80", b"\x81\xa2op\xa4send", b"\x81\xa2op\xa5dance"])
    async def test_nonsense_is_a_bad_request(self, a: Bus, served: ApiServer, message: bytes) -> None:
        answer = envelope.decode_answer(await a.request(subjects.api(a.identity), message, timeout=5))
        assert answer.response.status == 400

    @pytest.mark.parametrize(
        "reply", ["$KV.covey.x", "$JS.API.STREAM.DELETE.KV_covey", "_INBOX.{b}.x", "covey.in.{b}.call"]
    )
    async def test_answers_go_to_nobody_else(
        self, a: Bus, b: Bus, served: ApiServer, api: ScriptedApi, transport: BusTransport, reply: str
    ) -> None:
        heard = Heard()
        await b.subscribe(f"_INBOX.{b.identity}.>", heard)
        await b.subscribe(f"covey.in.{b.identity}.>", heard)
        data = envelope.encode_request(envelope.SEND, Request("GET", "/"))
        await a.publish(subjects.api(a.identity), data, reply=reply.format(b=b.identity))
        await transport.send(Request("GET", "/last"))
        assert [request.path for request, _ in api.asked] == ["/last"]
        assert heard.messages == []

    async def test_watch(self, transport: BusTransport) -> None:
        events = [event async for event in transport.watch(Request("GET", "/watch"))]
        assert events == [WatchEvent("ADDED", {"n": n, "fill": "x"}) for n in range(3)]

    async def test_a_refused_watch(self, transport: BusTransport) -> None:
        with pytest.raises(Gone, match="too old"):
            _ = [event async for event in transport.watch(Request("GET", "/gone"))]

    async def test_large_and_many_events(self, transport: BusTransport) -> None:
        query = (("count", "3"), ("size", "1500000"))
        large = [event async for event in transport.watch(Request("GET", "/watch", query))]
        assert [len(event.object["fill"]) for event in large] == [1_500_000] * 3
        many = [event async for event in transport.watch(Request("GET", "/watch", (("count", "20000"),)))]
        assert [event.object["n"] for event in many] == list(range(20_000))

    async def test_a_watch_that_is_left_ends_at_the_server(self, transport: BusTransport, api: ScriptedApi) -> None:
        events = transport.watch(Request("GET", "/watch", (("stay", "1"),)))
        assert (await anext(events)).object["n"] == 0
        assert api.watching == 1
        await events.aclose()  # type: ignore[attr-defined]

        async def ended() -> bool:
            return api.watching == 0

        await eventually(ended)

    async def test_a_slow_watcher_holds_the_watch_back(self, transport: BusTransport, api: ScriptedApi) -> None:
        query = (("count", "20000"), ("size", "1000"))
        events = transport.watch(Request("GET", "/watch", query))
        await anext(events)
        before = -1

        async def stuck() -> bool:
            nonlocal before
            await asyncio.sleep(0.1)
            same, before = before == api.produced, api.produced
            return same

        await eventually(stuck)
        assert api.produced < 4000
        await events.aclose()  # type: ignore[attr-defined]

    async def test_connect(self, transport: BusTransport) -> None:
        stream = await transport.connect(Request("GET", "/exec"))
        await stream.send(0, b"ls\n")
        assert await stream.receive() == (1, b"ls\n")
        await stream.close()

    async def test_a_refused_connection(self, transport: BusTransport) -> None:
        with pytest.raises(Forbidden, match="is forbidden"):
            await transport.connect(Request("GET", "/forbidden"))

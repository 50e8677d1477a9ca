"""The API over NATS, the server's half: requests from `covey.api.*` into the pipeline, answers to their senders.

The subject vouches for the sender. Whatever reply subject a request names, answers go only to the sender's own inbox
and streams only to the sender's own subjects; a request that names another place is dropped and logged. Every request
is a task of its own, so that a slow one holds up nobody; how many there may be is bounded, and they begin in turns. Who
has to wait for an answer is told every second that his request is being worked on: silence means that its server has
gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator

import orjson

from mesh.api.port import Api, Events, Request, Response, User
from mesh.bus import envelope, subjects
from mesh.bus.port import WORKING, Bus, Message, Subscription
from mesh.bus.serving import serve_stream
from mesh.bus.streams import FrameStream, StreamHub
from mesh.errors import ApiError, InternalError, TooManyRequests, Unauthorized, Unavailable
from mesh.turns import Turns

log = logging.getLogger("covey.bus")

REQUESTS_AT_ONCE = 1000
STREAMS_AT_ONCE = 20_000
INLINE_UP_TO = 1024 * 1024
"""Bytes of a body that still travels in the answer itself."""
SIGN_OF_WORK = 1.0
"""Seconds between two signs of work on a request."""
_FINISH = 2.0
_GATHER = 256 * 1024
"""Bytes of watch events that wait for a slow watcher before the watch itself has to wait."""
_BODY = 1
"""The channel of bodies and watch events."""


class ApiServer:
    """Serves `api` to every identity that `users` knows."""

    def __init__(self, bus: Bus, hub: StreamHub, api: Api, users: Callable[[str], User | None]) -> None:
        self._bus = bus
        self._hub = hub
        self._api = api
        self._users = users
        self._requests: set[asyncio.Task[None]] = set()
        self._streams: set[asyncio.Task[None]] = set()
        self._turns = Turns()
        self._unanswered: dict[str, float] = {}
        """Reply subjects of requests under way, and when each came (loop time)."""
        self._signs: asyncio.Task[None] | None = None
        self._subscription: Subscription | None = None

    async def start(self) -> None:
        """Begin to answer, sharing the requests with all other API servers."""
        self._signs = asyncio.create_task(self._give_signs())
        self._subscription = await self._bus.subscribe(subjects.ALL_API, self._on_request, queue=subjects.API_QUEUE)

    async def _give_signs(self) -> None:
        """Tell those who have waited for a while that their requests are being worked on."""
        while True:
            await asyncio.sleep(SIGN_OF_WORK)
            before = asyncio.get_running_loop().time() - SIGN_OF_WORK
            for reply in [reply for reply, since in self._unanswered.items() if since < before]:
                await self._publish(reply, WORKING)

    async def close(self) -> None:
        """Stop answering; requests under way have a moment to finish, watches and streams are ended."""
        if self._subscription is not None:
            await self._subscription.unsubscribe()
        if self._requests:
            await asyncio.wait(self._requests, timeout=_FINISH)
        tasks = self._requests | self._streams | ({self._signs} if self._signs is not None else set())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _on_request(self, message: Message) -> None:
        identity = subjects.sender(message.subject)
        if not subjects.answerable(message.reply, identity):
            log.warning("request names a reply subject that is not its own", extra={"identity": identity})
            return
        self._spawn(self._requests, self._serve(identity, message, busy=len(self._requests) >= REQUESTS_AT_ONCE))

    @staticmethod
    def _spawn(tasks: set[asyncio.Task[None]], work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    async def _serve(self, identity: str, message: Message, *, busy: bool) -> None:
        """Answer one request; a watch or connection goes on in a task of its own."""
        op = ""
        with self._under_way(message.reply):
            try:
                user = self._users(identity)
                if user is None:
                    raise Unauthorized("Unauthorized")
                op, request = envelope.decode_request(message.data)
                if busy or len(self._streams) >= STREAMS_AT_ONCE:
                    raise TooManyRequests("Too many requests, please try again later.", retry_after_seconds=1)
                await self._turns.take()
                if op == envelope.SEND:
                    await self._send(identity, message.reply, await self._api.handle(request, user))
                elif op == envelope.WATCH:
                    events = await self._api.watch(request, user)
                    self._spawn(self._streams, self._watch(identity, message.reply, events))
                else:
                    self._spawn(self._streams, self._connect(identity, message.reply, request, user))
            except ApiError as error:
                await self._refuse(message.reply, op, error)
            except Exception:
                log.exception("request failed", extra={"identity": identity})
                await self._refuse(message.reply, op, InternalError("internal error"))

    @contextlib.contextmanager
    def _under_way(self, reply: str) -> Iterator[None]:
        """While this lasts, and there is no answer yet, the asker is given signs of work."""
        self._unanswered[reply] = asyncio.get_running_loop().time()
        try:
            yield
        finally:
            self._unanswered.pop(reply, None)

    async def _refuse(self, reply: str, op: str, error: ApiError) -> None:
        status = error.to_status()
        if op in {envelope.WATCH, envelope.CONNECT}:
            await self._answer(reply, envelope.encode_error(status))
        else:
            await self._answer(reply, envelope.encode_response(Response(error.code, orjson.dumps(status))))

    async def _answer(self, reply: str, data: bytes) -> None:
        self._unanswered.pop(reply, None)
        await self._publish(reply, data)

    async def _publish(self, reply: str, data: bytes) -> None:
        try:
            await self._bus.publish(reply, data)
        except ApiError as error:  # no connection, or a reply subject that the broker refuses us
            log.debug("answer not sent", extra={"error": str(error)})

    async def _send(self, identity: str, reply: str, response: Response) -> None:
        if len(response.body) <= INLINE_UP_TO:
            await self._answer(reply, envelope.encode_response(response))
            return
        stream = await self._open(identity, reply, response)
        self._spawn(self._streams, _send_body(stream, response.body))

    async def _open(self, identity: str, reply: str, response: Response) -> FrameStream:
        """Answer with a stream in place of the body."""
        stream_id, stream = self._hub.open(identity)
        self._hub.start_stream(identity, stream_id)
        await self._answer(reply, envelope.encode_response(response, stream=stream_id))
        return stream

    async def _watch(self, identity: str, reply: str, events: Events) -> None:
        stream = await self._open(identity, reply, Response(200, b""))
        pump = asyncio.ensure_future(_pump(events, stream))
        try:
            await asyncio.wait({pump, stream.ended}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            pump.cancel()
            await asyncio.wait({pump})
            await stream.close()
        if not pump.cancelled() and (error := pump.exception()) is not None and not isinstance(error, Unavailable):
            log.error("watch failed", exc_info=error, extra={"identity": identity})

    async def _connect(self, identity: str, reply: str, request: Request, user: User) -> None:
        async def accept() -> FrameStream:
            return await self._open(identity, reply, Response(200, b""))

        async def refuse(error: ApiError) -> None:
            await self._refuse(reply, envelope.CONNECT, error)

        with self._under_way(reply):
            await serve_stream(lambda stream: self._api.connect(request, user, stream), accept=accept, refuse=refuse)


async def _send_body(stream: FrameStream, body: bytes) -> None:
    try:
        await stream.send(_BODY, body)
    except Unavailable as error:
        log.debug("body not sent", extra={"error": str(error)})
    finally:
        await stream.close()


async def _pump(events: Events, stream: FrameStream) -> None:
    """Send each event as a line; those that are there at the same time travel together."""
    waiting = bytearray()
    changed = asyncio.Event()
    ended = False

    async def gather() -> None:
        nonlocal ended
        try:
            async for event in events:
                waiting.extend(event)
                waiting.extend(b"\n")
                changed.set()
                while len(waiting) > _GATHER:
                    taken.clear()
                    await taken.wait()
        except ApiError as error:
            waiting.extend(orjson.dumps({"type": "ERROR", "object": error.to_status()}) + b"\n")
        finally:
            ended = True
            changed.set()
            await events.aclose()

    taken = asyncio.Event()
    gathering = asyncio.ensure_future(gather())
    try:
        while waiting or not ended:
            if not waiting:
                changed.clear()
                await changed.wait()
                continue
            data = bytes(waiting)
            waiting.clear()
            taken.set()
            await stream.send(_BODY, data)
        await gathering
    finally:
        gathering.cancel()
        await asyncio.wait({gathering})

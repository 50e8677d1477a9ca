"""Calls from a server to a node: logs, exec, attach, port-forward, stats (docs/architecture.md has the messages).

A call is a request on `covey.in.<identity>.call`; its answer is a `result` or an `error` (a Status). A call that opens
a byte stream names its id; the node joins it when the handler first uses it, and has until then to refuse.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgpack

from mesh.api.port import Stream
from mesh.bus import subjects
from mesh.bus.port import Bus, Message, Subscription
from mesh.bus.serving import serve_stream
from mesh.bus.streams import FrameStream, StreamHub, join
from mesh.errors import ApiError, BadRequest, InternalError, NotFound, TooManyRequests, from_status
from mesh.objects.types import Json

log = logging.getLogger("covey.bus")

CALLS_AT_ONCE = 500
OPEN_TIMEOUT = 30.0
"""Seconds that a node may take to open a stream."""

Handler = Callable[[Mapping[str, Json]], Awaitable[Json]]
StreamHandler = Callable[[Mapping[str, Json], Stream], Awaitable[None]]


class NodeCaller:
    """The server's half."""

    def __init__(self, bus: Bus, hub: StreamHub) -> None:
        self._bus = bus
        self._hub = hub

    async def call(self, identity: str, op: str, params: Mapping[str, Json], *, timeout: float = 10.0) -> Json:
        """The result of one operation on the node. Raises what the node raised, or `Unavailable`."""
        return await self._ask(identity, {"op": op, "params": dict(params)}, timeout)

    async def open(self, identity: str, op: str, params: Mapping[str, Json]) -> FrameStream:
        """A byte stream served by the node. Raises what the node raised before it began, or `Unavailable`."""
        stream_id, stream = self._hub.open(identity)
        try:
            await self._ask(identity, {"op": op, "params": dict(params), "stream": stream_id}, OPEN_TIMEOUT)
        except BaseException:
            self._hub.discard(identity, stream_id)
            raise
        self._hub.start_stream(identity, stream_id)
        return stream

    async def _ask(self, identity: str, message: Mapping[str, Json], timeout: float) -> Json:
        data = await self._bus.request(subjects.calls(identity), msgpack.packb(message), timeout=timeout)
        answer = msgpack.unpackb(data)
        if "error" in answer:
            raise from_status(answer["error"])
        return answer.get("result")


class CallServer:
    """The node's half."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._handlers: dict[str, Handler] = {}
        self._stream_handlers: dict[str, StreamHandler] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._subscription: Subscription | None = None

    def register(self, op: str, handler: Handler) -> None:
        """Answer calls of `op` with what `handler(params)` returns or, as `ApiError`, raises."""
        self._handlers[op] = handler

    def register_stream(self, op: str, handler: StreamHandler) -> None:
        """Serve streams of `op` by `handler(params, stream)`. It may raise `ApiError` until it first uses the stream,
        which is closed when it returns."""
        self._stream_handlers[op] = handler

    async def start(self) -> None:
        """Begin to answer."""
        self._subscription = await self._bus.subscribe(subjects.calls(self._bus.identity), self._on_call)

    async def close(self) -> None:
        """Stop answering, and end what is being served."""
        if self._subscription is not None:
            await self._subscription.unsubscribe()
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _on_call(self, message: Message) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(message, busy=len(self._tasks) >= CALLS_AT_ONCE))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, message: Message, *, busy: bool) -> None:
        async def refuse(error: ApiError) -> None:
            await self._answer(message.reply, {"error": error.to_status()})

        try:
            if busy:
                raise TooManyRequests("the node is busy with other calls", retry_after_seconds=1)
            op, params, stream_id = _parse(message.data)
            if stream_id:
                await self._serve_stream(message.reply, op, params, stream_id, refuse)
            else:
                await self._answer(message.reply, {"result": await self._handler(self._handlers, op)(params)})
        except ApiError as error:
            await refuse(error)
        except Exception:
            log.exception("call failed", extra={"subject": message.subject})
            await refuse(InternalError("internal error on the node"))

    async def _serve_stream(
        self,
        reply: str,
        op: str,
        params: Mapping[str, Json],
        stream_id: str,
        refuse: Callable[[ApiError], Awaitable[None]],
    ) -> None:
        handler = self._handler(self._stream_handlers, op)

        async def accept() -> FrameStream:
            stream = await join(self._bus, stream_id)
            await self._answer(reply, {"result": None})
            return stream

        await serve_stream(lambda stream: handler(params, stream), accept=accept, refuse=refuse)

    @staticmethod
    def _handler(handlers: Mapping[str, Any], op: str) -> Any:
        if op not in handlers:
            raise NotFound(f"the node does not know the operation {op!r}")
        return handlers[op]

    async def _answer(self, reply: str, answer: Mapping[str, Json]) -> None:
        """Only a server's inbox gets an answer; the broker sees to it as well."""
        if not reply.startswith("_INBOX."):
            log.warning("call without an inbox for its answer", extra={"reply": reply})
            return
        try:
            await self._bus.publish(reply, msgpack.packb(answer))
        except ApiError as error:
            log.debug("answer not sent", extra={"error": str(error)})


def _parse(data: bytes) -> tuple[str, dict[str, Json], str]:
    try:
        call = msgpack.unpackb(data)
        op, params, stream_id = call["op"], call["params"], call.get("stream", "")
    except (ValueError, TypeError, KeyError, AttributeError, msgpack.UnpackException) as error:
        raise BadRequest("the call is not a map with op and params") from error
    if not isinstance(params, dict) or not isinstance(stream_id, str):
        raise BadRequest("params must be a map and stream a string")
    return str(op), params, stream_id

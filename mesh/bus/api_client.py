"""The API over NATS, the client's half: `Transport` on any bus, as the identity of that bus."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import orjson

from mesh.api.port import Request, Response, Stream, WatchEvent
from mesh.bus import envelope, subjects
from mesh.bus.port import Bus, NobodyListens, Silence
from mesh.bus.streams import FrameStream, join
from mesh.errors import RequestTooLarge, Unavailable, from_status

BODY_UP_TO = 3 * 1024 * 1024
"""Bytes of a request's body, as Kubernetes' API server takes them."""
SILENCE = 4.0
"""Seconds without an answer or a sign of work after which the server that took a request is given up. Servers give
such signs every second, so that only a server that has gone is silent for so long (or the way to it is broken)."""


class BusTransport:
    """`mesh.api.port.Transport` over the bus."""

    def __init__(self, bus: Bus, *, timeout: float = SILENCE) -> None:
        self._bus = bus
        self._timeout = timeout

    async def send(self, request: Request) -> Response:
        """One request, one answer. A read that is met with silence is asked once more; of a write nobody knows then
        whether it took effect."""
        if len(request.body) > BODY_UP_TO:
            error = RequestTooLarge(f"Request entity too large: limit is {BODY_UP_TO}")
            return Response(error.code, orjson.dumps(error.to_status()))
        try:
            answer = await self._ask(envelope.SEND, request)
        except Silence:
            if request.method != "GET":
                raise
            answer = await self._ask(envelope.SEND, request)
        if not answer.stream:
            return answer.response
        return replace(answer.response, body=await self._body(answer.stream))

    async def watch(self, request: Request) -> AsyncIterator[WatchEvent]:
        """The events of one watch request."""
        stream = await self._join(envelope.WATCH, request)
        try:
            rest = b""
            while (frame := await stream.receive()) is not None:
                *lines, rest = (rest + frame[1]).split(b"\n")
                for line in lines:
                    event = orjson.loads(line)
                    yield WatchEvent(event["type"], event["object"])
        finally:
            await stream.close()

    async def connect(self, request: Request) -> Stream:
        """Open a byte stream."""
        return await self._join(envelope.CONNECT, request)

    async def _ask(self, op: str, request: Request) -> envelope.Answer:
        subject = subjects.api(self._bus.identity)
        try:
            data = await self._bus.request(subject, envelope.encode_request(op, request), timeout=self._timeout)
        except NobodyListens as error:
            raise Unavailable(f"no API server is there to answer {request.method} {request.path}") from error
        except Silence as error:
            raise Silence(f"no answer to {request.method} {request.path} within {self._timeout:g} s") from error
        answer = envelope.decode_answer(data)
        if answer.error is not None:
            raise from_status(answer.error)
        return answer

    async def _join(self, op: str, request: Request) -> FrameStream:
        answer = await self._ask(op, request)
        if not answer.stream:
            raise from_status(orjson.loads(answer.response.body))
        return await join(self._bus, answer.stream)

    async def _body(self, stream_id: str) -> bytes:
        stream = await join(self._bus, stream_id)
        try:
            pieces = []
            while (frame := await stream.receive()) is not None:
                pieces.append(frame[1])
            return b"".join(pieces)
        finally:
            await stream.close()

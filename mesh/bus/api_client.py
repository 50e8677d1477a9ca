"""The API over NATS, the client's half: `Transport` on any bus, as the identity of that bus."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import orjson

from mesh.api.port import Request, Response, Stream, WatchEvent
from mesh.bus import envelope, subjects
from mesh.bus.port import Bus
from mesh.bus.streams import FrameStream, join
from mesh.errors import RequestTooLarge, Unavailable, from_status

BODY_UP_TO = 3 * 1024 * 1024
"""Bytes of a request's body, as Kubernetes' API server takes them."""


class BusTransport:
    """`mesh.api.port.Transport` over the bus."""

    def __init__(self, bus: Bus, *, timeout: float = 12.0) -> None:
        self._bus = bus
        self._timeout = timeout

    async def send(self, request: Request) -> Response:
        """One request, one answer, within the timeout."""
        if len(request.body) > BODY_UP_TO:
            error = RequestTooLarge(f"Request entity too large: limit is {BODY_UP_TO}")
            return Response(error.code, orjson.dumps(error.to_status()))
        try:
            async with asyncio.timeout(self._timeout):
                answer = await self._ask(envelope.SEND, request)
                if not answer.stream:
                    return answer.response
                return replace(answer.response, body=await self._body(answer.stream))
        except TimeoutError:
            raise Unavailable(f"no answer to {request.method} {request.path} within {self._timeout:g} s") from None

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
        data = await self._bus.request(subject, envelope.encode_request(op, request), timeout=self._timeout)
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

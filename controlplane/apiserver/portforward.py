"""Port-forward, as kubectl speaks it: SPDY/3.1 frames (`spdy.py`) inside a WebSocket.

For every TCP connection the client opens two SPDY streams, one for errors and one for data (headers `streamtype`,
`port`, `requestid`). The second becomes a byte stream to the node; what goes wrong is written to the first. Source:
k8s.io/kubelet/pkg/cri/streaming/portforward and k8s.io/client-go/tools/portforward.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace

from controlplane.apiserver.spdy import (
    PROTOCOL_ERROR,
    Data,
    Decoder,
    Encoder,
    Frame,
    GoAway,
    Ping,
    Reset,
    SynReply,
    SynStream,
)
from mesh.api.port import Request, Stream
from mesh.errors import ApiError, Unavailable

log = logging.getLogger(__name__)

PROTOCOL = "SPDY/3.1+portforward.k8s.io"
CHUNK = 64 << 10
"""Bytes of one DATA frame."""
MAX_CONNECTIONS = 256
"""Connections at once in one tunnel."""
_QUEUE = 16
_DATA, _HALF_CLOSE = 0, 255

Send = Callable[[bytes], Awaitable[None]]
Connect = Callable[[Request, Stream], Awaitable[None]]


class Forwarded:
    """`mesh.api.port.Stream` of one forwarded connection: a pair of SPDY streams in a tunnel."""

    def __init__(self, tunnel: Tunnel, data: int, error: int) -> None:
        self.error = error
        self._tunnel = tunnel
        self._data = data
        self._received: asyncio.Queue[tuple[int, bytes] | None] = asyncio.Queue(_QUEUE)
        self._finished = False

    async def feed(self, frame: Data) -> None:
        """Bytes from the client; waits while the node does not take them."""
        if frame.data:
            await self._received.put((_DATA, frame.data))
        if frame.fin:
            await self._received.put((_HALF_CLOSE, bytes([_DATA])))

    async def send(self, channel: int, data: bytes) -> None:
        """Bytes from the node, or its half-close."""
        if channel == _HALF_CLOSE:
            await self._finish()
        elif channel == _DATA:
            for start in range(0, len(data), CHUNK):
                await self._tunnel.send(Data(self._data, data[start : start + CHUNK]))
        else:
            await self.fail(data.decode(errors="replace"))

    async def receive(self) -> tuple[int, bytes] | None:
        """The next bytes from the client."""
        return await self._received.get()

    async def fail(self, message: str) -> None:
        """Tell the client what went wrong with this connection."""
        await self._tunnel.send(Data(self.error, message.encode()))

    def drop(self) -> None:
        """Nobody reads any more: throw away what waits, so that the tunnel does not wait for it to be read."""
        while not self._received.empty():
            self._received.get_nowait()

    async def _finish(self) -> None:
        if not self._finished:
            self._finished = True
            await self._tunnel.send(Data(self._data, b"", fin=True))

    async def close(self) -> None:
        """The node is done."""
        await self._finish()


class Tunnel:
    """One client's port-forward: its SPDY session with all connections in it."""

    def __init__(self, request: Request, connect: Connect, send: Send) -> None:
        """`connect` serves one connection (a request with its port, a stream); `send` brings bytes to the client."""
        self._request = request
        self._connect = connect
        self._send_bytes = send
        self._decoder = Decoder()
        self._encoder = Encoder()
        self._sending = asyncio.Lock()
        self._errors: dict[str, int] = {}
        self._connections: dict[int, Forwarded] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}

    async def feed(self, data: bytes) -> None:
        """Bytes from the client. Raises `SpdyError` when they make no sense."""
        for frame in self._decoder.feed(data):
            await self._on_frame(frame)

    async def send(self, frame: Frame) -> None:
        """One frame to the client, in order."""
        async with self._sending:
            await self._send_bytes(self._encoder.encode(frame))

    async def close(self) -> None:
        """The client is gone: end all connections."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _on_frame(self, frame: Frame) -> None:
        match frame:
            case SynStream():
                await self._opened(frame)
            case Data(stream) if stream in self._connections:
                await self._connections[stream].feed(frame)
            case Reset(stream) if stream in self._tasks:
                self._tasks[stream].cancel()
            case Ping(identifier) if identifier % 2:
                await self.send(frame)
            case GoAway() | SynReply() | Data() | Reset() | Ping():
                pass

    async def _opened(self, frame: SynStream) -> None:
        """A client opens the error stream of a connection first, then its data stream."""
        identifier, kind = frame.headers.get("requestid", ""), frame.headers.get("streamtype", "")
        if kind == "error":
            self._errors[identifier] = frame.stream
            await self.send(SynReply(frame.stream))
            return
        error = self._errors.pop(identifier, None)
        port = frame.headers.get("port", "")
        if kind != "data" or error is None or not port.isdigit() or not 0 < int(port) < 65536:
            await self.send(Reset(frame.stream, PROTOCOL_ERROR))
            return
        await self.send(SynReply(frame.stream))
        connection = Forwarded(self, frame.stream, error)
        if len(self._tasks) >= MAX_CONNECTIONS:
            await connection.fail(f"too many connections at once in one port-forward (limit {MAX_CONNECTIONS})")
            await connection.close()
            return
        self._connections[frame.stream] = connection
        task = asyncio.create_task(self._serve(connection, frame.stream, int(port)))
        self._tasks[frame.stream] = task

    async def _serve(self, connection: Forwarded, stream: int, port: int) -> None:
        query = tuple(q for q in self._request.query if q[0] != "ports")
        request = replace(self._request, query=(*query, ("ports", str(port))))
        try:
            try:
                await self._connect(request, connection)
            except ApiError as error:
                await connection.fail(f"error forwarding port {port}: {error}")
            await connection.close()
            await self.send(Data(connection.error, b"", fin=True))
        except Unavailable:
            log.debug("port-forward client is gone")
        finally:
            self._connections.pop(stream, None)
            self._tasks.pop(stream, None)
            connection.drop()

"""Port-forward, as kubectl speaks it: SPDY/3.1 frames (`spdy.py`) inside a WebSocket.

For every TCP connection the client opens two SPDY streams, one for errors and one for data (headers `streamtype`,
`port`, `requestid`). The second becomes a byte stream to the node; what goes wrong is written to the first. Source:
k8s.io/kubelet/pkg/cri/streaming/portforward and k8s.io/client-go/tools/portforward.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import replace

from controlplane.apiserver.spdy import (
    FLOW_CONTROL_ERROR,
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
BACKLOG = 16 << 20
"""Bytes that may wait in one tunnel for nodes to take them; meanwhile its other connections go on. Beyond that the tunnel
reads no more: the SPDY library of Kubernetes' clients has no flow control for a single stream."""
STALLED = 10.0
"""Seconds for which a full tunnel may wait for anybody to take anything, when several connections share it."""
_OVERHEAD = 64
"""What a frame that waits counts for beyond its bytes."""
_DATA, _HALF_CLOSE = 0, 255

Send = Callable[[bytes], Awaitable[None]]
Connect = Callable[[Request, Stream], Awaitable[None]]


class Forwarded:
    """`mesh.api.port.Stream` of one forwarded connection: a pair of SPDY streams in a tunnel."""

    def __init__(self, tunnel: Tunnel, data: int, error: int) -> None:
        self.error = error
        self.waiting = 0
        """Bytes from the client that the node has not taken yet."""
        self._tunnel = tunnel
        self._data = data
        self._received: deque[tuple[int, bytes]] = deque()
        self._came = asyncio.Event()
        self._finished = False

    def feed(self, frame: Data) -> None:
        """Bytes from the client."""
        parts = [(_DATA, frame.data)] if frame.data else []
        if frame.fin:
            parts.append((_HALF_CLOSE, bytes([_DATA])))
        self._received.extend(parts)
        self.waiting += sum(len(data) + _OVERHEAD for _, data in parts)
        self._came.set()

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
        while not self._received:
            self._came.clear()
            await self._came.wait()
        channel, data = self._received.popleft()
        self.waiting -= len(data) + _OVERHEAD
        self._tunnel.taken()
        return channel, data

    async def fail(self, message: str) -> None:
        """Tell the client what went wrong with this connection."""
        await self._tunnel.send(Data(self.error, message.encode()))

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
        self._taken = asyncio.Event()

    async def feed(self, data: bytes) -> None:
        """Bytes from the client; returns when there is room for more. Raises `SpdyError` when they make no sense."""
        for frame in self._decoder.feed(data):
            await self._on_frame(frame)
        while self._waiting() >= BACKLOG:
            self._taken.clear()
            try:
                async with asyncio.timeout(STALLED):
                    await self._taken.wait()
            except TimeoutError:
                await self._give_up_the_slowest()

    def taken(self) -> None:
        """A node has taken bytes."""
        self._taken.set()

    def _waiting(self) -> int:
        return sum(connection.waiting for connection in self._connections.values())

    async def _give_up_the_slowest(self) -> None:
        """One connection holds up all others, for nothing can tell its client to wait with that one alone."""
        if len(self._connections) > 1:
            stream, slowest = max(self._connections.items(), key=lambda each: each[1].waiting)
            task = self._tasks[stream]
            task.cancel()
            await asyncio.wait({task})
            await slowest.fail("the pod takes no more data, and other connections wait for this one")
            await self.send(Data(slowest.error, b"", fin=True))
            await self.send(Reset(stream, FLOW_CONTROL_ERROR))

    async def send(self, frame: Frame) -> None:
        """One frame to the client, in order."""
        async with self._sending:
            await self._send_bytes(self._encoder.encode(frame))

    async def close(self) -> None:
        """The client is gone: end all connections."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _on_frame(self, frame: Frame) -> None:
        match frame:
            case SynStream():
                await self._opened(frame)
            case Data(stream) if stream in self._connections:
                self._connections[stream].feed(frame)
            case Reset(stream) if stream in self._tasks:
                self._tasks[stream].cancel()
            case Reset(stream):
                self._errors = {each: error for each, error in self._errors.items() if error != stream}
            case Ping(identifier) if identifier % 2:
                await self.send(frame)
            case GoAway() | SynReply() | Data() | Ping():
                pass

    async def _opened(self, frame: SynStream) -> None:
        """A client opens the error stream of a connection first, then its data stream."""
        identifier, kind = frame.headers.get("requestid", ""), frame.headers.get("streamtype", "")
        if kind == "error" and len(self._errors) < MAX_CONNECTIONS:
            self._errors[identifier] = frame.stream
            await self.send(SynReply(frame.stream))
            return
        error = self._errors.pop(identifier, None) if kind == "data" else None
        port = _port(frame.headers.get("port", ""))
        if error is None or not port or frame.stream in self._tasks:
            await self.send(Reset(frame.stream, PROTOCOL_ERROR))
            return
        await self.send(SynReply(frame.stream))
        connection = Forwarded(self, frame.stream, error)
        if len(self._tasks) >= MAX_CONNECTIONS:
            await connection.fail(f"too many connections at once in one port-forward (limit {MAX_CONNECTIONS})")
            await connection.close()
            return
        self._connections[frame.stream] = connection
        task = asyncio.create_task(self._serve(connection, port))
        self._tasks[frame.stream] = task
        task.add_done_callback(lambda _: self._ended(frame.stream))

    def _ended(self, stream: int) -> None:
        del self._connections[stream], self._tasks[stream]
        self.taken()  # what waited for it waits no more

    async def _serve(self, connection: Forwarded, port: int) -> None:
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


def _port(text: str) -> int:
    """A TCP port; 0 for what is none."""
    number = int(text) if re.fullmatch("[0-9]{1,5}", text) else 0
    return number if number < 65536 else 0

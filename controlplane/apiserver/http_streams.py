"""Byte streams over HTTP: exec and attach as WebSocket channels, logs as a chunked answer, port-forward as a tunnel
(`portforward.py`) in a WebSocket.

Nothing is upgraded before the pipeline has accepted the request, so that a refusal is an ordinary HTTP answer.
Source: k8s.io/apimachinery/pkg/util/remotecommand and k8s.io/streaming/pkg/httpstream/wsstream.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Iterator

import orjson
from aiohttp import WSMsgType, web

from controlplane.apiserver import portforward
from controlplane.apiserver.server import ApiServer
from controlplane.apiserver.spdy import SpdyError
from mesh.api.port import Request, Stream, User
from mesh.errors import ApiError, BadRequest, Unavailable

log = logging.getLogger(__name__)

CHANNEL_PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
ERROR_CHANNEL = 3
KEEPALIVE = {socket.TCP_KEEPIDLE: 15, socket.TCP_KEEPINTVL: 15, socket.TCP_KEEPCNT: 9}
"""How TCP finds out whether a silent client is still there (tcp(7); seconds and a count, as Go's servers have them). Not by
the pings of WebSocket: while a reader takes his time nothing is read from the client, its answers to pings neither. Nor by
TCP_USER_TIMEOUT: it would end the connections of clients that take theirs (`kubectl exec ... | less`)."""
_STREAMS = frozenset({"exec", "attach", "portforward"})


def is_stream(request: Request) -> bool:
    """Whether the request opens a byte stream."""
    parts = request.path.strip("/").split("/")
    if len(parts) != 7 or parts[4] != "pods":
        return False
    return (parts[6] in _STREAMS and request.method in {"GET", "POST"}) or (parts[6], request.method) == ("log", "GET")


async def serve(api: ApiServer, request: Request, user: User, http: web.BaseRequest) -> web.StreamResponse:
    """Serve the stream on this HTTP request; raises `ApiError` before anything was sent."""
    _keep_alive(http)
    operation = request.path.strip("/").rpartition("/")[2]
    if operation == "log":
        return await _serve_log(api, request, user, http)
    # A client whose WebSocket was refused asks again with SPDY: it is to hear the same reason, not that we lack SPDY.
    again = operation != "portforward" and not _wants_websocket(http)
    await api.check_stream(request, user, running=again)
    if operation == "portforward":
        return await _serve_tunnel(api, request, user, _socket(http, operation, (portforward.PROTOCOL,)), http)
    stream = ChannelSocket(http, _socket(http, operation, CHANNEL_PROTOCOLS))
    try:
        await api.connect(request, user, stream)
    except ApiError as error:
        if not stream.prepared:
            raise
        await stream.fail(error)
    finally:
        if stream.prepared:
            await stream.close()
    return stream.socket


def _keep_alive(http: web.BaseRequest) -> None:
    """Let TCP watch over the client's connection: a stream may be silent for hours."""
    connection = http.get_extra_info("socket")
    if connection is not None:  # it is still there
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in KEEPALIVE.items():
            connection.setsockopt(socket.IPPROTO_TCP, option, value)


def _wants_websocket(http: web.BaseRequest) -> bool:
    return http.headers.get("Upgrade", "").lower() == "websocket"


def _socket(http: web.BaseRequest, operation: str, protocols: tuple[str, ...]) -> web.WebSocketResponse:
    """A WebSocket that can be prepared for this request; raises `BadRequest` when the client asks for none, for none of
    these protocols, or in a way that makes no sense."""
    if not _wants_websocket(http):
        raise BadRequest(
            f"unable to upgrade: {operation} needs a WebSocket connection (kubectl 1.31 or later, or a client that "
            f"speaks {' or '.join(protocols)})"
        )
    offered = [p.strip() for p in http.headers.get("Sec-WebSocket-Protocol", "").split(",") if p.strip()]
    if not set(offered) & set(protocols):
        raise BadRequest(f"unable to upgrade: none of the protocols {offered} is among {list(protocols)}")
    answer = web.WebSocketResponse(protocols=protocols, max_msg_size=4 << 20, compress=False, timeout=2.0)
    try:
        acceptable = http.method == "GET" and answer.can_prepare(http).ok
    except ValueError:  # a key that is not even ASCII
        acceptable = False
    if not acceptable:
        raise BadRequest("unable to upgrade: this is no WebSocket handshake (RFC 6455, version 13)")
    return answer


class ChannelSocket:
    """`mesh.api.port.Stream` on a WebSocket whose messages begin with the channel's number."""

    def __init__(self, http: web.BaseRequest, socket: web.WebSocketResponse) -> None:
        self._http = http
        self._preparing = asyncio.Lock()
        self.prepared = False
        self.socket = socket

    async def _ready(self) -> web.WebSocketResponse:
        async with self._preparing:
            if not self.prepared:
                with _gone():
                    await self.socket.prepare(self._http)
                self.prepared = True
        return self.socket

    async def send(self, channel: int, data: bytes) -> None:
        """One message; waits while the client's buffers are full."""
        socket = await self._ready()
        with _gone():
            await socket.send_bytes(bytes([channel]) + data)

    async def receive(self) -> tuple[int, bytes] | None:
        """The next message, or None when the client has closed."""
        socket = await self._ready()
        while True:
            message = await socket.receive()
            if message.type in {WSMsgType.BINARY, WSMsgType.TEXT}:
                data = message.data if isinstance(message.data, bytes) else message.data.encode()
                if data:
                    return data[0], data[1:]
            else:
                return None

    async def fail(self, error: ApiError) -> None:
        """Tell a client that is connected already what went wrong."""
        with contextlib.suppress(Unavailable):
            await self.send(ERROR_CHANNEL, orjson.dumps(error.to_status()))

    async def close(self) -> None:
        """Close handshake."""
        socket = await self._ready()
        await socket.close()


@contextlib.contextmanager
def _gone() -> Iterator[None]:
    """A connection that breaks while we write to it means that the client is gone."""
    try:
        yield
    except ConnectionError as error:
        raise Unavailable("the client is gone") from error


async def _serve_tunnel(
    api: ApiServer, request: Request, user: User, socket: web.WebSocketResponse, http: web.BaseRequest
) -> web.StreamResponse:
    with _gone():
        await socket.prepare(http)

    async def send(data: bytes) -> None:
        with _gone():
            await socket.send_bytes(data)

    async def connect(one: Request, stream: Stream) -> None:
        await api.connect(one, user, stream)

    tunnel = portforward.Tunnel(request, connect, send)
    try:
        async for message in socket:
            if message.type is WSMsgType.BINARY:
                await tunnel.feed(message.data)
    except (SpdyError, Unavailable) as error:
        log.info("port-forward ended: %s", error)
    finally:
        await tunnel.close()
        await socket.close()
    return socket


async def _serve_log(api: ApiServer, request: Request, user: User, http: web.BaseRequest) -> web.StreamResponse:
    stream = LogAnswer(http)
    try:
        await api.connect(request, user, stream)
    except ApiError as error:
        if not stream.prepared:
            raise
        with contextlib.suppress(Unavailable):
            await stream.send(1, f"{error}\n".encode())
    await stream.close()
    return stream.response


class LogAnswer:
    """`mesh.api.port.Stream` that can only send: a log as a chunked answer."""

    def __init__(self, http: web.BaseRequest) -> None:
        self._http = http
        self._preparing = asyncio.Lock()
        self._ended = False
        self.prepared = False
        self.response = web.StreamResponse(headers={"Content-Type": "text/plain", "Cache-Control": "no-cache, private"})
        self.response.enable_chunked_encoding()

    async def _ready(self) -> web.StreamResponse:
        async with self._preparing:
            if not self.prepared:
                with _gone():
                    await self.response.prepare(self._http)
                self.prepared = True
        return self.response

    async def send(self, channel: int, data: bytes) -> None:
        """A piece of the log; both outputs go into one."""
        del channel
        response = await self._ready()
        with _gone():
            await response.write(data)

    async def receive(self) -> tuple[int, bytes] | None:
        """Never returns: a reader of logs says nothing. Its going away cancels the request."""
        await self._ready()
        await asyncio.get_running_loop().create_future()
        return None

    async def close(self) -> None:
        """End of the log."""
        if not self._ended:
            self._ended = True
            with contextlib.suppress(Unavailable):
                response = await self._ready()
                with _gone():
                    await response.write_eof()

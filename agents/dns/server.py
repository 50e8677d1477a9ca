"""The sockets of the cluster's resolver: questions in over UDP and TCP, answers out.

Questions about the cluster are answered at once, in the callback that brought them; only what others must be asked
takes a task.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections.abc import Iterable, Sequence
from typing import Protocol

from mesh.errors import Terminal
from mesh.objects.types import Json

log = logging.getLogger(__name__)

MOST_TCP_BYTES = 65535
IDLE_SECONDS = 10.0
MOST_CONNECTIONS = 256
_IP_FREEBIND = 15

Peer = tuple[str, int]


class Resolver(Protocol):
    """Answers one packet."""

    def local(self, packet: bytes, limit: int) -> bytes | None:
        """The answer, at most `limit` bytes (0: as many as the asker said it takes), b"" for none at all; None when
        others have to be asked."""

    async def remote(self, packet: bytes, limit: int, *, tcp: bool) -> bytes:
        """The answer after asking others."""


def open_sockets(addresses: Iterable[str], port: int = 53) -> list[socket.socket]:
    """A UDP and a listening TCP socket for each address, in the calling thread's namespace. An address need not be
    there yet. Raises `Terminal` when somebody else answers there already."""
    opened: list[socket.socket] = []
    for address in addresses:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
            sock = socket.socket(family, kind)
            opened.append(sock)
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
            if kind is socket.SOCK_STREAM:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sock.bind((address, port))
                if kind is socket.SOCK_STREAM:
                    sock.listen(128)
            except OSError as error:
                for made in opened:
                    made.close()
                raise Terminal(f"cluster DNS cannot listen on {address} port {port}: {error.strerror}") from error
    return opened


class DnsServer:
    """Serves a resolver on sockets that `open_sockets` made."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver
        self._tasks: set[asyncio.Task[None]] = set()
        self._transports: list[asyncio.DatagramTransport] = []
        self._servers: list[asyncio.Server] = []
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self, sockets: Sequence[socket.socket]) -> None:
        """Answer from now on; the sockets are closed with the server."""
        loop = asyncio.get_running_loop()
        for sock in sockets:
            if sock.type == socket.SOCK_DGRAM:
                transport, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self), sock=sock)
                self._transports.append(transport)
            else:
                self._servers.append(await asyncio.start_server(self._connected, sock=sock))

    async def close(self) -> None:
        """Stop answering; connections end."""
        for transport in self._transports:
            transport.close()
        for server in self._servers:
            server.close()
        tasks = [*self._tasks, *self._connections]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def datagram(self, transport: asyncio.DatagramTransport, packet: bytes, peer: Peer) -> None:
        """One question over UDP."""
        answer = self._resolver.local(packet, 0)
        if answer is None:
            task = asyncio.get_running_loop().create_task(self._later(transport, packet, peer))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif answer:
            transport.sendto(answer, peer)

    async def _later(self, transport: asyncio.DatagramTransport, packet: bytes, peer: Peer) -> None:
        answer = await self._resolver.remote(packet, 0, tcp=False)
        if answer and not transport.is_closing():
            transport.sendto(answer, peer)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task: asyncio.Task[Json] | None = asyncio.current_task()
        if task is None or len(self._connections) >= MOST_CONNECTIONS:
            writer.close()
            return
        self._connections.add(task)
        try:
            await self._converse(reader, writer)
        except (TimeoutError, OSError, asyncio.IncompleteReadError):
            pass  # the asker is idle or gone: nothing is owed to it
        finally:
            self._connections.discard(task)
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer questions in order until the asker has no more (RFC 7766)."""
        while True:
            async with asyncio.timeout(IDLE_SECONDS):
                (length,) = struct.unpack("!H", await reader.readexactly(2))
                packet = await reader.readexactly(length)
            answer = self._resolver.local(packet, MOST_TCP_BYTES)
            if answer is None:
                answer = await self._resolver.remote(packet, MOST_TCP_BYTES, tcp=True)
            if not answer:
                return
            async with asyncio.timeout(IDLE_SECONDS):
                writer.write(struct.pack("!H", len(answer)) + answer)
                await writer.drain()


class _Datagrams(asyncio.DatagramProtocol):
    """Hands datagrams to the server."""

    def __init__(self, server: DnsServer) -> None:
        self._server = server
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: Json) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Peer) -> None:
        if self._transport is not None:
            self._server.datagram(self._transport, data, addr)

    def error_received(self, exc: Exception) -> None:
        log.debug("dns: a client did not take its answer: %r", exc)

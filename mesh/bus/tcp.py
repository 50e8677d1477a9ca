"""The TCP connection under a NATS client, with an end that comes in bounded time.

nats-py waits for what it has written to leave (`drain`, `wait_closed`) without a limit: towards a peer that fell silent
that can take the kernel's quarter of an hour. Here the kernel gives up after `DEAD_AFTER` seconds without an
acknowledgement, and closing waits no longer than `LINGER`.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from urllib.parse import ParseResult

from mesh.bus.natspy import Transport

DEAD_AFTER = 4.0
"""Seconds that written bytes may stay unacknowledged by the peer's kernel before the connection counts as lost."""
LINGER = 1.0
"""Seconds that closing waits for written bytes to leave."""
_READ = 256 * 1024


class SocketTransport(Transport):
    """A plain TCP transport for nats-py's client. One instance carries one connection."""

    def __init__(self) -> None:
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._ended: asyncio.Task[None] | None = None

    def __bool__(self) -> bool:
        return True

    async def connect(self, uri: ParseResult, buffer_size: int, connect_timeout: int) -> None:
        """Connect to the host and port of `uri` within `connect_timeout` seconds."""
        del buffer_size  # nats-py's own is too small for large messages
        async with asyncio.timeout(connect_timeout):
            reader, writer = await asyncio.open_connection(uri.hostname, uri.port, limit=_READ)
        raw = writer.get_extra_info("socket")
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(DEAD_AFTER * 1000))
        self._reader, self._writer = reader, writer
        self._ended = asyncio.create_task(self._end(writer))

    async def connect_tls(self, *_: object, **__: object) -> None:
        """Not spoken yet: TLS to the broker comes with clusters over untrusted networks."""
        raise ConnectionError("TLS to the broker is not supported")

    def write(self, payload: bytes) -> None:
        """Queue bytes for sending."""
        self._open_writer.write(payload)

    def writelines(self, payload: list[bytes]) -> None:
        """Queue several pieces for sending."""
        self._open_writer.writelines(payload)

    async def read(self, buffer_size: int) -> bytes:
        """The next bytes, b"" at the end."""
        del buffer_size
        return await self._open_reader.read(_READ)

    async def readline(self) -> bytes:
        """The next line."""
        return await self._open_reader.readline()

    async def drain(self) -> None:
        """Wait until the queue is short again; raises OSError when the connection is lost."""
        await self._open_writer.drain()

    async def wait_closed(self) -> None:
        """Return once the connection is closed, by force if it lingers."""
        if self._ended is None or self._writer is None:
            return
        await asyncio.wait({self._ended}, timeout=LINGER)
        if not self._ended.done():
            self._writer.transport.abort()

    async def lost(self) -> None:
        """Return when the connection has ended, whoever ended it."""
        if self._ended is not None:
            await asyncio.wait({self._ended})

    @staticmethod
    async def _end(writer: asyncio.StreamWriter) -> None:
        # In a task of its own, since a cancelled `wait_closed` breaks it for all others who wait.
        with contextlib.suppress(OSError):  # how it ended is told to whoever reads or writes
            await writer.wait_closed()

    def close(self) -> None:
        """Begin closing."""
        if self._writer is not None:
            self._writer.close()

    def at_eof(self) -> bool:
        """Whether the peer has ended the connection and all it sent has been read."""
        return self._open_reader.at_eof()

    @property
    def _open_reader(self) -> asyncio.StreamReader:
        if self._reader is None:
            raise ConnectionError("not connected")
        return self._reader

    @property
    def _open_writer(self) -> asyncio.StreamWriter:
        if self._writer is None:
            raise ConnectionError("not connected")
        return self._writer

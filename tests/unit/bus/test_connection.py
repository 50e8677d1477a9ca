"""The connection towards something that answers, but is no broker (another program has taken its port)."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from mesh.bus.connection import Connection
from mesh.bus.identities import ensure_seed, load_signer

INFO = b'INFO {"server_id":"x","version":"2.12.0","max_payload":1048576,"nonce":"abc"}\r\n'


class Stranger(asyncio.Protocol):
    """Says one thing to whoever connects, and hangs up when it hears anything."""

    def __init__(self, greeting: bytes, calls: asyncio.Queue[asyncio.Transport]) -> None:
        self._greeting = greeting
        self._calls = calls
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._calls.put_nowait(transport)
        transport.write(self._greeting)

    def data_received(self, data: bytes) -> None:
        del data
        assert self._transport is not None
        self._transport.close()


@pytest.mark.parametrize(
    "greeting",
    [
        b"INFO\r\n",
        b"INFO 5\r\n",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"x" * 600_000 + b"\r\n",
        INFO + b"-ERR\r\n",
    ],
    ids=["nothing", "number", "http", "overlong", "error"],
)
async def test_it_goes_on_dialling_whatever_answers(tmp_path: Path, greeting: bytes) -> None:
    ensure_seed(tmp_path / "seed")
    calls: asyncio.Queue[asyncio.Transport] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Stranger(greeting, calls), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    connection = Connection([f"nats://127.0.0.1:{port}"], load_signer(tmp_path / "seed"))
    await connection.start(wait=0)
    met = []
    try:
        async with asyncio.timeout(20):
            while len(met) < 3:
                met.append(await calls.get())
    finally:
        await connection.close()
        for transport in met:
            transport.abort()
        server.close()
        await server.wait_closed()

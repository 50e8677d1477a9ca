"""The connection towards something that answers, but is no broker (another program has taken its port)."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from mesh.bus.connection import REFUSED_AT_MOST, Connection
from mesh.bus.identities import ensure_seed, load_signer
from mesh.errors import Forbidden

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


class SmallBroker(asyncio.Protocol):
    """Lets everybody in, and answers pings."""

    def __init__(self, clients: asyncio.Queue[asyncio.Transport]) -> None:
        self._clients = clients
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(INFO)

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        if b"PING\r\n" in data:
            self._transport.write(b"PONG\r\n")
        if b"CONNECT" in data:
            self._clients.put_nowait(self._transport)


async def test_who_waits_for_the_broker_again_and_again_lets_the_loss_be_learned(tmp_path: Path) -> None:
    ensure_seed(tmp_path / "seed")
    clients: asyncio.Queue[asyncio.Transport] = asyncio.Queue()
    server = await asyncio.get_running_loop().create_server(lambda: SmallBroker(clients), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    connection = Connection([f"nats://127.0.0.1:{port}"], load_signer(tmp_path / "seed"))
    await connection.start(wait=10)
    in_vain = 0

    async def impatient() -> None:
        nonlocal in_vain
        while in_vain < 100:
            if await connection.wait_connected(1.0):
                await asyncio.sleep(0)
            else:
                in_vain += 1

    waiting = asyncio.create_task(impatient())
    try:
        async with asyncio.timeout(20):
            (await clients.get()).close()
            again = await clients.get()
            assert await connection.wait_connected(10)
        assert in_vain < 100
    finally:
        waiting.cancel()
        await connection.close()
        again.abort()
        server.close()
        await server.wait_closed()


class RefusingBroker(SmallBroker):
    """Refuses whatever is published."""

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        assert self._transport is not None
        for subject in re.findall(rb"PUB (\S+) ", data):
            self._transport.write(b"-ERR 'Permissions Violation for Publish to \"%s\"'\r\n" % subject)


async def test_only_so_many_refused_subjects_are_remembered(tmp_path: Path) -> None:
    ensure_seed(tmp_path / "seed")
    clients: asyncio.Queue[asyncio.Transport] = asyncio.Queue()
    server = await asyncio.get_running_loop().create_server(lambda: RefusingBroker(clients), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    connection = Connection([f"nats://127.0.0.1:{port}"], load_signer(tmp_path / "seed"))
    await connection.start(wait=10)
    try:
        for number in range(REFUSED_AT_MOST + 1):
            with pytest.raises(Forbidden):
                await connection.request(f"x.{number}", b"", timeout=10)
        with pytest.raises(Forbidden):  # at once: it is remembered
            await connection.publish("x.1", b"")
        await connection.publish("x.0", b"")
    finally:
        await connection.close()
        (await clients.get()).abort()
        server.close()
        await server.wait_closed()

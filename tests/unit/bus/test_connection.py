"""The connection towards something that answers, but is no broker (another program has taken its port)."""

from __future__ import annotations

import asyncio
import re
import socket
import threading
import time
from pathlib import Path

import pytest

from mesh.bus.connection import REFUSED_AT_MOST, Connection
from mesh.bus.identities import ensure_seed, load_signer
from mesh.bus.port import WORKING
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


def answering(server: socket.socket, early: bytes, asked: threading.Event, *moments: threading.Event) -> None:
    """A broker in a thread of its own. It answers the first request while its client stalls, and once more afterwards."""
    stalling, sent, over = moments
    connection, _ = server.accept()
    with connection:
        connection.sendall(INFO)
        heard = b""
        while not (request := re.search(rb"PUB \S+ (\S+) \d+\r\n", heard)):
            piece = connection.recv(65536)
            heard += piece
            connection.sendall(b"PONG\r\n" * piece.count(b"PING"))
        number = re.search(rb"SUB \S+ +(\d+)\r\n", heard)
        assert number is not None
        asked.set()
        stalling.wait(20)
        connection.sendall(b"MSG %s %s %d\r\n%s\r\n" % (request[1], number[1], len(early), early))
        sent.set()
        over.wait(20)
        connection.sendall(b"MSG %s %s 4\r\ndone\r\n" % (request[1], number[1]))
        while piece := connection.recv(65536):
            connection.sendall(b"PONG\r\n" * piece.count(b"PING"))


@pytest.mark.parametrize("early", [b"done", WORKING], ids=["answer", "sign of work"])
async def test_what_came_while_we_stalled_is_no_silence(tmp_path: Path, early: bytes) -> None:
    ensure_seed(tmp_path / "seed")
    asked, stalling, sent, over = (threading.Event() for _ in range(4))
    with socket.create_server(("127.0.0.1", 0)) as server:
        broker = threading.Thread(target=answering, args=(server, early, asked, stalling, sent, over))
        broker.start()
        connection = Connection([f"nats://127.0.0.1:{server.getsockname()[1]}"], load_signer(tmp_path / "seed"))
        try:
            await connection.start(wait=10)
            request = asyncio.ensure_future(connection.request("x", b"", timeout=1.0))
            assert await asyncio.to_thread(asked.wait, 20)
            stalling.set()
            assert sent.wait(20)
            time.sleep(1.1)  # noqa: ASYNC251 - what comes of it is the matter of this test
            asyncio.get_running_loop().call_later(0.3, over.set)
            assert (await request).data == b"done"
        finally:
            for moment in (stalling, over):
                moment.set()
            await connection.close()
            broker.join(20)

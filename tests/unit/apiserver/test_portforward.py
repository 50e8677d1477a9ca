"""One port-forward with many connections: each goes at its own pace, and nonsense from a client ends in an answer."""

from __future__ import annotations

import asyncio
import random

import pytest

from controlplane.apiserver import portforward
from controlplane.apiserver.portforward import BACKLOG, MAX_CONNECTIONS, Tunnel
from controlplane.apiserver.spdy import (
    FLOW_CONTROL_ERROR,
    PROTOCOL_ERROR,
    Data,
    Decoder,
    Encoder,
    Frame,
    Ping,
    Reset,
    SpdyError,
    SynReply,
    SynStream,
)
from mesh.api.port import Request, Stream

CHUNK = 1 << 20
STUCK, QUICK = 1, 2
"""Ports: at one nobody reads, the other one echoes."""


class Client:
    """kubectl's end of a tunnel, with pods at the other."""

    def __init__(self) -> None:
        self._encoder, self._decoder = Encoder(), Decoder()
        self._next = 1
        self.received: list[Frame] = []
        self.echoed = 0
        self.tunnel = Tunnel(Request("GET", "/"), self._pod, self._receive)

    async def _receive(self, data: bytes) -> None:
        for frame in self._decoder.feed(data):
            self.received.append(frame)
            if isinstance(frame, Data):
                self.echoed += len(frame.data)

    async def _pod(self, request: Request, stream: Stream) -> None:
        if request.param("ports") == str(STUCK):
            await asyncio.get_running_loop().create_future()
        while (frame := await stream.receive()) is not None:
            if frame[0] == 255:
                return
            await stream.send(0, frame[1])

    async def say(self, *frames: Frame) -> None:
        for frame in frames:
            await self.tunnel.feed(self._encoder.encode(frame))

    async def open(self, port: int) -> int:
        """The data stream of a new connection; its error stream is the one before."""
        error, data = self._next, self._next + 2
        self._next += 4
        about = {"requestid": str(error), "port": str(port)}
        await self.say(
            SynStream(error, {**about, "streamtype": "error"}), SynStream(data, {**about, "streamtype": "data"})
        )
        return data


async def test_a_connection_that_takes_nothing_holds_up_no_other() -> None:
    client = Client()
    async with asyncio.timeout(20):
        stuck, quick = await client.open(STUCK), await client.open(QUICK)
        for _ in range(BACKLOG // CHUNK // 2):
            await client.say(Data(stuck, bytes(CHUNK)))
        for _ in range(4):
            await client.say(Data(quick, bytes(CHUNK)))
        await client.say(Data(quick, b"", fin=True))
        while Data(quick, b"", fin=True) not in client.received:  # noqa: ASYNC110
            await asyncio.sleep(0)
        assert client.echoed == 4 * CHUNK
        await client.tunnel.close()


async def test_a_full_tunnel_gives_up_who_takes_nothing_while_others_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portforward, "STALLED", 0.05)
    client = Client()
    async with asyncio.timeout(20):
        stuck, quick = await client.open(STUCK), await client.open(QUICK)
        for _ in range(BACKLOG // CHUNK):
            await client.say(Data(stuck, bytes(CHUNK)))
        assert Reset(stuck, FLOW_CONTROL_ERROR) in client.received
        told = [frame.data for frame in client.received if isinstance(frame, Data) and frame.stream == stuck - 2]
        assert told == [b"the pod takes no more data, and other connections wait for this one", b""]
        await client.say(Data(quick, b"still here", fin=True))
        while Data(quick, b"still here") not in client.received:  # noqa: ASYNC110
            await asyncio.sleep(0)
        await client.tunnel.close()


async def test_a_single_connection_may_take_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portforward, "STALLED", 0.01)
    client = Client()
    stuck = await client.open(STUCK)
    full = asyncio.gather(*(client.say(Data(stuck, bytes(CHUNK))) for _ in range(BACKLOG // CHUNK)))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(full, 0.2)
    assert not [frame for frame in client.received if isinstance(frame, Reset)]
    await client.tunnel.close()


@pytest.mark.parametrize("port", ["", "0", "65536", "-1", "²", "٣", "9" * 5000])
async def test_what_is_no_port_is_reset(port: str) -> None:
    client = Client()
    await client.say(SynStream(1, {"requestid": "1", "streamtype": "error"}))
    await client.say(SynStream(3, {"requestid": "1", "streamtype": "data", "port": port}))
    assert client.received == [SynReply(1), Reset(3, PROTOCOL_ERROR)]


async def test_a_stream_is_opened_once_and_reset_before_it_began() -> None:
    client = Client()
    data = await client.open(STUCK)
    about = {"requestid": "x", "port": "1"}
    await client.say(SynStream(5, {**about, "streamtype": "error"}), SynStream(data, {**about, "streamtype": "data"}))
    assert client.received[-1] == Reset(data, PROTOCOL_ERROR)
    await client.say(Reset(data, 1))
    async with asyncio.timeout(5):
        await client.tunnel.close()


async def test_error_streams_that_no_data_stream_follows_are_forgotten_when_they_are_reset() -> None:
    client = Client()
    for stream in range(1, 4 * MAX_CONNECTIONS, 2):
        await client.say(SynStream(stream, {"requestid": str(stream), "streamtype": "error"}), Reset(stream, 1))
        assert client.received[-1] == SynReply(stream)


@pytest.mark.parametrize("seed", range(40))
async def test_no_bytes_break_the_tunnel(seed: int) -> None:
    """A client's frames, more or less damaged: the tunnel goes on, or says that this is no SPDY."""
    rng = random.Random(seed)
    client, encoder = Client(), Encoder()
    frames = (
        lambda: SynStream(rng.randrange(20), {"requestid": str(rng.randrange(3)), "streamtype": "error"}),
        lambda: SynStream(
            rng.randrange(20),
            {"requestid": str(rng.randrange(3)), "streamtype": rng.choice(("data", "x")), "port": rng.choice("12x")},
        ),
        lambda: Data(rng.randrange(20), rng.randbytes(rng.randrange(50)), fin=rng.random() < 0.2),
        lambda: Reset(rng.randrange(20), rng.randrange(20)),
        lambda: Ping(rng.randrange(20)),
    )
    try:
        for _ in range(300):
            data = bytearray(encoder.encode(rng.choice(frames)()))
            if rng.random() < 0.02:
                data[rng.randrange(len(data))] = rng.randrange(256)
            await client.tunnel.feed(bytes(data))
            if rng.random() < 0.2:
                await asyncio.sleep(0)
    except SpdyError:
        pass  # the answer to what is no SPDY
    finally:
        async with asyncio.timeout(5):
            await client.tunnel.close()

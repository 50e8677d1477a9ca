"""Protobuf bodies, SPDY frames and the tunnel that carries port-forward."""

from __future__ import annotations

import asyncio
import zlib
from typing import Any

import pytest

from controlplane.apiserver import protobuf
from controlplane.apiserver.portforward import Tunnel
from controlplane.apiserver.spdy import (
    DICTIONARY,
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
from mesh.errors import BadRequest, NotFound


def _varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def envelope(api_version: bytes, kind: bytes, raw: bytes) -> bytes:
    return b"k8s\0" + field(1, field(1, api_version) + field(2, kind)) + field(2, raw)


def test_configmap_as_kubectl_sends_it() -> None:
    body = bytes.fromhex(
        "6b3873000a0f0a0276311209436f6e6669674d6170121b0a110a016112001a0022002a0032003800420012060a01781201791a002200"
    )
    assert protobuf.decode(body) == {
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"x": "y"},
    }  # fmt: skip


def test_pointers_keep_their_zero_and_unions_are_inlined() -> None:
    probe = field(1, field(2, field(1, b"/") + field(2, field(1, 0) + field(2, 80)))) + field(2, 0)
    limits = field(1, field(1, b"cpu") + field(2, field(1, b"100m")))
    container = field(1, b"c") + field(2, b"i") + field(4, b"") + field(8, limits) + field(10, probe)
    volume = field(1, b"v") + field(2, field(2, b""))
    spec = field(1, volume) + field(2, container) + field(4, 0)
    raw = field(1, field(1, b"x") + field(8, b"")) + field(2, spec)
    assert protobuf.decode(envelope(b"v1", b"Pod", raw)) == {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "x"},
        "spec": {
            "volumes": [{"name": "v", "emptyDir": {}}],
            "containers": [
                {
                    "name": "c",
                    "image": "i",
                    "args": [""],
                    "resources": {"limits": {"cpu": "100m"}},
                    "livenessProbe": {"httpGet": {"path": "/", "port": 80}},
                }
            ],
            "terminationGracePeriodSeconds": 0,
        },
    }


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b"k8s\0\xff\xff",
        envelope(b"v1", b"Nothing", b""),
        envelope(b"v1", b"Pod", b"\x0a\x05x"),
        b"k8s\0" + b"\xff" * 20,
    ],
)
def test_bad_protobuf_is_a_bad_request(body: bytes) -> None:
    with pytest.raises(BadRequest):
        protobuf.decode(body)


def test_spdy_dictionary_is_the_drafts() -> None:
    assert (len(DICTIONARY), zlib.adler32(DICTIONARY)) == (1423, 0xE3C6A7C2)


def test_frames_survive_any_cut() -> None:
    encoder = Encoder()
    frames: list[Frame] = [
        SynStream(1, {"streamtype": "error", "port": "80", "requestid": "0"}),
        SynStream(3, {"streamtype": "data", "port": "80", "requestid": "0"}, fin=True),
        SynReply(1),
        Data(3, b"hello"),
        Data(3, b"", fin=True),
        Ping(1),
        Reset(1, 5),
    ]
    data = b"".join(encoder.encode(frame) for frame in frames)
    for size in (1, 7, len(data)):
        decoder = Decoder()
        found = [f for start in range(0, len(data), size) for f in decoder.feed(data[start : start + size])]
        assert found == frames


@pytest.mark.parametrize(
    "data", [b"\x80\x02\0\x01\0\0\0\0", b"\x80\x03\0\x01\0\0\0\x02xx", b"\0\0\0\x01\0\xff\xff\xff"]
)
def test_broken_frames_end_the_session(data: bytes) -> None:
    with pytest.raises(SpdyError):
        list(Decoder().feed(data))


async def test_tunnel_carries_connections_and_errors() -> None:
    sent = bytearray()
    ports: list[str] = []

    async def send(data: bytes) -> None:
        sent.extend(data)

    async def connect(request: Request, stream: Stream) -> None:
        ports.append(request.param("ports"))
        if request.param("ports") == "81":
            raise NotFound("nothing there")
        frames: list[Any] = []
        while (frame := await stream.receive()) is not None and frame[0] != 255:
            frames.append(frame)
        await stream.send(0, b"echo " + b"".join(f[1] for f in frames))

    tunnel, client, answers = Tunnel(Request("POST", "/"), connect, send), Encoder(), Decoder()
    for stream, (port, request) in {1: ("80", "0"), 5: ("81", "1")}.items():
        headers = {"port": port, "requestID": request}
        await tunnel.feed(client.encode(SynStream(stream, {"streamType": "error", **headers})))
        await tunnel.feed(client.encode(SynStream(stream + 2, {"streamType": "data", **headers})))
    await tunnel.feed(client.encode(Data(3, b"hi")) + client.encode(Data(3, b"", fin=True)) + client.encode(Ping(1)))
    found: list[Frame] = []
    async with asyncio.timeout(5):
        while sum(isinstance(f, Data) and f.fin for f in found) < 4:
            await asyncio.sleep(0)
            found += answers.feed(bytes(sent))
            sent.clear()
    assert sorted(ports) == ["80", "81"]
    assert b"".join(f.data for f in found if isinstance(f, Data) and f.stream == 3) == b"echo hi"
    assert b"".join(f.data for f in found if isinstance(f, Data) and f.stream == 5) == (
        b"error forwarding port 81: nothing there"
    )
    assert Ping(1) in found
    await tunnel.close()


async def test_connection_whose_pod_hangs_up_does_not_hold_up_the_others() -> None:
    """The client goes on sending to it for a while, more than would wait in the queue."""
    hang_up = asyncio.Event()
    received: asyncio.Queue[tuple[int, bytes] | None] = asyncio.Queue()

    async def connect(request: Request, stream: Stream) -> None:
        if request.param("ports") == "80":
            await hang_up.wait()
        else:
            received.put_nowait(await stream.receive())

    async def send(data: bytes) -> None:
        del data

    tunnel, client = Tunnel(Request("POST", "/"), connect, send), Encoder()
    for first, port in ((1, "80"), (5, "81")):
        for stream, kind in ((first, "error"), (first + 2, "data")):
            headers = {"streamtype": kind, "port": port, "requestid": port}
            await tunnel.feed(client.encode(SynStream(stream, headers)))
    sending = asyncio.create_task(tunnel.feed(client.encode(Data(3, b"x")) * 100 + client.encode(Data(7, b"y"))))
    await asyncio.sleep(0)
    hang_up.set()
    async with asyncio.timeout(5):
        await sending
        assert await received.get() == (0, b"y")
    await tunnel.close()

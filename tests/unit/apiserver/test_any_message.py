"""No 500 and no silence for anything that an identity can send on the bus: whole and damaged envelopes from a seed."""

from __future__ import annotations

import logging
import random
from pathlib import Path

import msgpack
import orjson
import pytest

from mesh.api.port import User
from mesh.bus import envelope, subjects
from mesh.bus.api_server import ApiServer
from mesh.bus.memory import MemoryBroker
from mesh.bus.streams import StreamHub
from tests.support.apiserver import ADMIN, FakeNodes, pod, running
from tests.support.request_fuzz import JUNK, request

MESSAGES = 400
FIELDS = ("op", "method", "path", "query", "body", "type", "accept", "agent", "more")


def damaged(data: bytes, rng: random.Random) -> bytes:
    """The same message, a field of another type, or bytes missing or changed."""
    if rng.random() < 0.3:
        return data
    if rng.random() < 0.5:
        message = msgpack.unpackb(data)
        message[rng.choice(FIELDS)] = rng.choice((*JUNK, b"\xff", [["a"]], [["a", "b", "c"]], "\ud800", 2**63))
        packed: bytes = msgpack.packb(message, unicode_errors="surrogatepass")
        return packed
    place = rng.randrange(len(data))
    return rng.choice((data[:place], data[:place] + bytes([rng.randrange(256)]) + data[place + 1 :]))


@pytest.mark.parametrize("seed", range(4))
async def test_no_message_breaks_the_server(seed: int, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rng, broker = random.Random(seed), MemoryBroker()
    server, client = broker.connect("US", server=True), broker.connect("UA")
    hub = StreamHub(server)
    await hub.start()

    def user(_identity: str) -> User | None:
        return ADMIN

    async with running(tmp_path, nodes=FakeNodes()) as api:
        await api.ok("POST", "/api/v1/namespaces/default/pods", pod("seed"))
        front = ApiServer(server, hub, api.server.api, user)
        await front.start()
        for _ in range(MESSAGES):
            op = rng.choice((envelope.SEND, envelope.SEND, envelope.WATCH, envelope.CONNECT))
            sent = damaged(envelope.encode_request(op, request(rng)), rng)
            answer = envelope.decode_answer(await client.request(subjects.api("UA"), sent, timeout=10))
            refused = answer.error or {}
            assert refused.get("code", 400) < 500, (seed, sent, refused)
            assert answer.response.status < 500, (seed, sent, answer)
            if answer.response.status >= 400 and answer.response.content_type == "application/json":
                assert orjson.loads(answer.response.body)["message"], (seed, sent)
        assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
        await front.close()
    await hub.close()

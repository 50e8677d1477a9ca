"""A broker with two clients and a server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mesh.bus.identities import Signer, load_signer
from mesh.bus.nats import NatsBus
from tests.support.nats import NatsServer


@pytest.fixture
async def nats(tmp_path: Path) -> AsyncIterator[NatsServer]:
    nats = NatsServer(tmp_path)
    for name in ("a", "b"):
        nats.identity(name)
    nats.identity("server", "server")
    await nats.start()
    yield nats
    nats.kill()


def signer(nats: NatsServer, name: str) -> Signer:
    return load_signer(nats.directory / f"{name}.seed")


@pytest.fixture
async def a(nats: NatsServer) -> AsyncIterator[NatsBus]:
    bus = await nats.bus(signer(nats, "a"))
    yield bus
    await bus.close()


@pytest.fixture
async def b(nats: NatsServer) -> AsyncIterator[NatsBus]:
    bus = await nats.bus(signer(nats, "b"))
    yield bus
    await bus.close()


@pytest.fixture
async def server(nats: NatsServer) -> AsyncIterator[NatsBus]:
    bus = await nats.bus(signer(nats, "server"))
    yield bus
    await bus.close()

"""A real nats-server with Covey's own configuration, on a free port of the loopback address."""

from __future__ import annotations

import asyncio
import random
import shutil
import socket
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path

from mesh.bus.broker import BrokerConfig, server_binary, write
from mesh.bus.connection import Connection
from mesh.bus.identities import Identity, Signer, ensure_seed, load_signer
from mesh.bus.nats import NatsBus


def free_port() -> int:
    """A free port below the ephemeral range: a client that dials a closed ephemeral port may reach itself, and then
    the server cannot listen there again."""
    while True:
        port = random.randrange(15_000, 30_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


async def eventually(condition: Callable[[], Awaitable[bool]], *, within: float = 20) -> None:
    """Wait until `condition` holds; for what nobody announces."""
    async with asyncio.timeout(within):
        while not await condition():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


class NatsServer:
    """One server process; it may be killed and started again on the same port with the same data."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.identities: dict[str, Identity] = {}
        self._store = directory / "store.seed"
        self.config = BrokerConfig(
            directory / "broker", store_keys=(ensure_seed(self._store),), port=free_port(), name="covey-test"
        )
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.config.port}"

    @property
    def store_signer(self) -> Signer:
        return load_signer(self._store)

    def identity(self, name: str, role: str = "client") -> Signer:
        """A new identity; call it before `start`."""
        path = self.directory / f"{name}.seed"
        self.identities[ensure_seed(path)] = Identity(user=name, role="server" if role == "server" else "client")
        return load_signer(path)

    def _launch(self) -> subprocess.Popen[bytes]:
        config = write(self.config, self.identities)
        with (self.directory / "nats.log").open("ab") as out:
            return subprocess.Popen([str(server_binary()), "-c", str(config)], stdout=out, stderr=out)

    async def start(self) -> None:
        self._process = self._launch()
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.config.port)
            except OSError:
                assert self._process.poll() is None, (self.directory / "nats.log").read_text()
                await asyncio.sleep(0.02)
            else:
                writer.close()
                await writer.wait_closed()
                return

    def kill(self) -> None:
        """kill -9, as a crash."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def wipe(self) -> None:
        """Throw away all that JetStream stored (while it is stopped)."""
        shutil.rmtree(self.config.directory / "jetstream", ignore_errors=True)

    async def bus(self, signer: Signer, *, wait: float = 10) -> NatsBus:
        bus = NatsBus([self.url], signer)
        await bus.start(wait=wait)
        return bus

    async def store_connection(self) -> Connection:
        connection = Connection([self.url], self.store_signer, name="store")
        await connection.start(wait=10)
        return connection

"""A daemon that goes away and comes back, seen through a socket that the test can cut."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agents.node.ports import RuntimeAway, State
from agents.node.runtimes.docker import DockerRuntime
from tests.integration.runtimes.test_contract import FOREVER, status
from tests.support.docker import Pod, docker_runtime

pytestmark = pytest.mark.docker


class Line:
    """A unix socket that leads to the daemon's, as long as it is not cut."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def restore(self) -> None:
        self._server = await asyncio.start_unix_server(self._serve, self.path)

    async def cut(self) -> None:
        assert self._server is not None
        self._server.close()
        self.path.unlink(missing_ok=True)
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            far_reader, far_writer = await asyncio.open_unix_connection("/var/run/docker.sock")
            try:
                await asyncio.gather(copy(reader, far_writer), copy(far_reader, writer))
            finally:
                far_writer.close()
        finally:
            writer.close()
            self._connections.discard(task)


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.write_eof()


@pytest.fixture
async def line(tmp_path: Path) -> AsyncIterator[Line]:
    made = Line(tmp_path / "docker.sock")
    await made.restore()
    yield made
    await made.cut()


@pytest.fixture
async def far(cluster: str, tmp_path: Path, line: Line) -> AsyncIterator[DockerRuntime]:
    async with docker_runtime(cluster, tmp_path / "state", socket=f"unix://{line.path}") as runtime:
        yield runtime


async def test_away_and_back(far: DockerRuntime, line: Line) -> None:
    pod = await Pod.make(far)
    container = await pod.sh(FOREVER)
    events = far.events()
    await anext(events)
    await line.cut()
    with pytest.raises(RuntimeAway):
        await anext(events)
    with pytest.raises(RuntimeAway, match="Is it running"):
        await far.containers()
    await line.restore()
    assert (await status(far, container)).state is State.RUNNING
    assert await anext(far.events())


async def test_a_follower_goes_on_where_it_was(far: DockerRuntime, line: Line) -> None:
    pod = await Pod.make(far)
    container = await pod.sh("i=0; while [ $i -lt 200 ]; do i=$((i+1)); echo $i; sleep 0.02; done")
    said = b""
    cut = False
    async for _, data in far.logs(container, follow=True, tail=None, since=None, timestamps=False):
        said += data
        if not cut and said.count(b"\n") >= 20:
            cut = True
            await line.cut()
            await line.restore()
    assert said.split() == [str(n).encode() for n in range(1, 201)]

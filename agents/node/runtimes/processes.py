"""Attached processes: exec'd ones, and containers' own, over hijacked connections (docs of `ContainerAttach`)."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import Final

from agents.node.ports import RuntimeAway
from agents.node.runtimes.engine import Engine, Refused
from agents.node.runtimes.frames import STDOUT, Demultiplexer

_CHUNK: Final = 32 * 1024
_RESIZE_ATTEMPTS: Final = 20
_ENDING_SECONDS: Final = 2.0


class _Stream:
    """The byte stream both kinds share: output with or without frames, input with half-close."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, tty: bool) -> None:
        self._reader = reader
        self._writer = writer
        self._demultiplexer = None if tty else Demultiplexer()
        self._frames: deque[tuple[int, bytes]] = deque()
        self._ended = asyncio.Event()

    async def read(self) -> tuple[int, bytes] | None:
        """The next output; None at the end."""
        while not self._frames:
            try:
                data = await self._reader.read(_CHUNK)
            except ConnectionError as error:
                raise RuntimeAway("RuntimeAway", f"the connection to the container broke: {error}") from error
            if not data:
                self._ended.set()
                return None
            if self._demultiplexer is None:
                return STDOUT, data
            self._frames.extend(self._demultiplexer.feed(data))
        return self._frames.popleft()

    async def write(self, data: bytes) -> None:
        """Send to its stdin; input for a process that has ended is dropped, as a terminal does."""
        with contextlib.suppress(ConnectionError):
            self._writer.write(data)
            await self._writer.drain()

    async def close_stdin(self) -> None:
        """Half-close: its stdin ends, its output goes on."""
        with contextlib.suppress(OSError):
            if self._writer.can_write_eof():
                self._writer.write_eof()

    async def close(self) -> None:
        """Detach."""
        self._ended.set()
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()


class ExecProcess(_Stream):
    """A command run in a container."""

    def __init__(
        self, engine: Engine, exec_id: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, tty: bool
    ) -> None:
        super().__init__(reader, writer, tty=tty)
        self._engine = engine
        self._id = exec_id

    async def resize(self, width: int, height: int) -> None:
        """New size of its terminal; a process that has ended already has none."""
        await _resize(self._engine, f"/exec/{self._id}", width, height)

    async def wait(self) -> int:
        """Its exit code. Output has to be read to its end (by this or another task) first."""
        await self._ended.wait()
        # The output ends a moment before the daemon has noted the exit code.
        delay = 0.002
        while (state := await self._engine.request("GET", f"/exec/{self._id}/json"))["Running"]:
            await asyncio.sleep(delay)
            delay = min(2 * delay, 0.5)
        return int(state["ExitCode"] or 0)


class Attachment(_Stream):
    """A container's own process."""

    def __init__(
        self,
        engine: Engine,
        container_id: str,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        tty: bool,
    ) -> None:
        super().__init__(reader, writer, tty=tty)
        self._engine = engine
        self._id = container_id

    async def resize(self, width: int, height: int) -> None:
        """New size of its terminal."""
        await _resize(self._engine, f"/containers/{self._id}", width, height)

    async def wait(self) -> int:
        """Its exit code, or 0 if only the attachment has ended."""
        await self._ended.wait()
        try:
            async with asyncio.timeout(_ENDING_SECONDS):
                answer = await self._engine.request("POST", f"/containers/{self._id}/wait", timeout=None)
        except TimeoutError:
            return 0
        return int(answer["StatusCode"])


async def _resize(engine: Engine, path: str, width: int, height: int) -> None:
    """Docker refuses a size until the process runs, which is a moment after its stream has opened: ask again."""
    for attempt in range(_RESIZE_ATTEMPTS):
        try:
            await engine.request("POST", f"{path}/resize", params={"w": width, "h": height})
            return
        except Refused as refused:
            if refused.status == 404 or attempt == _RESIZE_ATTEMPTS - 1:
                return  # it has ended
        await asyncio.sleep(0.01 * (attempt + 1))

"""The streams of `FakeRuntime`: exec'd commands, attachments and connections, all in memory and without sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class FakeProcess:
    """A process made of what it will print; with `echoes` its stdin comes back until it is closed."""

    def __init__(self, output: list[tuple[int, bytes]], exit_code: Callable[[], int], *, echoes: bool = False) -> None:
        self._output: asyncio.Queue[tuple[int, bytes] | None] = asyncio.Queue()
        self._exit_code = exit_code
        self._echoes = echoes
        self._done = asyncio.Event()
        self.size: tuple[int, int] | None = None
        """The last size its terminal was given."""
        for piece in output:
            self._output.put_nowait(piece)
        if not echoes:
            self.finish()

    def finish(self) -> None:
        """It ends; what it has printed can still be read."""
        if not self._done.is_set():
            self._done.set()
            self._output.put_nowait(None)

    async def read(self) -> tuple[int, bytes] | None:
        """See `Process.read`."""
        piece = await self._output.get()
        if piece is None:
            self._output.put_nowait(None)
        return piece

    async def write(self, data: bytes) -> None:
        """See `Process.write`."""
        if self._echoes and not self._done.is_set():
            self._output.put_nowait((1, data))

    async def close_stdin(self) -> None:
        """See `Process.close_stdin`."""
        if self._echoes:
            self.finish()

    async def resize(self, width: int, height: int) -> None:
        """See `Process.resize`."""
        self.size = (width, height)

    async def wait(self) -> int:
        """See `Process.wait`."""
        await self._done.wait()
        return self._exit_code()

    async def close(self) -> None:
        """See `Process.close`."""
        self.finish()


class _ContainerProcess(FakeProcess):
    """A process that ends when its container does, if not before."""

    def __init__(self, ended: asyncio.Event, exit_code: Callable[[], int], *, echoes: bool) -> None:
        super().__init__([], exit_code, echoes=True)
        self._echoes = echoes
        self._watch = asyncio.ensure_future(self._follow(ended))

    async def _follow(self, ended: asyncio.Event) -> None:
        await ended.wait()
        self.finish()

    def finish(self) -> None:
        """It ends, and nothing waits for its container any more."""
        super().finish()
        if self._watch is not asyncio.current_task():
            self._watch.cancel()


def executed(command: list[str], ended: asyncio.Event, *, stdin: bool) -> FakeProcess:
    """A run of `command`: true, false, cat, echo WORDS, or sh -c "exit N"."""
    match command:
        case ["true"]:
            return FakeProcess([], lambda: 0)
        case ["false"]:
            return FakeProcess([], lambda: 1)
        case ["cat"] if stdin:
            return _ContainerProcess(ended, lambda: 137 if ended.is_set() else 0, echoes=True)
        case ["cat"]:
            return FakeProcess([], lambda: 0)
        case ["echo", *words]:
            return FakeProcess([(1, " ".join(words).encode() + b"\n")], lambda: 0)
        case ["sh", "-c", script] if script.startswith("exit ") and script[5:].isdigit():
            code = int(script[5:])
            return FakeProcess([], lambda: code)
    reason = f'OCI runtime exec failed: exec: "{command[0]}": executable file not found in $PATH: unknown\r\n'
    return FakeProcess([(1, reason.encode())], lambda: 126)


def attached(ended: asyncio.Event, exit_code: Callable[[], int]) -> FakeProcess:
    """An attachment to a container that says nothing; detached before its end, its exit code is 0."""
    return _ContainerProcess(ended, lambda: exit_code() if ended.is_set() else 0, echoes=False)


class _Served(asyncio.Transport):
    """The client's end of a connection to an HTTP server that gives one answer and hangs up."""

    def __init__(self, reader: asyncio.StreamReader, ready: Callable[[], bool]) -> None:
        super().__init__()
        self._reader = reader
        self._ready = ready
        self._request = b""
        self._answered = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._request += bytes(data)
        if b"\r\n\r\n" in self._request and not self._answered:
            self._answered = True
            status, text = ("200 OK", "ok") if self._ready() else ("503 Service Unavailable", "not ready")
            self._reader.feed_data(
                f"HTTP/1.1 {status}\r\nContent-Length: {len(text)}\r\nConnection: close\r\n\r\n{text}".encode()
            )
            self._reader.feed_eof()

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        if not self._answered:
            self._answered = True
            self._reader.feed_eof()

    def is_closing(self) -> bool:
        return self._answered

    def close(self) -> None:
        self.write_eof()


def served(ready: Callable[[], bool]) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection to a server that answers one HTTP request: 200 when `ready()`, else 503."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(loop=loop)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    writer = asyncio.StreamWriter(_Served(reader, ready), protocol, reader, loop)
    return reader, writer

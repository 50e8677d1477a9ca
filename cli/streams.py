"""A session with a container: our terminal, or plain streams, on one side, a byte stream of the API on the other."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import termios
import threading
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import orjson

from cli.pods import CHUNK, CLOSE, ERROR, RESIZE, STDERR, STDIN, STDOUT
from cli.printing import warn
from cli.session import Session
from mesh.api.port import Stream
from mesh.errors import Terminal
from mesh.objects.kinds import PODS
from mesh.objects.meta import name_of, namespace_of
from mesh.objects.types import Object


async def converse(
    session: Session, pod: Object, subresource: str, given: list[tuple[str, str]], *, stdin: bool, terminal: bool
) -> int:
    """Run a session, exec or attach, to its end; returns the exit code. `given` is the subresource's own query."""
    if terminal and not (sys.stdin and sys.stdin.isatty()):
        warn("Unable to use a TTY - input is not a terminal or the right kind of file")
        terminal = False
    given += [("stdin", "true")] if stdin else []
    given += [("tty", "true")] if terminal else [("stderr", "true")]
    given += [("stdout", "true")]
    if stdin and subresource == "attach":
        warn("All commands and output from this session will be recorded in container logs, including credentials and "
             "sensitive information passed through the command prompt.")  # fmt: skip
        warn("If you don't see a command prompt, try pressing enter.")
    name, where = name_of(pod), namespace_of(pod)
    stream = await session.client.connect(PODS, name, where, subresource, tuple(given))
    with _raw_terminal(terminal):
        feeding = [asyncio.create_task(_feed(stream))] if stdin else []
        if terminal:
            _send_size(stream, feeding)
            loop = asyncio.get_running_loop()
            loop.add_signal_handler(signal.SIGWINCH, _send_size, stream, feeding)
        try:
            return _exit_code(await relay(stream, _show))
        finally:
            for task in feeding:
                task.cancel()
            await stream.close()


async def relay(stream: Stream, write: Callable[[int, bytes], None]) -> Object | None:
    """Hand on what the container writes (channel and data) until it ends; the Status that says how, if there was one."""
    while (frame := await stream.receive()) is not None:
        channel, data = frame
        if channel == ERROR:
            status: Object = orjson.loads(data)
            return status
        write(channel, data)
    return None


def _show(channel: int, data: bytes) -> None:
    output = {STDOUT: sys.stdout, STDERR: sys.stderr}.get(channel)
    if output is not None:
        output.buffer.write(data)
        output.flush()


def _exit_code(status: Object | None) -> int:
    if status is None or status.get("status") == "Success":
        return 0
    for cause in (status.get("details") or {}).get("causes") or ():
        if cause.get("reason") == "ExitCode":
            warn(f"command terminated with exit code {cause['message']}")
            return int(cause["message"])
    raise Terminal(str(status.get("message") or "the command could not be run"))


async def _feed(stream: Stream) -> None:
    """Pass our standard input on, and its end."""
    chunks: asyncio.Queue[bytes] = asyncio.Queue()
    wanted = threading.Semaphore(1)
    loop = asyncio.get_running_loop()

    def read() -> None:
        """Files cannot be polled, and a terminal made non-blocking would be so for our output too: hence a thread. The
        process does not wait for it: nobody may ever type the next character."""
        data = b"anything"
        while data and wanted.acquire():
            try:
                data = os.read(0, CHUNK)
            except OSError:  # closed by who started us (<&-), or its terminal has gone
                data = b""
            with suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(chunks.put_nowait, data)

    threading.Thread(target=read, name="stdin", daemon=True).start()
    while data := await chunks.get():
        await stream.send(STDIN, data)
        wanted.release()
    await stream.send(CLOSE, bytes([STDIN]))


def _send_size(stream: Stream, tasks: list[asyncio.Task[None]]) -> None:
    columns, lines = shutil.get_terminal_size()
    size = orjson.dumps({"Width": columns, "Height": lines})
    tasks.append(asyncio.create_task(stream.send(RESIZE, size)))


@contextmanager
def _raw_terminal(wanted: bool) -> Iterator[None]:
    """The terminal passes every key on, Ctrl-C too, until we are done."""
    if not wanted:
        yield
        return
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    try:
        tty.setraw(descriptor, termios.TCSADRAIN)  # what was typed already is not lost
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)

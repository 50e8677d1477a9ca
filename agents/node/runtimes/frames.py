"""Docker's streams, sans-I/O: bytes in, (stream, bytes) out.

Without a TTY, attach, exec and logs multiplex stdout and stderr in frames: one byte of stream number, three zero bytes,
a big-endian length, the payload (https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Container/operation/ContainerAttach).
A log read with timestamps has one frame for each message, "<RFC 3339 nano> <text>"; a line over 16 KiB comes as several
messages, of which only the last ends with a newline. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

STDOUT = 1
STDERR = 2
_HEADER = 8


class Demultiplexer:
    """Cuts a multiplexed byte stream, given in arbitrary pieces, into its frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """The frames that `data` completes, in order. Memory is bounded by one frame (Docker's are 16 KiB at most,
        plus a timestamp, in logs and 32 KiB otherwise)."""
        buffer = self._buffer
        buffer += data
        frames: list[tuple[int, bytes]] = []
        start = 0
        while len(buffer) - start >= _HEADER:
            end = start + _HEADER + int.from_bytes(buffer[start + 4 : start + _HEADER], "big")
            if end > len(buffer):
                break
            frames.append((STDERR if buffer[start] == STDERR else STDOUT, bytes(buffer[start + _HEADER : end])))
            start = end
        del buffer[:start]
        return frames


def joined(frames: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    """The same bytes in fewer pieces: neighbours of one stream become one."""
    result: list[tuple[int, bytes]] = []
    run: list[bytes] = []
    current = 0
    for stream, data in frames:
        if stream != current and run:
            result.append((current, b"".join(run)))
            run = []
        current = stream
        run.append(data)
    if run:
        result.append((current, b"".join(run)))
    return result


_REPLAY_SECONDS = 60.0
"""How far back a stamp may lie to be taken for a repetition; further, the machine's clock was set back."""


@dataclass(slots=True)
class _Position:
    """How far one stream has been read: stamp of the newest message, how many of that very stamp, and how many of
    them to leave out when they come again; whether the newest ended inside a line."""

    last: str = ""
    count: int = 0
    skip: int = 0
    inside: bool = False


class LogLines:
    """Reads stamped log messages: leaves out repeated ones, and drops stamps where they are not wanted.

    Stamps only grow within a stream. Older ones are repetitions: after a resumption, or because Docker 20.10 gives a
    follower the beginning of the new file twice when the log is rotated.
    """

    def __init__(self, *, timestamps: bool) -> None:
        self._timestamps = timestamps
        self._positions = {STDOUT: _Position(), STDERR: _Position()}

    @property
    def since(self) -> str:
        """The stamp from which on to read again without missing anything; "" before the first message."""
        return min((position.last for position in self._positions.values() if position.last), default="")

    def resume(self) -> None:
        """A new read starts at `since`: leave out what has been passed on already."""
        for position in self._positions.values():
            position.skip = position.count

    def message(self, stream: int, data: bytes) -> bytes:
        """What of one stamped message (one frame) to pass on; b"" for a repeated one."""
        stamp, _, text = data.partition(b" ")
        instant = stamp.decode("ascii")
        position = self._positions[stream]
        if instant < position.last and _seconds(position.last) - _seconds(instant) < _REPLAY_SECONDS:
            position.skip = position.count
            return b""
        if instant == position.last and position.skip:
            position.skip -= 1
            return b""
        position.skip = 0
        position.count = position.count + 1 if instant == position.last else 1
        position.last = instant
        continued, position.inside = position.inside, not text.endswith(b"\n")
        return data if self._timestamps and not continued else text


def unix_time(stamp: str) -> str:
    """An RFC 3339 nano stamp in UTC ("2026-01-02T03:04:05.123456789Z") as "seconds.nanoseconds" since 1970."""
    fraction = stamp.rstrip("Z").partition(".")[2]
    return f"{int(_seconds(stamp))}.{fraction.ljust(9, '0')[:9]}"


def _seconds(stamp: str) -> float:
    """Whole seconds since 1970."""
    whole = stamp.partition(".")[0].rstrip("Z")
    return datetime.fromisoformat(f"{whole}Z").timestamp()

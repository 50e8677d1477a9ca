"""Docker's streams, sans-I/O: bytes in, (stream, bytes) out.

Without a TTY, attach, exec and logs multiplex stdout and stderr in frames: one byte of stream number, three zero bytes,
a big-endian length, the payload (https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Container/operation/ContainerAttach).
A log read with timestamps has one frame for each message, "<RFC 3339 nano> <text>"; a line over 16 KiB comes as several
messages, of which only the last ends with a newline. Pure.
"""

from __future__ import annotations

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


class LogLines:
    """Reads stamped log messages: keeps the last stamp (to resume from), drops stamps where they are not wanted.

    After a resumption Docker sends messages with a stamp at or after the asked one again: those up to and including
    `after` are left out. Several messages of one instant are told apart by counting them.
    """

    def __init__(self, *, timestamps: bool) -> None:
        self._timestamps = timestamps
        self._inside = {STDOUT: False, STDERR: False}
        self._skip = 0
        self.last = ""
        """Stamp of the newest message passed on, "" before the first."""
        self._count = 0

    def resume(self) -> None:
        """A new read starts at `last`: leave out what has been passed on already."""
        self._skip = self._count

    def message(self, stream: int, data: bytes) -> bytes:
        """What of one stamped message (one frame) to pass on; b"" for a repeated one."""
        stamp, _, text = data.partition(b" ")
        instant = stamp.decode("ascii")
        if self._skip and instant == self.last:
            self._skip -= 1
            return b""
        self._skip = 0
        self._count = self._count + 1 if instant == self.last else 1
        self.last = instant
        continued = self._inside[stream]
        self._inside[stream] = not text.endswith(b"\n")
        return data if self._timestamps and not continued else text


def unix_time(stamp: str) -> str:
    """An RFC 3339 nano stamp in UTC ("2026-01-02T03:04:05.123456789Z") as "seconds.nanoseconds" since 1970."""
    whole, _, fraction = stamp.rstrip("Z").partition(".")
    seconds = int(datetime.fromisoformat(whole + "+00:00").timestamp())
    return f"{seconds}.{fraction.ljust(9, '0')[:9]}"

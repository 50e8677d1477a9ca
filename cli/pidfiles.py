"""Which process a pid file names: the pid alone could be another's by now, so its start time is kept beside it."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Running:
    """A process that exists: the pid alone could be another's by now, so its start time (clock ticks) is kept too."""

    pid: int
    started: int


def start_time(pid: int) -> int | None:
    """When the process started, in clock ticks since boot (proc(5), stat field 22); None when there is none, or only
    a zombie of it."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])


def environment_of(running: Running) -> dict[str, str]:
    """What the process was started with (proc(5), environ); nothing when it has ended."""
    try:
        words = Path(f"/proc/{running.pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return {}
    pairs = (word.decode(errors="surrogateescape").partition("=") for word in words if word)
    return {name: value for name, _, value in pairs}


def read_pid(path: Path) -> Running | None:
    """The running process that a pid file names, or None."""
    try:
        pid, started = (int(word) for word in path.read_text().split())
    except (OSError, ValueError):
        return None
    return Running(pid, started) if start_time(pid) == started else None


def await_end(running: Running, seconds: float) -> bool:
    """Wait for the end of somebody else's process; whether it came in time."""
    deadline = time.monotonic() + seconds
    while start_time(running.pid) == running.started:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def end(running: Running, seconds: float) -> None:
    """SIGTERM, and SIGKILL when it has not ended after so many seconds. It may have ended already."""
    with suppress(ProcessLookupError):
        os.kill(running.pid, signal.SIGTERM)
        if not await_end(running, seconds):
            os.kill(running.pid, signal.SIGKILL)


def write_pid(path: Path, pid: int) -> Running:
    """Record a process that was just started."""
    running = Running(pid, start_time(pid) or 0)
    temporary = path.with_suffix(".new")
    temporary.write_text(f"{running.pid} {running.started}\n")
    temporary.replace(path)
    return running

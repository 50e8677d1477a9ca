"""Keeps the processes of a cluster on this machine running: what systemd does on a real node, in one small daemon.

A process that ends is started again: at once, then with a doubling wait up to five seconds. The supervisor holds no
state that matters: killed and started again, it finds its processes by their pid files and watches them as before, so
that its own end ends nothing. SIGTERM stops everything, last started first.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

log = logging.getLogger("covey.supervisor")

FIRST_WAIT = 0.1
LONGEST_WAIT = 5.0
STEADY_SECONDS = 10.0
"""A process that ran this long starts again without waiting."""
STOP_SECONDS = 15.0
LOG_BYTES = 16 * 1024 * 1024
"""A log larger than this is moved to `<name>.log.1` when its process starts, and cut when it grows during the run."""


class ProcessSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One process: its command line, and the environment it gets beside the supervisor's own."""

    name: str
    command: list[str]
    environment: dict[str, str] = {}


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


def read_pid(path: Path) -> Running | None:
    """The running process that a pid file names, or None."""
    try:
        pid, started = (int(word) for word in path.read_text().split())
    except (OSError, ValueError):
        return None
    return Running(pid, started) if start_time(pid) == started else None


def await_end(pid: int, started: int, seconds: float) -> bool:
    """Wait for the end of somebody else's process; whether it came in time."""
    deadline = time.monotonic() + seconds
    while start_time(pid) == started:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def write_pid(path: Path, pid: int) -> Running:
    """Record a process that was just started."""
    running = Running(pid, start_time(pid) or 0)
    temporary = path.with_suffix(".new")
    temporary.write_text(f"{running.pid} {running.started}\n")
    temporary.replace(path)
    return running


@dataclass(slots=True)
class _Keeper:
    """One process and the loop that keeps it running."""

    spec: ProcessSpec
    pid_file: Path
    log_file: Path
    running: Running | None = None
    stopping: asyncio.Event = field(default_factory=asyncio.Event, repr=False)
    task: asyncio.Task[None] | None = field(default=None, repr=False)

    async def keep(self) -> None:
        """Run it, watch it, run it again, until told to stop."""
        loop = asyncio.get_running_loop()
        wait = 0.0
        self.running = read_pid(self.pid_file)
        if self.running:
            log.info("%s: adopted, pid %d", self.spec.name, self.running.pid)
        while not self.stopping.is_set():
            if self.running is None:
                try:
                    self.running = self._start()
                except OSError as error:  # its program is missing, the disk is full, there are too many processes
                    log.error("%s: cannot be started: %s", self.spec.name, error)  # noqa: TRY400 - the words suffice
                    await asyncio.sleep(LONGEST_WAIT)
                    continue
            began = loop.time()
            await _ended(self.running.pid)
            self.running = None
            if self.stopping.is_set():
                return
            wait = 0.0 if loop.time() - began > STEADY_SECONDS else min(max(wait * 2, FIRST_WAIT), LONGEST_WAIT)
            log.warning("%s: ended, starting it again in %.1f s", self.spec.name, wait)
            await asyncio.sleep(wait)

    def _start(self) -> Running:
        if self.log_file.exists() and self.log_file.stat().st_size > LOG_BYTES:
            self.log_file.replace(self.log_file.with_suffix(".log.1"))
        descriptor = os.open(self.log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            pid = os.posix_spawnp(
                self.spec.command[0],
                self.spec.command,
                {**os.environ, **self.spec.environment},
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, descriptor, 1),
                    (os.POSIX_SPAWN_DUP2, descriptor, 2),
                ],
                setsid=True,
            )
        finally:
            os.close(descriptor)
        log.info("%s: started, pid %d", self.spec.name, pid)
        try:
            return write_pid(self.pid_file, pid)
        except OSError as error:
            # It runs, and is watched; only a supervisor after us would not know of it.
            log.error("%s: cannot note its pid: %s", self.spec.name, error)  # noqa: TRY400 - the words suffice
            return Running(pid, start_time(pid) or 0)

    async def stop(self) -> None:
        """SIGTERM, and SIGKILL after `STOP_SECONDS`."""
        self.stopping.set()
        running = self.running
        if running is not None and start_time(running.pid) == running.started:
            with contextlib.suppress(ProcessLookupError):
                os.kill(running.pid, signal.SIGTERM)
            try:
                await asyncio.wait_for(_ended(running.pid), STOP_SECONDS)
            except TimeoutError:
                log.warning("%s: did not stop in %.0f s, killed", self.spec.name, STOP_SECONDS)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(running.pid, signal.SIGKILL)
                await _ended(running.pid)
        if self.task is not None:
            self.task.cancel()
        self.pid_file.unlink(missing_ok=True)


async def _ended(pid: int) -> None:
    """Wait until the process has ended, whoever's child it is, and reap it when it is ours."""
    loop = asyncio.get_running_loop()
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        ended = asyncio.Event()
        loop.add_reader(descriptor, ended.set)
        try:
            await ended.wait()
        finally:
            loop.remove_reader(descriptor)
    finally:
        os.close(descriptor)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)  # noqa: ASYNC222 - it has ended: this only reaps


class Supervisor:
    """Runs the processes listed in `run/processes.json` below `home`; a SIGHUP reads the list again."""

    def __init__(self, home: Path) -> None:
        self._run = home / "run"
        self._logs = home / "logs"
        self._keepers: dict[str, _Keeper] = {}

    async def run(self) -> None:
        """Until SIGTERM or SIGINT; at once where another supervisor is at work. Two would run everything twice."""
        lock = os.open(self._run / "supervisor.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                log.info("another supervisor is at work")
                return
            await self._supervise()
        finally:
            os.close(lock)

    async def _supervise(self) -> None:
        loop = asyncio.get_running_loop()
        stop, again = asyncio.Event(), asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        loop.add_signal_handler(signal.SIGHUP, again.set)
        self._logs.mkdir(parents=True, exist_ok=True)
        write_pid(self._run / "supervisor.pid", os.getpid())
        trimming = loop.create_task(self._trim_logs())
        again.set()
        while not stop.is_set():
            if again.is_set():
                again.clear()
                await self._reconcile()
            waits = [loop.create_task(stop.wait()), loop.create_task(again.wait())]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for wait in waits:
                wait.cancel()
        trimming.cancel()
        for keeper in reversed(self._keepers.values()):
            await keeper.stop()
        (self._run / "supervisor.pid").unlink(missing_ok=True)

    async def _reconcile(self) -> None:
        specs = {s.name: s for s in read_processes(self._run)}
        for name, keeper in list(self._keepers.items()):
            if specs.get(name) != keeper.spec:
                await keeper.stop()
                del self._keepers[name]
        for name, spec in specs.items():
            if name not in self._keepers:
                keeper = _Keeper(spec, self._run / f"{name}.pid", self._logs / f"{name}.log")
                keeper.task = asyncio.get_running_loop().create_task(keeper.keep(), name=name)
                self._keepers[name] = keeper

    async def _trim_logs(self) -> None:
        """Cut logs that outgrow their bound; processes append, so a cut file goes on from its start."""
        while True:
            await asyncio.sleep(30)
            for path in self._logs.glob("*.log"):
                with contextlib.suppress(FileNotFoundError):  # somebody tidied up meanwhile
                    if path.stat().st_size > LOG_BYTES:
                        os.truncate(path, 0)


def read_processes(run: Path) -> list[ProcessSpec]:
    """The processes that should run, in starting order; none when nothing was ever written."""
    path = run / "processes.json"
    return msgspec.json.decode(path.read_bytes(), type=list[ProcessSpec]) if path.exists() else []


def write_processes(run: Path, specs: list[ProcessSpec]) -> None:
    """Say which processes should run; takes effect at the supervisor's start or SIGHUP."""
    run.mkdir(parents=True, exist_ok=True)
    temporary = run / "processes.json.new"
    temporary.write_bytes(msgspec.json.format(msgspec.json.encode(specs), indent=1))
    temporary.replace(run / "processes.json")


def supervisor_pid(home: Path) -> Running | None:
    """The supervisor of this home, if it runs."""
    return read_pid(home / "run" / "supervisor.pid")

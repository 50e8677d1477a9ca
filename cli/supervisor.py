"""Keeps the processes of a cluster on this machine running: what systemd does on a real node, in one small daemon.

A process that ends is started again: at once, and when it keeps ending early with a doubling wait up to five seconds.
The supervisor holds no state that matters: killed and started again, it finds its processes by their pid files and
watches them as before, so that its own end ends nothing. A new process waits at a gate until its pid is written, and
gives up when the supervisor is killed before that: only where the disk is full does one run without a pid file. What a
process was started with stands in its environment: one that was started otherwise than it should now run is ended and
started anew, whoever changed the list and whenever. SIGTERM stops everything, last started first.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import logging
import os
import shutil
import signal
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from cli.pidfiles import Running, environment_of, read_pid, start_time, write_pid
from mesh.durable import update_private
from mesh.errors import Terminal

log = logging.getLogger("covey.supervisor")

FIRST_WAIT = 0.1
"""Seconds before the second early end in a row is made good; each further one waits twice as long."""
LONGEST_WAIT = 5.0
STEADY_SECONDS = 10.0
"""A process that ends before it ran this long has ended early."""
STOP_SECONDS = 15.0
LOG_BYTES = 16 * 1024 * 1024
"""A log larger than this is moved to `<name>.log.1` when its process starts, and cut when it grows during the run."""


class ProcessSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One process: its command line, and the environment it gets beside the supervisor's own."""

    name: str
    command: list[str]
    environment: dict[str, str] = {}


_GATE = ("/bin/sh", "-c", 'read -r open && exec "$0" "$@" </dev/null')
"""What a process waits in: whoever holds the other end of its standard input opens it with a line, or is gone."""


def wait_before_start(early_ends: int) -> float:
    """Seconds to wait with the next start after this many early ends in a row."""
    doublings = min(early_ends - 2, 6)  # enough for the longest
    return 0.0 if doublings < 0 else min(FIRST_WAIT * 2.0**doublings, LONGEST_WAIT)


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
        early_ends = 0
        self.running = read_pid(self.pid_file)
        if self.running and is_as_specified(self.running, self.spec):
            log.info("%s: adopted, pid %d", self.spec.name, self.running.pid)
        elif self.running:
            log.info("%s: pid %d runs with what it should no longer run with, ended", self.spec.name, self.running.pid)
            await self._end(self.running)
            self.running = None
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
            early_ends = 0 if loop.time() - began > STEADY_SECONDS else early_ends + 1
            wait = wait_before_start(early_ends)
            log.warning("%s: ended, starting it again in %.1f s", self.spec.name, wait)
            await asyncio.sleep(wait)

    def _start(self) -> Running:
        if shutil.which(self.spec.command[0]) is None:  # the gate could say so only in the process's own log
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self.spec.command[0])
        if self.log_file.exists() and self.log_file.stat().st_size > LOG_BYTES:
            self.log_file.replace(self.log_file.with_suffix(".log.1"))
        with contextlib.ExitStack() as descriptors:
            gate, opener = os.pipe()
            descriptors.callback(os.close, gate)
            descriptors.callback(os.close, opener)
            output = os.open(self.log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
            descriptors.callback(os.close, output)
            running = self._spawn(gate, output)
            os.write(opener, b"\n")
        log.info("%s: started, pid %d", self.spec.name, running.pid)
        return running

    def _spawn(self, gate: int, output: int) -> Running:
        """The process, waiting at its gate, with its pid written."""
        pid = os.posix_spawn(
            _GATE[0],
            [*_GATE, *self.spec.command],
            {**os.environ, **self.spec.environment},
            file_actions=[
                (os.POSIX_SPAWN_DUP2, gate, 0),
                (os.POSIX_SPAWN_DUP2, output, 1),
                (os.POSIX_SPAWN_DUP2, output, 2),
            ],
            setsid=True,
        )
        try:
            return write_pid(self.pid_file, pid)
        except OSError as error:
            # It runs, and is watched; only a supervisor after us would not know of it.
            log.error("%s: cannot note its pid: %s", self.spec.name, error)  # noqa: TRY400 - the words suffice
            return Running(pid, start_time(pid) or 0)

    async def stop(self) -> None:
        """End the process, and keep it no longer."""
        self.stopping.set()
        running = self.running
        if running is not None and start_time(running.pid) == running.started:
            await self._end(running)
        if self.task is not None:
            self.task.cancel()
        self.pid_file.unlink(missing_ok=True)

    async def _end(self, running: Running) -> None:
        """SIGTERM, and SIGKILL after `STOP_SECONDS`."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(running.pid, signal.SIGTERM)
        try:
            await asyncio.wait_for(_ended(running.pid), STOP_SECONDS)
        except TimeoutError:
            log.warning("%s: did not stop in %.0f s, killed", self.spec.name, STOP_SECONDS)
            with contextlib.suppress(ProcessLookupError):
                os.kill(running.pid, signal.SIGKILL)
            await _ended(running.pid)


def is_as_specified(running: Running, spec: ProcessSpec) -> bool:
    """Whether the process was started with the environment that it should have."""
    return spec.environment.items() <= environment_of(running).items()


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
        try:
            specs = {s.name: s for s in read_processes(self._run)}
        except Terminal as error:
            log.error("%s; everything runs on as it is", error)  # noqa: TRY400 - the words suffice
            return
        changed = [name for name, keeper in self._keepers.items() if specs.get(name) != keeper.spec]
        await asyncio.gather(*(self._keepers.pop(name).stop() for name in changed))
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
    """The processes that should run, in starting order; none when nothing was ever written. `Terminal` when the file
    does not hold such a list."""
    path = run / "processes.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[ProcessSpec]) if path.exists() else []
    except msgspec.DecodeError as error:
        raise Terminal(f"{path} is damaged ({error}). Remove it: covey up writes it anew") from error


def write_processes(run: Path, specs: list[ProcessSpec]) -> None:
    """Say which processes should run; takes effect at the supervisor's start or SIGHUP."""
    run.mkdir(parents=True, exist_ok=True)
    update_private(run / "processes.json", msgspec.json.format(msgspec.json.encode(specs), indent=1))


def supervisor_pid(home: Path) -> Running | None:
    """The supervisor of this home, if it runs."""
    return read_pid(home / "run" / "supervisor.pid")

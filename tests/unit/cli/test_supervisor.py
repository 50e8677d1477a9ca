"""The supervisor as the process it is, with real children (sleep): restart, adoption, stop."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest

from cli.pidfiles import Running, environment_of, read_pid, start_time
from cli.supervisor import LONGEST_WAIT, ProcessSpec, wait_before_start, write_processes

T = TypeVar("T")


def await_(found: Callable[[], T | None]) -> T:
    """What `found` returns once it is true; polled, for at most ten seconds."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        value = found()
        if value:
            return value
        time.sleep(0.01)
    raise AssertionError("waited in vain")


def running(home: Path, name: str, other_than: Running | None = None) -> Running:
    def look() -> Running | None:
        found = read_pid(home / "run" / f"{name}.pid")
        return found if found != other_than else None

    return await_(look)


def run_list(home: Path, *names: str) -> None:
    write_processes(home / "run", [ProcessSpec(name=name, command=["sleep", "1000"]) for name in names])


@contextmanager
def supervising(home: Path) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-m", "cli.process", "supervise", str(home)]) as process:
        try:
            yield process
        finally:
            process.terminate()
            process.wait(20)


def test_a_killed_process_is_started_again_and_sigterm_ends_all(tmp_path: Path) -> None:
    run_list(tmp_path, "a", "b")
    with supervising(tmp_path):
        first, other = running(tmp_path, "a"), running(tmp_path, "b")
        os.kill(first.pid, signal.SIGKILL)
        second = running(tmp_path, "a", other_than=first)
        assert start_time(second.pid) == second.started
    assert start_time(second.pid) is None
    assert start_time(other.pid) is None
    assert not list((tmp_path / "run").glob("*.pid"))


def test_a_second_supervisor_adopts_what_a_killed_one_left(tmp_path: Path) -> None:
    run_list(tmp_path, "a")
    with supervising(tmp_path) as process:
        first = running(tmp_path, "a")
        process.kill()
    assert start_time(first.pid) == first.started
    with supervising(tmp_path) as process:
        await_(lambda: (found := read_pid(tmp_path / "run" / "supervisor.pid")) and found.pid == process.pid)
        assert running(tmp_path, "a") == first
    assert start_time(first.pid) is None


def test_there_is_one_supervisor_of_a_home(tmp_path: Path) -> None:
    run_list(tmp_path, "a")
    with supervising(tmp_path) as process:
        first = running(tmp_path, "a")
        with subprocess.Popen([sys.executable, "-m", "cli.process", "supervise", str(tmp_path)]) as second:
            try:
                assert second.wait(20) == 0
            finally:
                second.kill()
        found = read_pid(tmp_path / "run" / "supervisor.pid")
        assert found is not None
        assert (found.pid, running(tmp_path, "a")) == (process.pid, first)


def test_sighup_follows_a_changed_list(tmp_path: Path) -> None:
    run_list(tmp_path, "a")
    with supervising(tmp_path) as process:
        first = running(tmp_path, "a")
        run_list(tmp_path, "b")
        process.send_signal(signal.SIGHUP)
        running(tmp_path, "b")
        await_(lambda: start_time(first.pid) is None)


def test_what_was_started_otherwise_than_it_should_run_is_started_anew(tmp_path: Path) -> None:
    """As after an `up` that was killed when it had written the list and not yet told the supervisor."""

    def set_to(value: str) -> None:
        spec = ProcessSpec(name="a", command=["sleep", "1000"], environment={"SETTING": value})
        write_processes(tmp_path / "run", [spec])

    set_to("old")
    with supervising(tmp_path) as process:
        first = running(tmp_path, "a")
        process.kill()
    set_to("new")
    with supervising(tmp_path) as process:
        second = running(tmp_path, "a", other_than=first)
        assert start_time(first.pid) is None
        assert environment_of(second)["SETTING"] == "new"
        process.kill()
    with supervising(tmp_path) as process:
        await_(lambda: (found := read_pid(tmp_path / "run" / "supervisor.pid")) and found.pid == process.pid)
        assert running(tmp_path, "a") == second


def test_a_damaged_list_ends_nothing(tmp_path: Path) -> None:
    run_list(tmp_path, "a")
    log = tmp_path / "log"
    with (
        log.open("wb") as output,
        subprocess.Popen([sys.executable, "-m", "cli.process", "supervise", str(tmp_path)], stderr=output) as process,
    ):
        try:
            first = running(tmp_path, "a")
            (tmp_path / "run" / "processes.json").write_text("[")
            process.send_signal(signal.SIGHUP)
            await_(lambda: "everything runs on as it is" in log.read_text())
            assert read_pid(tmp_path / "run" / "a.pid") == first
        finally:
            process.terminate()
            process.wait(20)


def test_a_program_that_is_missing_is_started_once_it_is_there(tmp_path: Path) -> None:
    program = tmp_path / "program"
    write_processes(tmp_path / "run", [ProcessSpec(name="a", command=[str(program), "1000"])])
    log = tmp_path / "log"
    with (
        log.open("wb") as output,
        subprocess.Popen([sys.executable, "-m", "cli.process", "supervise", str(tmp_path)], stderr=output) as process,
    ):
        try:
            await_(lambda: "a: cannot be started" in log.read_text())
            program.symlink_to("/bin/sleep")
            found = running(tmp_path, "a")
        finally:
            process.terminate()
            process.wait(20)
    assert start_time(found.pid) is None


@pytest.mark.parametrize(
    ("early_ends", "seconds"), [(0, 0.0), (1, 0.0), (2, 0.1), (3, 0.2), (5, 0.8), (1000, LONGEST_WAIT)]
)
def test_the_first_end_is_made_good_at_once_and_only_repeated_ones_wait(early_ends: int, seconds: float) -> None:
    assert wait_before_start(early_ends) == seconds


_DIES = """
import asyncio, os, signal, sys
from pathlib import Path
from cli import supervisor
write = supervisor.write_pid
def write_and_die(path, pid):
    if path.name == "a.pid":
        {written}
        os.kill(os.getpid(), signal.SIGKILL)
    return write(path, pid)
supervisor.write_pid = write_and_die
asyncio.run(supervisor.Supervisor(Path(sys.argv[1])).run())
"""


@pytest.mark.parametrize("written", ["pass", "write(path, pid)"], ids=["before its pid is written", "after"])
def test_a_supervisor_killed_while_it_starts_a_process_leaves_none_behind(tmp_path: Path, written: str) -> None:
    started = tmp_path / "started"
    script = f"echo $$ >> {started}; exec sleep 1000"
    write_processes(tmp_path / "run", [ProcessSpec(name="a", command=["sh", "-c", script])])
    killed = subprocess.run(
        [sys.executable, "-c", _DIES.format(written=written), str(tmp_path)], check=False, timeout=20
    )
    assert killed.returncode == -signal.SIGKILL
    with supervising(tmp_path):
        pid = await_(
            lambda: (
                (found := read_pid(tmp_path / "run" / "a.pid"))
                and started.exists()
                and started.read_text()
                and found.pid
            )
        )
        assert started.read_text().split() == [str(pid)]

"""The fence's watchdog among what can go wrong: cgroups that vanish under it, a full disk, its own death."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import Self

import pytest

from agents.node.cgroups.kill import CgroupKiller
from agents.node.fence import FenceFiles, Guarded, boottime, watch
from agents.node.fence_guard import WatchdogFence
from mesh.clock import SystemClock

PODS = Guarded(1.0, {"u": "/covey/podu"})
NOBODY = 2**22 + 1
"""A process id that the kernel does not give out."""


def cgroup(directory: Path, *processes: int) -> Path:
    directory.mkdir(parents=True)
    (directory / "cgroup.procs").write_text("".join(f"{pid}\n" for pid in processes))
    return directory


@pytest.mark.parametrize("look", [1, 2])
def test_killing_survives_cgroups_that_vanish_meanwhile(
    look: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that was there when its parent was looked at for the first, or the second, time."""
    pod = cgroup(tmp_path / "pids/covey/n/podu")
    going = cgroup(pod / "a")
    cgroup(pod / "b", NOBODY)
    scan, looks = os.scandir, 0

    class Scan:
        """What os.scandir returns, and then a directory that it has named is gone."""

        def __init__(self, path: str) -> None:
            nonlocal looks
            with scan(path) as found:
                self._entries = iter(list(found))
            looks += str(path) == str(pod)
            if looks == look and going.exists():
                (going / "cgroup.procs").unlink(missing_ok=True)
                going.rmdir()

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            self.close()

        def __iter__(self) -> Self:
            return self

        def __next__(self) -> os.DirEntry[str]:
            return next(self._entries)

        def close(self) -> None:
            self._entries = iter(())

    monkeypatch.setattr(os, "scandir", Scan)
    assert CgroupKiller(tmp_path).kill("/covey/n/podu")


def test_a_cgroup_that_vanished_before_its_kill_file_was_written(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").touch()
    pod = cgroup(tmp_path / "covey/podu", NOBODY)
    (pod / "cgroup.kill").symlink_to(tmp_path)  # exists, and cannot be written
    assert CgroupKiller(tmp_path).kill("/covey/podu")


class Stage:
    """A killer on whose calls the disk fills up, empties again, and the watchdog is told to end."""

    def __init__(self, files: FenceFiles) -> None:
        self.files = files
        self.calls = 0

    def kill(self, cgroup: str) -> bool:
        self.calls += 1
        if self.calls == 4:
            self.files.lock.unlink()
        return self.calls == 1


def test_the_watchdog_outlives_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = FenceFiles(tmp_path)
    files.write_guarded(Guarded(1.0, {"u": "/covey/podu"}))
    handle = os.open(files.lock, os.O_CREAT | os.O_RDWR)
    write, stage = FenceFiles.write_fenced, Stage(files)

    def write_fenced(self: FenceFiles, uids: Iterable[str]) -> None:
        if stage.calls < 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(self, uids)

    monkeypatch.setattr(FenceFiles, "write_fenced", write_fenced)
    monkeypatch.setattr("time.sleep", lambda _: None)
    try:
        watch(files, stage, handle)
    finally:
        os.close(handle)
    assert files.read_fenced() == {"u"}, "told once there was room"


def test_the_fence_clock_moves_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fence = WatchdogFence(tmp_path, 8.0, SystemClock())
    fence.answered(1.0)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    fence.answered(2.5)
    assert FenceFiles(tmp_path).read_answered() == 2.5


async def test_no_exclusive_pod_starts_while_the_watchdog_cannot_be_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fence = WatchdogFence(tmp_path, 1e9, SystemClock())
    fence.answered(boottime())
    monkeypatch.setattr(fence, "start_watchdog", lambda: None)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(Path, "write_bytes", full)
        fence.guard(PODS)
        assert fence.out_of_touch()
    keeping = asyncio.create_task(fence.keep_watched())
    async with asyncio.timeout(10):
        while fence.out_of_touch():  # noqa: ASYNC110 - over the fence's outside
            await asyncio.sleep(0.01)
    keeping.cancel()
    assert FenceFiles(tmp_path).read_guarded() == PODS


async def test_a_watchdog_that_was_killed_comes_back(tmp_path: Path) -> None:
    files = FenceFiles(tmp_path / "fence")
    fence = WatchdogFence(tmp_path / "fence", 8.0, SystemClock())
    fence.answered(boottime())
    keeping = asyncio.create_task(fence.keep_watched())

    async def watchdog(other_than: int) -> int:
        async with asyncio.timeout(30):
            while True:
                text = files.lock.read_text() if files.watched() else ""
                if text and int(text) != other_than:
                    return int(text)
                await asyncio.sleep(0.05)

    first = await watchdog(0)
    os.kill(first, signal.SIGKILL)
    second = await watchdog(first)
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    os.kill(second, signal.SIGKILL)
    assert fence._watchdog is not None
    fence._watchdog.wait()


def test_a_note_that_is_written_while_another_is_removed_stays(tmp_path: Path) -> None:
    """The watchdog ends a second pod between the agent's look at the first and its forgetting it."""
    watchdog, fence = FenceFiles(tmp_path), WatchdogFence(tmp_path, 8.0, SystemClock())
    watchdog.write_fenced(["a"])
    seen = fence.fenced()
    watchdog.write_fenced(["b"])
    for uid in seen:
        fence.forget(uid)
    assert fence.fenced() == {"b"}

"""The fence: when it falls, and that it kills by cgroup."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from agents.node.fence import NEVER, FenceFiles, Guarded, next_look, overdue
from agents.node.fence_guard import LoopFence
from tests.support.node_world import NodeWorld, make_pod

PODS = Guarded(8.0, {"u": "/covey/c-n/podu"})


@pytest.mark.parametrize(
    ("now", "answered", "guarded", "falls"),
    [
        (107.9, 100.0, PODS, False),
        (108.0, 100.0, PODS, True),
        (108.0, NEVER, PODS, True),
        (1000.0, 100.0, Guarded(8.0, {}), False),
    ],
)
def test_overdue(now: float, answered: float, guarded: Guarded, falls: bool) -> None:
    assert overdue(now, answered, guarded) is falls


def test_it_never_looks_away_past_the_moment_it_may_have_to_act() -> None:
    assert next_look(107.95, 100.0, PODS) == pytest.approx(0.05)
    assert next_look(101.0, 100.0, PODS) == pytest.approx(0.2)


def test_the_files_say_what_was_written(tmp_path: Path) -> None:
    files = FenceFiles(tmp_path / "fence")
    assert (files.read_answered(), files.read_guarded().cgroups, files.read_fenced()) == (NEVER, {}, [])
    files.write_answered(12.5)
    files.write_guarded(PODS)
    files.write_fenced(["b"])
    files.write_fenced(["a"])
    again = FenceFiles(tmp_path / "fence")
    assert (again.read_answered(), again.read_guarded(), again.read_fenced()) == (12.5, PODS, ["a", "b"])
    again.clear_fenced()
    assert again.read_fenced() == []


def test_a_heartbeat_of_an_earlier_boot_does_not_count(tmp_path: Path) -> None:
    files = FenceFiles(tmp_path)
    files.write_answered(12.5)
    files._boot = b"0" * 36
    assert files.read_answered() == NEVER


def test_the_watchdog_notices_that_its_directory_is_gone(tmp_path: Path) -> None:
    files = FenceFiles(tmp_path / "fence")
    handle = os.open(files.lock, os.O_CREAT | os.O_RDWR)
    try:
        assert files.still_locked_by(handle)
        files.lock.unlink()
        assert not files.still_locked_by(handle)
        files.lock.touch()
        assert not files.still_locked_by(handle)
    finally:
        os.close(handle)


@pytest.mark.looptime
async def test_an_exclusive_pod_of_a_node_out_of_touch_ends_and_stays_ended() -> None:
    world = NodeWorld()

    def kill(uids: frozenset[str]) -> frozenset[str]:
        hit = frozenset(c.spec.pod_uid for c in world.runtime._containers.values() if c.spec.pod_uid in uids)
        world.runtime.kill_pods(uids)
        return hit

    world.fence = LoopFence(world.clock, 8.0, kill)
    watching = asyncio.create_task(world.fence.run())
    await world.start()
    try:
        pod = make_pod("only")
        pod["metadata"]["annotations"] = {"covey.dev/exclusive": "true"}
        world.create(pod)
        world.create(make_pod("other"))
        await world.until_phase("Running", "other")
        assert world.pod("only")["status"]["phase"] == "Pending", "no heartbeat has been answered yet"
        world.fence.answered(world.clock.boottime())
        await world.until_phase("Running", "only")
        shown = await world.until_phase("Failed", "only")
        assert shown["status"]["reason"] == "Fenced"
        assert world.pod("other")["status"]["phase"] == "Running"
        world.fence.answered(world.clock.boottime())
        await asyncio.sleep(5)
        assert world.pod("only")["status"]["containerStatuses"][0]["restartCount"] == 0
    finally:
        await world.stop()
        watching.cancel()

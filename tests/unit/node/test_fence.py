"""The fence: when it falls, and that it kills by cgroup."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from agents.node.cgroups.pods import NoCgroups
from agents.node.checkpoints import Checkpoint, MemoryCheckpoints
from agents.node.fence import NEVER, FenceFiles, Guarded, next_look, overdue
from agents.node.fence_guard import LoopFence
from agents.node.fenced_pods import FencedPods
from agents.node.ports import State
from agents.node.workers import Workers
from mesh.client.informer import Informer
from mesh.objects.meta import name_of, uid_of
from mesh.objects.types import Object
from tests.support.node_world import LoopClock, NodeWorld, make_pod

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
    assert (files.read_answered(), files.read_guarded().cgroups, files.read_fenced()) == (NEVER, {}, set())
    files.write_answered(12.5)
    files.write_guarded(PODS)
    files.write_fenced(["b"])
    files.write_fenced(["a"])
    again = FenceFiles(tmp_path / "fence")
    assert (again.read_answered(), again.read_guarded(), again.read_fenced()) == (12.5, PODS, {"a", "b"})
    again.forget_fenced("a")
    again.forget_fenced("a")
    assert files.read_fenced() == {"b"}


def test_a_heartbeat_of_an_earlier_boot_does_not_count(tmp_path: Path) -> None:
    files = FenceFiles(tmp_path)
    files.write_answered(12.5)
    files._boot = b"0" * 36
    assert files.read_answered() == NEVER


@pytest.mark.parametrize("left", [b"", b'{"boot": "', b'{"seconds": 8.0, "cgroups": {}}', b"[]"])
def test_what_a_power_cut_left_guards_nobody(tmp_path: Path, left: bytes) -> None:
    (tmp_path / "guarded").write_bytes(left)
    files = FenceFiles(tmp_path)
    assert files.read_guarded().cgroups == {}
    files.write_guarded(PODS)
    assert files.read_guarded() == PODS


def test_what_an_earlier_boot_guarded_has_ended(tmp_path: Path) -> None:
    files = FenceFiles(tmp_path)
    files.write_guarded(PODS)
    files._boot = b"0" * 36
    assert files.read_guarded().cgroups == {}


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


def kill_in(world: NodeWorld) -> Callable[[frozenset[str]], frozenset[str]]:
    """What a simulated fence does to the containers of the world's node."""

    def kill(uids: frozenset[str]) -> frozenset[str]:
        inside = (c for c in world.runtime._containers.values() if c.status.state is State.RUNNING)
        hit = frozenset(c.spec.pod_uid for c in inside if c.spec.pod_uid in uids)
        world.runtime.kill_pods(uids)
        return hit

    return kill


def exclusive_pod(name: str) -> Object:
    pod = make_pod(name)
    pod["metadata"]["annotations"] = {"covey.dev/exclusive": "true"}
    return pod


@pytest.mark.looptime
async def test_an_exclusive_pod_of_a_node_out_of_touch_ends_and_stays_ended() -> None:
    world = NodeWorld()
    world.fence = LoopFence(world.clock, 8.0, kill_in(world))
    watching = asyncio.create_task(world.fence.run())
    await world.start()
    try:
        world.create(exclusive_pod("only"))
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


class ForgetfulDisk(MemoryCheckpoints):
    """A disk without room for the pod `only`: an agent that starts does not remember it."""

    async def save(self, uid: str, checkpoint: Checkpoint) -> None:
        if name_of(checkpoint.pod) == "only":
            raise OSError(errno.ENOSPC, "No space left on device")
        await super().save(uid, checkpoint)


@pytest.mark.looptime
async def test_a_fenced_pod_stays_fenced_whenever_the_agent_is_killed() -> None:
    """Also when it had taken note, and had not come to write that down."""
    world = NodeWorld()
    world.checkpoints = ForgetfulDisk()
    world.fence = LoopFence(world.clock, 8.0, kill_in(world))
    watching = asyncio.create_task(world.fence.run())
    await world.start()
    try:
        world.fence.answered(world.clock.boottime())
        uid = uid_of(world.create(exclusive_pod("only")))
        await world.until_phase("Running", "only")
        world.transport.down = True
        await world.until(lambda: world.agent.workers[uid].memory.verdict is not None)
        await world.restart()
        world.transport.down = False
        world.fence.answered(world.clock.boottime())
        shown = await world.until_phase("Failed", "only")
        assert shown["status"]["reason"] == "Fenced"
        assert shown["status"]["containerStatuses"][0]["restartCount"] == 0
        world.delete("only")
        await world.until(lambda: not world.exists("only") and world.fence is not None and not world.fence.fenced())
    finally:
        await world.stop()
        watching.cancel()


@pytest.mark.looptime
async def test_a_pod_that_the_agent_does_not_remember_is_fenced_all_the_same() -> None:
    """It runs; the agent was restarted with no broker in reach, and knows of another pod only."""
    world = NodeWorld()
    world.checkpoints = ForgetfulDisk()
    world.fence = LoopFence(world.clock, 8.0, kill_in(world))
    watching = asyncio.create_task(world.fence.run())
    await world.start()
    try:
        world.fence.answered(world.clock.boottime())
        uid = uid_of(world.create(exclusive_pod("only")))
        world.create(exclusive_pod("other"))
        for name in ("only", "other"):
            await world.until_phase("Running", name)
        await world.until(lambda: len(world.checkpoints.load()) == 1)
        world.transport.down = True
        await world.restart()
        await world.until(lambda: len(world.agent.workers) == 1)
        await world.until(lambda: world.fence is not None and uid in world.fence.fenced())
    finally:
        await world.stop()
        watching.cancel()


class Heard:
    """An informer that has read the API, in which there is no pod."""

    has_synced = True

    def list(self) -> list[Object]:
        return []


class Stubborn(LoopFence):
    """A fence whose notes cannot be removed at first."""

    refusals = 2

    def forget(self, uid: str) -> None:
        if self.refusals:
            self.refusals -= 1
            raise OSError(errno.EROFS, "Read-only file system")
        super().forget(uid)


def fenced_pods(fence: LoopFence) -> FencedPods:
    return FencedPods(fence, 8.0, Workers(), NoCgroups(), cast("Informer", Heard()))


@pytest.mark.looptime
async def test_what_an_earlier_agent_guarded_is_guarded_until_every_pod_has_its_worker() -> None:
    """The informer may have heard of all pods before any of them has."""
    fence = LoopFence(LoopClock(), 8.0, frozenset)
    fence.guard(PODS)
    pods = fenced_pods(fence)
    pods.guard()
    assert fence.guarded() == PODS
    pods.settle()
    assert fence.guarded().cgroups == {}


@pytest.mark.looptime
async def test_a_note_that_cannot_be_removed_is_tried_again() -> None:
    fence = Stubborn(LoopClock(), 8.0, frozenset)
    fence._fenced.add("u")
    running = asyncio.create_task(fenced_pods(fence).run())
    await asyncio.sleep(5)
    assert not running.done()
    running.cancel()
    assert fence.fenced() == frozenset()

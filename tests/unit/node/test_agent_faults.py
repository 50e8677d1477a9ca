"""A node agent when what it stands on fails, or when others do what they should not."""

from __future__ import annotations

import asyncio
import base64
import errno
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import orjson
import pytest

from agents.main import begin_warming
from agents.node.checkpoints import Checkpoint, DiskCheckpoints, MemoryCheckpoints
from agents.node.files_memory import MemoryFiles
from agents.node.keeper import CheckpointKeeper
from agents.node.network_port import NetworkFailure
from agents.node.objects import ReferencedObjects
from agents.node.ports import ContainerStatus, RuntimeAway, SandboxSpec, State
from agents.node.runtimes.docker import DockerRuntime
from agents.node.runtimes.fake import FakeRuntime
from agents.node.runtimes.fake_policy import Behaviour, Policy
from agents.node.termination_message import last_words
from mesh.api.port import Request, WatchEvent
from mesh.objects.kinds import PODS, SECRETS, SERVICES
from mesh.objects.meta import Key, uid_of
from tests.support.node_world import Addresses, LoopClock, NodeTransport, NodeWorld, make_pod, node_world, state_of

pytestmark = pytest.mark.looptime


class FullDisk(MemoryCheckpoints):
    """A disk without room while `full`."""

    full = True

    async def save(self, uid: str, checkpoint: Checkpoint) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        await super().save(uid, checkpoint)


async def test_a_full_disk_does_not_stop_the_node() -> None:
    world = NodeWorld()
    disk = world.checkpoints = FullDisk()
    await world.start()
    try:
        world.create(make_pod())
        await world.until_phase("Running")
        assert disk.load() == {}
        disk.full = False
        uid = uid_of(world.pod())
        await world.until(lambda: disk.load().keys() == {uid})
        assert disk.load()[uid].pod["status"]["phase"] == "Running", "the newest, not the first that failed"
    finally:
        await world.stop()


async def test_the_status_writer_forgets_pods_that_are_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when the news of a deletion comes after the answer to it."""
    watch = NodeTransport.watch

    async def late(self: NodeTransport, request: Request) -> AsyncIterator[WatchEvent]:
        async for event in watch(self, request):
            if event.type == "DELETED":
                await asyncio.sleep(1)
            yield event

    monkeypatch.setattr(NodeTransport, "watch", late)
    async with node_world() as world:
        for _ in range(3):
            world.create(make_pod())
            await world.until_phase("Running")
            world.delete()
            await world.until(lambda: not world.exists() and not world.agent.workers)
        writer = world.agent._status
        await world.until(lambda: not (writer._shown or writer._wanted or writer._tasks))


async def test_how_a_container_ended_stays_known_while_a_finalizer_holds_its_pod() -> None:
    async with node_world(Policy(behave=lambda _: Behaviour(runs=1, exit_code=7))) as world:
        pod = make_pod(restartPolicy="Never")
        pod["metadata"]["finalizers"] = ["example.com/hold"]
        world.create(pod)
        await world.until_phase("Failed")
        ended = state_of(world.pod())
        world.delete()
        await world.until(lambda: not world.agent.workers)
        assert await world.runtime.containers() == []
        world.model.patch(PODS, Key("default", "p"), {"metadata": {"labels": {"a": "b"}}})
        await asyncio.sleep(5)
        assert state_of(world.pod()) == ended
        assert ended["terminated"]["exitCode"] == 7


class StuckFiles(MemoryFiles):
    """A pod directory that cannot be removed while `stuck`."""

    stuck = True

    async def remove(self, uid: str) -> None:
        if self.stuck and uid == "old":
            raise OSError(errno.EBUSY, "Device or resource busy")
        await super().remove(uid)


async def test_a_directory_that_cannot_be_removed_does_not_stop_the_node() -> None:
    world = NodeWorld()
    files = world.files = StuckFiles()
    files.write("old", "hosts", "")
    await world.start()
    try:
        world.create(make_pod())
        await world.until_phase("Running")
        files.stuck = False
        await world.until(lambda: "old" not in files.pods(), within=200)
    finally:
        await world.stop()


async def test_what_belongs_to_nobody_is_found_while_the_agent_runs() -> None:
    """A container whose creation was abandoned may come into being after its pod has gone."""
    async with node_world() as world:
        world.create(make_pod())
        await world.until_phase("Running")
        await world.runtime.create_sandbox(SandboxSpec("late", "default", "late"))
        await world.until(lambda: len(world.runtime._sandboxes) == 1, within=200)
        assert state_of(world.pod()).keys() == {"running"}, "and nobody else's is touched"


@pytest.mark.parametrize(
    "content",
    [
        b'{"auths": {"docker.io": {"auth": "no base64!"}}}',
        b'{"auths": {"docker.io": {"auth": "/w=="}}}',
        b'{"auths": {"docker.io": "user"}}',
        b'{"auths": ["docker.io"]}',
        b"[]",
    ],
)
async def test_a_pull_secret_that_makes_no_sense_is_as_none(content: bytes) -> None:
    async with node_world(Policy(missing_images=frozenset({"web:1"}))) as world:
        data = {".dockerconfigjson": base64.b64encode(content).decode()}
        world.model.create(SECRETS, {"metadata": {"name": "s", "namespace": "default"}, "data": data})
        world.create(make_pod(imagePullSecrets=[{"name": "s"}]))
        await world.until(lambda: state_of(world.pod()).get("waiting", {}).get("reason") == "ErrImagePull")
        assert world.model.get(SECRETS, Key("default", "s"))


class StuckNetwork(Addresses):
    """Nothing of an earlier agent's can be given back."""

    async def retain(self, sandbox_ids: frozenset[str]) -> None:
        raise NetworkFailure("No space left on device")


async def test_an_agent_starts_although_addresses_cannot_be_given_back() -> None:
    world = NodeWorld()
    world.network = StuckNetwork()
    await world.start()
    try:
        world.create(make_pod())
        await world.until_phase("Running")
    finally:
        await world.stop()


class Talkative(FakeRuntime):
    """Containers whose last lines are very long."""

    async def logs(self, *args: Any, **more: Any) -> AsyncIterator[tuple[int, bytes]]:
        for number in range(64):
            yield 1, bytes([number]) * (1 << 20)


async def test_last_words_take_little_memory() -> None:
    container = {"name": "a", "terminationMessagePolicy": "FallbackToLogsOnError"}
    ended = ContainerStatus("c", "s", "u", "a", 0, State.EXITED, "i", "i", exit_code=1)
    tracemalloc.start()
    try:
        words = await last_words(MemoryFiles(), Talkative(LoopClock()), "u", container, ended)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert words == "?" * 2048
    assert peak < 8 << 20


async def test_a_container_restarted_with_no_broker_in_reach_knows_the_services() -> None:
    async with node_world(Policy(behave=lambda _: Behaviour(runs=30))) as world:
        for name, namespace, address in (
            ("kubernetes", "default", "10.96.0.1"),
            ("db", "default", "10.96.0.7"),
            ("far", "other", "10.96.0.8"),
            ("headless", "default", "None"),
        ):
            spec = {"clusterIP": address, "ports": [{"name": "sql", "port": 5432, "targetPort": 1}], "selector": {}}
            world.model.create(SERVICES, {"metadata": {"name": name, "namespace": namespace}, "spec": spec})
        world.create(make_pod())
        await world.until_phase("Running")
        before = dict(newest(world).spec.environment)
        assert {before["KUBERNETES_SERVICE_HOST"], before["DB_SERVICE_HOST"]} == {"10.96.0.1", "10.96.0.7"}
        await world.until(lambda: len(world.checkpoints.load_node("services") or ()) == 3, within=20)
        world.transport.down = True
        await world.restart()
        await world.until(lambda: newest(world).spec.attempt == 1)
        assert dict(newest(world).spec.environment) == before


def newest(world: NodeWorld) -> Any:
    """The container that was made last."""
    return list(world.runtime._containers.values())[-1]


class Stubborn(MemoryCheckpoints):
    """A disk that refuses one name for ever."""

    async def save_node(self, name: str, value: Any) -> None:
        if name == "refused":
            raise OSError(errno.EIO, "Input/output error")
        if name == "no JSON":
            orjson.dumps(value)
        await super().save_node(name, value)


@pytest.mark.parametrize(("name", "value"), [("refused", 1), ("no JSON", object())])
async def test_what_cannot_be_written_keeps_nothing_else_from_the_disk(name: str, value: object) -> None:
    disk = Stubborn()
    keeper = CheckpointKeeper(disk, cast("ReferencedObjects", None))
    keeper.note("first", 0)
    keeper.note(name, value)
    running = asyncio.create_task(keeper.run())
    for number in range(1, 20):
        keeper.note(f"later {number}", number)
        await asyncio.sleep(1)
    assert not running.done()
    running.cancel()
    assert disk.load_node("first") == 0
    assert disk.load_node("later 10") == 10


def modes_below(directory: Path) -> dict[str, int]:
    return {str(path.relative_to(directory)): path.stat().st_mode & 0o777 for path in directory.rglob("*")}


async def test_secrets_on_disk_are_for_their_owner_alone(tmp_path: Path) -> None:
    old = tmp_path / "checkpoints/node"
    old.mkdir(parents=True)
    old.parent.chmod(0o755)
    (old / ".images.json.0123abcd").touch()  # a writer was killed
    disk = DiskCheckpoints(tmp_path / "checkpoints")
    await disk.save("u", Checkpoint(make_pod()))
    await disk.save_node("images", [])
    assert modes_below(tmp_path) == {
        "checkpoints": 0o700,
        "checkpoints/u.json": 0o600,
        "checkpoints/node": 0o700,
        "checkpoints/node/images.json": 0o600,
    }


async def test_what_a_node_keeps_on_disk(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    disk = DiskCheckpoints(tmp_path / "checkpoints")
    assert disk.load_node("images") is None
    await disk.save("u", Checkpoint(make_pod()))
    await disk.save_node("images", ["a"])
    await disk.save_node("services", [])
    again = DiskCheckpoints(tmp_path / "checkpoints")
    assert (again.load_node("images"), again.load_node("services"), set(again.load())) == (["a"], [], {"u"})
    (tmp_path / "checkpoints/node/images.json").write_text("half of")
    assert again.load_node("images") is None
    assert "checkpoint.unreadable file=images.json" in caplog.text


class Late:
    """A runtime that is away when it is told to keep sandboxes warm, and later is not."""

    def __init__(self) -> None:
        self.answers: list[Exception | None] = [RuntimeAway("RuntimeAway", "Is it running?"), OSError("full"), None]

    async def keep_warm(self, network: Addresses, count: int) -> None:
        if (failure := self.answers.pop(0)) is not None:
            raise failure


async def test_a_daemon_that_is_away_does_not_end_the_agent_when_warm_sandboxes_are_to_be_made() -> None:
    late = Late()
    async with asyncio.timeout(60):
        await begin_warming(cast("DockerRuntime", late), Addresses(), NodeWorld().config)
    assert late.answers == []

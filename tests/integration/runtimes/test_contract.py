"""The contract of `agents.node.ports.Runtime`: the fake and the real Docker pass the same tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import timedelta
from pathlib import Path

import pytest

from agents.node.ports import ContainerSpec, ContainerStatus, Runtime, RuntimeFailure, SandboxSpec, State
from agents.node.runtimes.fake import FakeRuntime
from agents.node.runtimes.fake_policy import Behaviour, Policy
from mesh.clock import SystemClock
from tests.support.docker import Pod, docker_runtime, drained, output, own_cluster

FOREVER = "trap 'exit 0' TERM; while true; do sleep 0.05; done"
STUBBORN = "trap '' TERM; while true; do sleep 0.05; done"
SPEAKS = "echo one; echo two"

FAKE_PROGRAMS = {
    FOREVER: Behaviour(),
    STUBBORN: Behaviour(stop_delay=1000),
    SPEAKS: Behaviour(runs=0, output=b"one\ntwo\n"),
    "exit 3": Behaviour(runs=0, exit_code=3),
}
MISSING = "no-such-program"


def behave(spec: ContainerSpec) -> Behaviour:
    assert spec.command is not None
    if spec.command == (MISSING,):
        return Behaviour(start_error=f'exec: "{MISSING}": executable file not found in $PATH')
    return FAKE_PROGRAMS[spec.command[-1]]


@pytest.fixture(params=["fake", pytest.param("docker", marks=pytest.mark.docker)])
async def runtime(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Runtime]:
    if request.param == "fake":
        yield FakeRuntime(SystemClock(), Policy(behave=behave))
        return
    with own_cluster() as cluster:
        async with docker_runtime(cluster, tmp_path) as real:
            yield real


async def status(runtime: Runtime, container_id: str) -> ContainerStatus:
    return next(c for c in await runtime.containers() if c.id == container_id)


async def ended(runtime: Runtime, container_id: str) -> ContainerStatus:
    async with asyncio.timeout(30):
        async with aclosing(runtime.events()) as events:  # type: ignore[type-var]
            async for _ in events:
                if (found := await status(runtime, container_id)).state is State.EXITED:
                    return found
    raise AssertionError("the events ended")


async def test_a_sandbox_is_found_again(runtime: Runtime) -> None:
    pod = await Pod.make(runtime, labels={"dev.example/color": "blue"})
    assert pod.sandbox.state is State.RUNNING
    assert pod.sandbox.pid > 0
    (found,) = await runtime.sandboxes()
    assert (found.id, found.pod_uid, found.netns) == (pod.sandbox.id, pod.uid, pod.sandbox.netns)
    assert found.labels["dev.example/color"] == "blue"


async def test_the_same_sandbox_twice_is_one(runtime: Runtime) -> None:
    spec = SandboxSpec("uid-1", "default", "web")
    first = await runtime.create_sandbox(spec)
    assert (await runtime.create_sandbox(spec)).id == first.id


async def test_removing_a_sandbox_kills_what_runs_in_it(runtime: Runtime) -> None:
    pod = await Pod.make(runtime)
    container = await pod.sh(FOREVER)
    await runtime.remove_sandbox(pod.sandbox.id)
    await runtime.remove_sandbox(pod.sandbox.id)
    assert await runtime.sandboxes() == []
    killed = await ended(runtime, container)
    assert (killed.exit_code, killed.signal) == (137, 9)


async def test_a_container_goes_through_its_life(runtime: Runtime) -> None:
    pod = await Pod.make(runtime)
    container = await runtime.create_container(pod.spec("sh", "-c", FOREVER, attempt=2))
    new = await status(runtime, container)
    assert (new.state, new.pod_uid, new.name, new.attempt) == (State.CREATED, pod.uid, "main", 2)
    assert (new.sandbox_id, new.image_id, new.started_at) == (pod.sandbox.id, pod.image.id, None)

    await runtime.start_container(container)
    await runtime.start_container(container)
    running = await status(runtime, container)
    assert running.state is State.RUNNING
    assert running.pid > 0
    assert running.started_at is not None
    assert running.finished_at is None

    await runtime.stop_container(container, grace_seconds=30)
    over = await status(runtime, container)
    assert (over.state, over.exit_code, over.signal, over.pid) == (State.EXITED, 0, 0, 0)
    assert over.finished_at is not None
    assert over.finished_at >= running.started_at

    await runtime.remove_container(container)
    await runtime.remove_container(container)
    assert await runtime.containers() == []


async def test_containers_of_one_pod(runtime: Runtime) -> None:
    pods = [await Pod.make(runtime), await Pod.make(runtime)]
    ids = [await runtime.create_container(pod.spec("sh", "-c", FOREVER)) for pod in pods]
    assert [c.id for c in await runtime.containers(pods[0].uid)] == ids[:1]
    assert {c.id for c in await runtime.containers()} == set(ids)


async def test_the_same_container_twice_is_one(runtime: Runtime) -> None:
    pod = await Pod.make(runtime)
    spec = pod.spec("sh", "-c", FOREVER)
    assert await runtime.create_container(spec) == await runtime.create_container(spec)


async def test_exit_codes(runtime: Runtime) -> None:
    pod = await Pod.make(runtime)
    over = await ended(runtime, await pod.sh("exit 3"))
    assert (over.exit_code, over.signal, over.oom_killed, over.message) == (3, 0, False, "")


async def test_a_stubborn_container_is_killed(runtime: Runtime) -> None:
    pod = await Pod.make(runtime)
    container = await pod.sh(STUBBORN)
    await runtime.stop_container(container, grace_seconds=0.1)
    over = await status(runtime, container)
    assert (over.state, over.exit_code, over.signal) == (State.EXITED, 137, 9)


async def test_stopping_what_does_not_run_is_fine(runtime: Runtime) -> None:
    pod = await Pod.make(runtime)
    container = await pod.sh("exit 3")
    await ended(runtime, container)
    await runtime.stop_container(container, grace_seconds=1)
    await runtime.stop_container("0123456789ab", grace_seconds=1)


async def test_a_running_container_is_not_removed(runtime: Runtime) -> None:
    pod = await Pod.make(runtime)
    container = await pod.sh(FOREVER)
    with pytest.raises(RuntimeFailure, match="running"):
        await runtime.remove_container(container)


async def test_a_command_that_is_not_there(runtime: Runtime) -> None:
    pod = await Pod.make(runtime)
    container = await runtime.create_container(pod.spec(MISSING))
    with pytest.raises(RuntimeFailure) as caught:
        await runtime.start_container(container)
    assert caught.value.reason == "RunContainerError"
    over = await status(runtime, container)
    assert (over.state, over.exit_code, over.started_at) == (State.EXITED, 128, None)
    assert over.message == caught.value.message
    assert f'exec: "{MISSING}": executable file not found in $PATH' in over.message


async def test_logs(runtime: Runtime) -> None:
    pod = await Pod.make(runtime)
    container = await pod.sh(SPEAKS)
    assert await output(runtime, container) == (b"one\ntwo\n", b"")
    assert await output(runtime, container, follow=False) == (b"one\ntwo\n", b"")

    over = await ended(runtime, container)
    assert over.finished_at is not None
    for tail, since, expected in (
        (1, None, b"two\n"),
        (0, None, b""),
        (5, None, b"one\ntwo\n"),
        (None, over.finished_at + timedelta(hours=1), b""),
        (None, over.finished_at - timedelta(hours=1), b"one\ntwo\n"),
    ):
        pieces = runtime.logs(container, follow=False, tail=tail, since=since, timestamps=False)
        assert b"".join([data async for _, data in pieces]) == expected, (tail, since)

    pieces = runtime.logs(container, follow=False, tail=None, since=None, timestamps=True)
    lines = b"".join([data async for _, data in pieces]).decode().splitlines()
    assert [line.split(" ", 1)[1] for line in lines] == ["one", "two"]
    assert all(len(line.split(" ")[0]) == len("2026-01-02T03:04:05.123456789Z") for line in lines)


async def test_events_are_doorbells(runtime: Runtime) -> None:
    pod = await Pod.make(runtime)
    async with aclosing(runtime.events()) as events, asyncio.timeout(30):  # type: ignore[type-var]
        assert (await anext(events)).pod_uid == ""
        container = await pod.sh("exit 3")
        while True:
            event = await anext(events)
            assert (event.pod_uid, event.container_id) == (pod.uid, container)
            if (await status(runtime, container)).state is State.EXITED:
                break
        await runtime.remove_sandbox(pod.sandbox.id)
        async for event in events:
            assert event.pod_uid == pod.uid
            if event.container_id == pod.sandbox.id:
                break


async def test_images(runtime: Runtime) -> None:
    pod = await Pod.make(runtime)
    present = await runtime.image("covey/busybox:1")
    assert present == await runtime.image(pod.image.id)
    assert present is not None
    assert present.id in {image.id for image in await runtime.images()}
    assert present.size_bytes > 0
    assert await runtime.image("covey/never-heard-of:1") is None
    with pytest.raises(RuntimeFailure, match="couldn't parse image name") as caught:
        await runtime.image("UPPER case")
    assert caught.value.reason == "InvalidImageName"


async def test_an_image_in_use_is_not_removed(runtime: Runtime) -> None:
    pod = await Pod.make(runtime)
    await pod.sh(FOREVER)
    with pytest.raises(RuntimeFailure, match="conflict"):
        await runtime.remove_image(pod.image.id)


async def test_a_container_of_an_image_that_is_gone(runtime: Runtime) -> None:
    pod = await Pod.make(runtime)
    with pytest.raises(RuntimeFailure, match="No such image") as caught:
        await runtime.create_container(pod.spec("sh", image="sha256:" + "0" * 64))
    assert caught.value.reason == "CreateContainerError"


@pytest.mark.parametrize(
    ("command", "expected", "code"),
    [
        (["true"], b"", 0),
        (["false"], b"", 1),
        (["echo", "a", "b"], b"a b\n", 0),
        (["sh", "-c", "exit 7"], b"", 7),
    ],
)
async def test_exec(runtime: Runtime, command: list[str], expected: bytes, code: int) -> None:
    pod = await Pod.make(runtime)
    container = await pod.sh(FOREVER)
    process = await runtime.exec(container, command, tty=False, stdin=False)
    assert await drained(process) == (expected, b"", code)


async def test_exec_with_input(runtime: Runtime) -> None:
    pod = await Pod.make(runtime)
    container = await pod.sh(FOREVER)
    process = await runtime.exec(container, ["cat"], tty=False, stdin=True)
    await process.write(b"hello ")
    assert await process.read() == (1, b"hello ")
    await process.write(b"world")
    await process.close_stdin()
    assert await drained(process) == (b"world", b"", 0)


async def test_exec_of_a_command_that_is_not_there(runtime: Runtime) -> None:
    pod = await Pod.make(runtime)
    container = await pod.sh(FOREVER)
    said, _, code = await drained(await runtime.exec(container, [MISSING], tty=False, stdin=False))
    assert b"executable file not found in $PATH" in said
    assert code == 126


async def test_exec_needs_a_running_container(runtime: Runtime) -> None:
    pod = await Pod.make(runtime)
    container = await pod.sh("exit 3")
    await ended(runtime, container)
    with pytest.raises(RuntimeFailure) as caught:
        await runtime.exec(container, ["true"], tty=False, stdin=False)
    assert caught.value.reason == "ExecError"


async def test_an_attachment_ends_with_its_container(runtime: Runtime) -> None:
    pod = await Pod.make(runtime)
    container = await pod.sh(FOREVER)
    process = await runtime.attach(container, stdin=False)
    await runtime.stop_container(container, grace_seconds=30)
    assert await drained(process) == (b"", b"", 0)


async def test_dial_where_nobody_listens(runtime: Runtime) -> None:
    pod = await Pod.make(runtime)
    with pytest.raises(RuntimeFailure, match="connection refused"):
        await runtime.dial(pod.sandbox.id, 8080)


async def test_stats(runtime: Runtime) -> None:
    pod = await Pod.make(runtime)
    container = await pod.sh(FOREVER)
    first = await runtime.stats(container)
    second = await runtime.stats(container)
    assert second.cpu_ns >= first.cpu_ns
    assert second.at >= first.at
    assert first.memory_bytes > 0

"""A node agent whose container runtime answers what it should not, or which falls over its own feet."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest

from agents.node.image_room import LOOK_SECONDS, keep_room
from agents.node.images import Images
from agents.node.machine import Pressure
from agents.node.ports import UNSUPPORTED, Runtime, RuntimeAway, RuntimeEvent, RuntimeFailure, RuntimeInfo
from agents.node.runtime_watch import RuntimeWatch
from agents.node.runtimes.docker import DockerRuntime, DockerSettings
from agents.node.runtimes.engine import Engine, Refused
from agents.node.worker import PodWorker
from agents.node.workers import PAUSE_SECONDS, Workers
from tests.support.node_world import make_pod

pytestmark = pytest.mark.looptime
INFO = RuntimeInfo("docker", "1", "cgroupfs")


class Starting:
    """A runtime that first answers with these failures."""

    def __init__(self, *failures: RuntimeFailure) -> None:
        self.failures = list(failures)

    async def info(self) -> RuntimeInfo:
        if self.failures:
            raise self.failures.pop(0)
        return INFO


async def test_a_runtime_that_is_starting_is_waited_for() -> None:
    starting = Starting(Refused(500, "layer does not exist"), RuntimeAway("RuntimeAway", "Is it running?"))
    watch = RuntimeWatch("n1", cast("Runtime", starting), Workers())
    assert await watch.info() == INFO


async def test_a_runtime_that_cannot_serve_is_not() -> None:
    watch = RuntimeWatch("n1", cast("Runtime", Starting(RuntimeFailure(UNSUPPORTED, "rootless"))), Workers())
    with pytest.raises(RuntimeFailure, match="rootless"):
        await watch.info()


class Stream:
    """A daemon's event stream."""

    def __init__(self, *lines: bytes) -> None:
        self._lines = lines

    @contextlib.asynccontextmanager
    async def stream(self, *_: object, **__: object) -> AsyncIterator[AsyncIterator[bytes]]:
        yield self._read()

    async def _read(self) -> AsyncIterator[bytes]:
        for line in self._lines:
            yield line


async def test_half_an_event_is_the_end_of_the_stream(tmp_path: Path) -> None:
    runtime = DockerRuntime(DockerSettings("c", "n1", tmp_path))
    whole = b'{"Actor": {"ID": "1", "Attributes": {"dev.covey.pod-uid": "u"}}}\n'
    runtime._engine = cast("Engine", Stream(whole, b"\n", whole[:30]))
    events = runtime.events()
    seen = [await anext(events), await anext(events)]
    assert seen == [RuntimeEvent("", ""), RuntimeEvent("u", "1")]
    with pytest.raises(RuntimeAway, match="no JSON"):
        await anext(events)


class Faulty:
    """A worker that falls whenever it works."""

    uid = "u"
    pod = make_pod()

    def __init__(self) -> None:
        self.runs = 0

    async def run(self) -> None:
        self.runs += 1
        raise KeyError("a fault of ours")

    def ring_runtime(self) -> None:
        pass


async def test_a_worker_that_fell_works_again_but_not_once_the_agent_has_ended() -> None:
    workers, faulty = Workers(), Faulty()
    workers.start(cast("PodWorker", faulty))
    await asyncio.sleep(PAUSE_SECONDS * 1.5)
    assert faulty.runs == 2
    await workers.close()
    await asyncio.sleep(PAUSE_SECONDS * 3)
    assert faulty.runs == 2


class Collected:
    """Counts how often room was to be made."""

    times = 0

    async def collect(self, _free_enough: object) -> None:
        self.times += 1


async def test_a_disk_that_cannot_be_asked_does_not_end_the_agent() -> None:
    answers: list[Any] = [OSError("Input/output error"), Pressure(1, 1, 100, 1, 100)]

    def pressure() -> Pressure:
        answer = answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return cast("Pressure", answer)

    images = Collected()
    keeping = asyncio.create_task(keep_room(cast("Images", images), pressure))
    await asyncio.sleep(2.5 * LOOK_SECONDS)
    assert not keeping.done()
    assert images.times == 1
    keeping.cancel()

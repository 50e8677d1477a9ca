"""Warm sandboxes: used, refilled, adopted, never used twice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from agents.node.network_port import NetworkFailure, PodAddresses
from agents.node.ports import SandboxSpec, State
from agents.node.runtimes.docker import DockerRuntime
from agents.node.sysctls import NONE
from tests.integration.runtimes.test_contract import FOREVER
from tests.support.docker import Pod, docker_runtime, output, sdk

pytestmark = pytest.mark.docker


class Wires:
    """A pod network that only remembers which sandboxes it has wired."""

    def __init__(self) -> None:
        self.attached: dict[str, str] = {}
        self.changed = asyncio.Condition()

    async def attach(self, sandbox_id: str, netns: str, sysctls: Mapping[str, str] = NONE) -> PodAddresses:
        assert not sysctls, "the pool knows no pod"
        async with self.changed:
            self.attached[sandbox_id] = netns
            self.changed.notify_all()
        return PodAddresses(("10.64.0.9",))

    async def detach(self, sandbox_id: str) -> None:
        async with self.changed:
            self.attached.pop(sandbox_id, None)
            self.changed.notify_all()

    async def retain(self, sandbox_ids: frozenset[str]) -> None:
        raise NotImplementedError

    async def until(self, holds: Callable[[dict[str, str]], bool]) -> None:
        async with asyncio.timeout(30), self.changed:
            await self.changed.wait_for(lambda: holds(self.attached))


async def warm_ones(runtime: DockerRuntime) -> set[str]:
    return {s.id for s in await runtime.sandboxes() if not s.pod_uid}


async def test_a_warm_sandbox_serves_a_pod_and_is_replaced(runtime: DockerRuntime) -> None:
    wires = Wires()
    await runtime.keep_warm(wires, 1)
    await wires.until(lambda attached: len(attached) == 1)
    (warm,) = await warm_ones(runtime)

    pod = await Pod.make(runtime, "web-7", labels={"dev.example/color": "blue"})
    assert pod.sandbox.id == warm
    (found,) = [s for s in await runtime.sandboxes() if s.pod_uid]
    assert (found.id, found.pod_uid, found.labels["dev.covey.pod-name"]) == (warm, pod.uid, "web")
    assert found.labels["dev.example/color"] == "blue"
    assert (await output(runtime, await pod.sh("hostname; echo $HOSTNAME")))[0] == b"web-7\nweb-7\n"

    await wires.until(lambda attached: len(attached) == 2)
    assert await warm_ones(runtime) == wires.attached.keys() - {warm}
    assert (await Pod.make(runtime)).sandbox.id in wires.attached


async def test_the_same_pod_gets_the_same_warm_sandbox(runtime: DockerRuntime) -> None:
    wires = Wires()
    await runtime.keep_warm(wires, 2)
    await wires.until(lambda attached: len(attached) == 2)
    spec = SandboxSpec("uid-1", "default", "web")
    first = await runtime.create_sandbox(spec)
    assert (await runtime.create_sandbox(spec)).id == first.id


async def test_what_asks_for_more_gets_a_cold_one(runtime: DockerRuntime) -> None:
    wires = Wires()
    await runtime.keep_warm(wires, 1)
    await wires.until(lambda attached: len(attached) == 1)
    pod = await Pod.make(runtime, sysctls={"kernel.shm_rmid_forced": "1"})
    assert pod.sandbox.id not in wires.attached
    assert (await output(runtime, await pod.sh("cat /proc/sys/kernel/shm_rmid_forced")))[0] == b"1\n"


async def test_sysctls_of_the_network_do_not_ask_for_more(runtime: DockerRuntime) -> None:
    """They are set by the pod network when it wires the sandbox for its pod."""
    wires = Wires()
    await runtime.keep_warm(wires, 1)
    await wires.until(lambda attached: len(attached) == 1)
    pod = await Pod.make(runtime, sysctls={"net.ipv4.ip_default_ttl": "32"})
    assert pod.sandbox.id in wires.attached


async def test_a_new_agent_adopts_warm_and_claimed_sandboxes(
    cluster: str, runtime: DockerRuntime, tmp_path: Path
) -> None:
    wires = Wires()
    await runtime.keep_warm(wires, 2)
    await wires.until(lambda attached: len(attached) == 2)
    pod = await Pod.make(runtime)
    assert pod.sandbox.id in wires.attached
    await runtime.close()
    kept = await warm_ones(runtime)

    async with docker_runtime(cluster, tmp_path) as second:
        assert {s.id: s.pod_uid for s in await second.sandboxes()}[pod.sandbox.id] == pod.uid
        again = Wires()
        await second.keep_warm(again, 2)
        assert kept <= again.attached.keys()
        assert pod.sandbox.id not in again.attached
        await again.until(lambda attached: len(attached) == 2)
        others = [await Pod.make(second) for _ in range(3)]
        assert len({pod.sandbox.id, *(other.sandbox.id for other in others)}) == 4


async def test_containers_tell_whose_a_sandbox_is_when_claims_are_lost(
    cluster: str, runtime: DockerRuntime, tmp_path: Path
) -> None:
    wires = Wires()
    await runtime.keep_warm(wires, 1)
    await wires.until(lambda attached: len(attached) == 1)
    pod = await Pod.make(runtime)
    assert pod.sandbox.id in wires.attached
    await pod.sh(FOREVER)
    await runtime.close()

    async with docker_runtime(cluster, tmp_path / "elsewhere") as second:
        await second.keep_warm(Wires(), 0)
        assert {s.id: s.pod_uid for s in await second.sandboxes()}[pod.sandbox.id] == pod.uid


async def test_dead_warm_sandboxes_are_removed(cluster: str, runtime: DockerRuntime, tmp_path: Path) -> None:
    wires = Wires()
    await runtime.keep_warm(wires, 1)
    await wires.until(lambda attached: len(attached) == 1)
    (warm,) = await warm_ones(runtime)
    with sdk() as client:
        client.containers.get(warm).kill()
        client.containers.get(warm).wait()

    pod = await Pod.make(runtime)
    assert pod.sandbox.id != warm
    await wires.until(lambda attached: warm not in attached and len(attached) == 1)
    assert warm not in {s.id for s in await runtime.sandboxes()}
    assert all(s.state is State.RUNNING for s in await runtime.sandboxes())


async def test_removing_a_claimed_sandbox_forgets_the_claim(runtime: DockerRuntime, tmp_path: Path) -> None:
    wires = Wires()
    await runtime.keep_warm(wires, 1)
    await wires.until(lambda attached: len(attached) == 1)
    pod = await Pod.make(runtime)
    assert [file.name for file in (tmp_path / "claims").iterdir()] == [pod.sandbox.id]
    await runtime.remove_sandbox(pod.sandbox.id)
    assert list((tmp_path / "claims").iterdir()) == []


class Rebuilt(Wires):
    """The network of a node whose namespace is another than the one that these sandboxes were wired to."""

    def __init__(self, old: set[str]) -> None:
        super().__init__()
        self._old = old

    async def attach(self, sandbox_id: str, netns: str, sysctls: Mapping[str, str] = NONE) -> PodAddresses:
        if sandbox_id in self._old:
            raise NetworkFailure("cannot ensure veth: File exists")
        return await super().attach(sandbox_id, netns)


async def test_a_warm_sandbox_that_cannot_be_wired_again_is_replaced(
    cluster: str, runtime: DockerRuntime, tmp_path: Path
) -> None:
    first = Wires()
    await runtime.keep_warm(first, 1)
    await first.until(lambda attached: len(attached) == 1)
    await runtime.close()
    async with docker_runtime(cluster, tmp_path / "runtime") as second:
        wires = Rebuilt(set(first.attached))
        await second.keep_warm(wires, 1)
        await wires.until(lambda attached: len(attached) == 1)
        assert await warm_ones(second) == wires.attached.keys()

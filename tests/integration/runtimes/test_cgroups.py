"""Pods' cgroups in the real kernel, with Docker's containers inside."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agents.node.ports import Resources, State
from agents.node.runtimes.cgroups import PodCgroups
from agents.node.runtimes.docker import DockerRuntime
from tests.integration.runtimes.test_contract import FOREVER, ended, status
from tests.support.docker import Pod

pytestmark = [pytest.mark.docker, pytest.mark.root]


@pytest.fixture
async def cgroups(cluster: str, runtime: DockerRuntime) -> AsyncIterator[PodCgroups]:
    yield PodCgroups(cluster, "n1", await runtime.info())
    for left in Path("/sys/fs/cgroup").glob(f"**/covey/{cluster.replace('-', '_')}_n1"):  # noqa: ASYNC240
        left.rmdir()


async def test_a_pod_is_limited_and_killed_by_its_cgroup(cgroups: PodCgroups, runtime: DockerRuntime) -> None:
    pod, other = await Pod.make(runtime), await Pod.make(runtime)
    for each in (pod, other):
        await cgroups.ensure(each.uid, Resources(cpu_shares=256, memory_bytes=32 << 20, pids=40))
    containers = [await pod.sh(FOREVER, name=name, cgroup_parent=cgroups.parent(pod.uid)) for name in ("a", "b")]
    bystander = await other.sh(FOREVER, cgroup_parent=cgroups.parent(other.uid))
    assert cgroups.pods() == {pod.uid, other.uid}

    cgroups.kill(pod.uid)
    for container in containers:
        over = await ended(runtime, container)
        assert (over.exit_code, over.signal, over.oom_killed) == (137, 9, False)
    assert (await status(runtime, bystander)).state is State.RUNNING

    await runtime.stop_container(bystander, grace_seconds=5)
    for each in (pod, other):
        cgroups.remove(each.uid)
    cgroups.kill(pod.uid)
    assert cgroups.pods() == frozenset()


async def test_a_pods_memory_limit_holds_for_all_its_containers(cgroups: PodCgroups, runtime: DockerRuntime) -> None:
    pod = await Pod.make(runtime)
    await cgroups.ensure(pod.uid, Resources(memory_bytes=16 << 20))
    container = await pod.run("tail", "/dev/zero", cgroup_parent=cgroups.parent(pod.uid))
    assert (await ended(runtime, container)).exit_code == 137
    cgroups.remove(pod.uid)
    assert cgroups.pods() == frozenset()

"""Pods' cgroups in the real kernel, with Docker's containers inside."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from agents.node.cgroups.kill import CgroupKiller
from agents.node.cgroups.pods import KernelCgroups, remove_node
from agents.node.ports import Resources, State
from agents.node.runtimes.docker import DockerRuntime
from tests.integration.runtimes.test_contract import FOREVER, ended, status
from tests.support.docker import Pod, docker_runtime, own_cluster

pytestmark = [pytest.mark.docker, pytest.mark.root]


@pytest.fixture
def cluster() -> Iterator[str]:
    with own_cluster() as name:
        yield name


@pytest.fixture
async def runtime(cluster: str, tmp_path: Path) -> AsyncIterator[DockerRuntime]:
    async with docker_runtime(cluster, tmp_path) as real:
        yield real


@pytest.fixture
async def cgroups(cluster: str, runtime: DockerRuntime) -> AsyncIterator[KernelCgroups]:
    yield KernelCgroups(cluster, "n1", await runtime.info())
    await remove_node(cluster, "n1")
    left = [*Path("/sys/fs/cgroup").glob(f"**/covey/{cluster}"), *Path("/sys/fs/cgroup").glob(f"**/*-{cluster}.slice")]  # noqa: ASYNC240
    assert left == []


async def test_a_pod_is_limited_and_killed_by_its_cgroup(cgroups: KernelCgroups, runtime: DockerRuntime) -> None:
    pod, other = await Pod.make(runtime), await Pod.make(runtime)
    for each in (pod, other):
        await cgroups.ensure(each.uid, "Burstable", Resources(cpu_shares=256, memory_bytes=32 << 20, pids=40))
    parent = cgroups.parent(pod.uid, "Burstable")
    containers = [await pod.sh(FOREVER, name=name, cgroup_parent=parent) for name in ("a", "b")]
    bystander = await other.sh(FOREVER, cgroup_parent=cgroups.parent(other.uid, "Burstable"))
    assert cgroups.pods() == {pod.uid, other.uid}

    assert CgroupKiller().kill(parent)
    for container in containers:
        over = await ended(runtime, container)
        assert (over.exit_code, over.signal, over.oom_killed) == (137, 9, False)
    assert (await status(runtime, bystander)).state is State.RUNNING

    await cgroups.remove(other.uid)
    await ended(runtime, bystander)
    for each in (pod, other):
        await cgroups.remove(each.uid)
    assert not CgroupKiller().kill(parent)
    assert cgroups.pods() == set()


async def test_a_pods_memory_limit_holds_for_all_its_containers(cgroups: KernelCgroups, runtime: DockerRuntime) -> None:
    pod = await Pod.make(runtime)
    await cgroups.ensure(pod.uid, "Guaranteed", Resources(memory_bytes=16 << 20))
    container = await pod.run("tail", "/dev/zero", cgroup_parent=cgroups.parent(pod.uid, "Guaranteed"))
    assert (await ended(runtime, container)).exit_code == 137
    await cgroups.remove(pod.uid)
    assert cgroups.pods() == set()

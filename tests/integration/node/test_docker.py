"""A node agent on real Docker and a real disk; only the API and the pod network are models."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agents.node.call_process import end_status
from agents.node.calls import NodeCalls
from agents.node.cgroups.names import path_of
from agents.node.cgroups.pods import KernelCgroups, remove_node
from agents.node.cgroups.tree import CgroupTree
from agents.node.checkpoints import DiskCheckpoints
from agents.node.files_disk import DiskFiles
from mesh.clock import SystemClock
from mesh.objects.kinds import CONFIGMAPS, NODES, SECRETS
from mesh.objects.meta import Key
from tests.support.docker import docker_runtime, own_cluster, sdk
from tests.support.node_world import NodeWorld, make_pod, state_of
from tests.support.recorded_stream import RecordedStream

pytestmark = pytest.mark.docker


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[NodeWorld]:
    with own_cluster() as cluster:
        async with docker_runtime(cluster, tmp_path / "runtime") as runtime:
            world = NodeWorld()
            world.clock = SystemClock()
            world.runtime = runtime
            world.files = DiskFiles(tmp_path / "pods")
            world.checkpoints = DiskCheckpoints(tmp_path / "checkpoints")
            world.make_cgroups = lambda info: KernelCgroups(cluster, "n1", info)
            await world.start()
            await world.until(lambda: Key("", "n1") in world.model.objects[NODES])
            try:
                yield world
            finally:
                for uid in list(world.agent.workers):
                    world.agent.workers[uid].gone()
                await world.until(lambda: not world.agent.workers)
                await world.stop()
                await remove_node(cluster, "n1")


def shell(script: str, **more: object) -> dict[str, object]:
    return {
        "name": "a",
        "image": "covey/busybox:1",
        "imagePullPolicy": "IfNotPresent",
        "command": ["/bin/sh", "-c", script],
        **more,
    }


async def said(world: NodeWorld, name: str = "p", **params: object) -> str:
    stream = RecordedStream()
    await NodeCalls(world.agent)._log({"namespace": "default", "name": name, "container": "a", **params}, stream)
    return stream.text(1)


async def test_a_pod_sees_what_it_was_given(world: NodeWorld) -> None:
    world.model.create(CONFIGMAPS, {"metadata": {"name": "c", "namespace": "default"}, "data": {"k": "v1"}})
    world.model.create(SECRETS, {"metadata": {"name": "s", "namespace": "default"}, "data": {"k": "aHVzaAo="}})
    script = (
        "echo $WHO from $(hostname); cat /cfg/k /etc/hosts; df /mem | tail -1; cat /sec/k; touch /data/x; sleep 3600"
    )
    mounts = [{"name": n, "mountPath": f"/{n}"} for n in ("cfg", "sec", "data", "mem")]
    pod = make_pod(
        terminationGracePeriodSeconds=1,
        containers=[shell(script, env=[{"name": "WHO", "value": "me"}], volumeMounts=mounts)],
        volumes=[
            {"name": "cfg", "configMap": {"name": "c"}},
            {"name": "sec", "secret": {"secretName": "s"}},
            {"name": "data", "emptyDir": {}},
            {"name": "mem", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
        ],
    )
    world.create(pod)
    shown = await world.until_phase("Running")
    assert shown["status"]["containerStatuses"][0]["containerID"].startswith("docker://")
    directory = Path(world.files.path(shown["metadata"]["uid"], ""))
    await world.until(lambda: (directory / "volumes/data/x").exists())  # noqa: PLW0108
    log = await said(world)
    assert "me from p\nv1# Kubernetes-managed hosts file.\n" in log
    assert "10.64.0.1\tp\n" in log
    assert "tmpfs" in log
    assert "1024" in log
    assert "hush" in log
    assert [(directory / f"volumes/{name}").is_mount() for name in ("cfg", "sec", "mem")] == [False, True, True]

    stream = RecordedStream()
    asked = {"namespace": "default", "name": "p", "container": "a", "stdout": True, "stderr": True}
    await NodeCalls(world.agent)._exec(
        {**asked, "command": ["/bin/sh", "-c", "echo out; echo err >&2; exit 3"]}, stream
    )
    assert (stream.text(1), stream.text(2), stream.json(3)) == ("out\n", "err\n", end_status(3))

    world.delete(grace=1)
    await world.until(lambda: not world.exists())
    assert not directory.exists()  # noqa: ASYNC240 - a test may wait


async def test_a_crash_leaves_words_and_comes_back(world: NodeWorld) -> None:
    world.create(make_pod(containers=[shell("echo dying; echo sorry > /dev/termination-log; exit 7")]))
    await world.until(lambda: state_of(world.pod()).get("waiting", {}).get("reason") == "CrashLoopBackOff")
    status = world.pod()["status"]["containerStatuses"][0]
    ended = status["lastState"]["terminated"]
    assert (ended["exitCode"], ended["message"], status["restartCount"]) == (7, "sorry\n", 1)
    assert await said(world, previous=True) == "dying\n"


async def test_a_command_that_is_not_there(world: NodeWorld) -> None:
    world.create(make_pod(containers=[shell("") | {"command": ["/bin/nothing"]}]))
    await world.until(lambda: state_of(world.pod()).get("waiting", {}).get("reason") == "CrashLoopBackOff")
    ended = world.pod()["status"]["containerStatuses"][0]["lastState"]["terminated"]
    assert (ended["reason"], ended["exitCode"]) == ("StartError", 128)
    assert "/bin/nothing" in ended["message"]


async def test_a_restarted_agent_leaves_containers_alone(world: NodeWorld) -> None:
    world.create(make_pod(terminationGracePeriodSeconds=1, containers=[shell("sleep 3600")]))
    before = (await world.until_phase("Running"))["status"]["containerStatuses"][0]
    await world.stop()
    world.transport.down = True
    await world.start()
    await world.until(lambda: any(w.memory.containers for w in world.agent.workers.values()))
    world.transport.down = False
    await world.agent._pods.synced()
    after = world.pod()["status"]["containerStatuses"][0]
    assert after == before


async def test_a_pods_containers_run_within_its_cgroup(world: NodeWorld) -> None:
    limits = {"resources": {"limits": {"cpu": "500m", "memory": "32Mi"}}}
    containers = [shell("sleep 3600", **limits), shell("sleep 3600", **limits, name="b")]
    world.create(make_pod(terminationGracePeriodSeconds=1, containers=containers))
    uid = (await world.until_phase("Running"))["metadata"]["uid"]
    parent = world.agent.context.cgroups.parent(uid, "Guaranteed")
    with sdk() as client:
        for worker in world.agent.workers.values():
            for container in worker.memory.containers:
                assert client.containers.get(container.id).attrs["HostConfig"]["CgroupParent"] == parent
    tree = CgroupTree()
    assert len({name for name in tree.children(parent) if len(name) >= 64}) == 2, "named by their ids"
    memory = Path("/sys/fs/cgroup" if tree.unified else "/sys/fs/cgroup/memory") / path_of(parent)
    limit = memory / ("memory.max" if tree.unified else "memory.limit_in_bytes")
    assert int(limit.read_text()) == 64 << 20
    await world.restart()
    await world.until(lambda: len(world.agent.workers) == 1)
    world.delete(grace=1)
    await world.until(lambda: not world.exists())
    await world.until(lambda: world.agent.context.cgroups.pods() == set())

"""A node agent from the outside: pods in the API in, containers in the runtime and status in the API out."""

from __future__ import annotations

import pytest

from agents.node.ports import State
from agents.node.runtimes.fake_policy import Behaviour, Policy
from mesh.objects.kinds import LEASES, NODES
from mesh.objects.meta import Key
from tests.support.node_world import conditions, make_pod, node_world, state_of

pytestmark = pytest.mark.looptime


async def test_a_pod_runs_and_says_so() -> None:
    async with node_world() as world:
        world.create(make_pod())
        pod = await world.until_phase("Running")
        status = pod["status"]
        assert conditions(pod) == {
            "PodReadyToStartContainers": "True",
            "Initialized": "True",
            "Ready": "True",
            "ContainersReady": "True",
            "PodScheduled": "True",
        }
        assert (status["podIP"], status["hostIP"], status["qosClass"]) == ("10.64.0.1", "192.0.2.1", "BestEffort")
        container = status["containerStatuses"][0]
        assert (container["ready"], container["started"], container["restartCount"]) == (True, True, 0)
        assert container["containerID"].startswith("fake://")
        assert "running" in container["state"]
        await world.until(lambda: len(world.events()) >= 4)
        assert [reason for reason, _ in world.events()] == ["Pulling", "Pulled", "Created", "Started"]


async def test_a_deleted_pod_ends_and_leaves_nothing() -> None:
    async with node_world() as world:
        world.create(make_pod())
        await world.until_phase("Running")
        world.delete()
        await world.until(lambda: not world.exists())
        assert await world.runtime.containers() == []
        assert await world.runtime.sandboxes() == []
        assert world.network.given == {}
        await world.until(lambda: not world.agent.workers)
        assert world.files.pods() == set()
        await world.until(lambda: world.checkpoints.load() == {})
        assert ("Killing", "Stopping container a") in world.events()


async def test_a_pod_deleted_by_force_is_ended_too() -> None:
    async with node_world() as world:
        world.create(make_pod())
        await world.until_phase("Running")
        world.model.finish_pod(Key("default", "p"))
        await world.until(lambda: not world.agent.workers)
        assert await world.runtime.containers() == []


async def test_a_crashing_container_backs_off() -> None:
    async with node_world(Policy(behave=lambda _: Behaviour(runs=1, exit_code=3))) as world:
        world.create(make_pod())
        await world.until(lambda: state_of(world.pod()).get("waiting", {}).get("reason") == "CrashLoopBackOff")
        pod = world.pod()
        uid = pod["metadata"]["uid"]
        waiting = state_of(pod)["waiting"]
        assert waiting["message"] == f"back-off 10s restarting failed container=a pod=p_default({uid})"
        container = pod["status"]["containerStatuses"][0]
        assert container["restartCount"] == 1
        assert container["lastState"]["terminated"]["exitCode"] == 3
        assert container["lastState"]["terminated"]["reason"] == "Error"
        assert pod["status"]["phase"] == "Running"
        assert conditions(pod)["Ready"] == "False"
        await world.until(lambda: world.pod()["status"]["containerStatuses"][0]["restartCount"] == 2, within=20)
        await world.until(lambda: "back-off 20s" in state_of(world.pod()).get("waiting", {}).get("message", ""))
        assert any(reason == "BackOff" for reason, _ in world.events())


@pytest.mark.parametrize(("code", "phase"), [(0, "Succeeded"), (1, "Failed")])
async def test_a_pod_that_never_restarts_ends(code: int, phase: str) -> None:
    async with node_world(Policy(behave=lambda _: Behaviour(runs=5, exit_code=code))) as world:
        world.create(make_pod(restartPolicy="Never"))
        pod = await world.until_phase(phase)
        assert state_of(pod)["terminated"]["exitCode"] == code
        await world.until(lambda: not world.network.given)
        assert len(await world.runtime.containers()) == 1, "its log is still to be read"
        world.delete()
        await world.until(lambda: not world.exists())
        assert await world.runtime.containers() == []


async def test_an_unknown_image_is_pulled_again_and_again() -> None:
    async with node_world(Policy(missing_images=frozenset({"web:1"}))) as world:
        world.create(make_pod())
        await world.until(lambda: state_of(world.pod()).get("waiting", {}).get("reason") == "ErrImagePull")
        await world.until(lambda: state_of(world.pod()).get("waiting", {}).get("reason") == "ImagePullBackOff")
        assert world.pod()["status"]["phase"] == "Pending"
        reasons = [reason for reason, _ in world.events()]
        assert reasons[:3] == ["Pulling", "Failed", "Failed"]
        await world.until(lambda: ("BackOff", 'Back-off pulling image "web:1"') in world.events())
        world.runtime.policy.missing_images = frozenset()
        await world.until_phase("Running")


async def test_a_container_that_cannot_start() -> None:
    error = 'exec: "nope": executable file not found in $PATH'
    async with node_world(Policy(behave=lambda _: Behaviour(start_error=error))) as world:
        world.create(make_pod())
        await world.until(lambda: state_of(world.pod()).get("waiting", {}).get("reason") == "RunContainerError")
        await world.until(lambda: state_of(world.pod()).get("waiting", {}).get("reason") == "CrashLoopBackOff")
        last = world.pod()["status"]["containerStatuses"][0]["lastState"]["terminated"]
        assert (last["reason"], last["exitCode"], last["message"]) == ("StartError", 128, error)


async def test_init_containers_run_one_after_the_other() -> None:
    def behave(spec: object) -> Behaviour:
        return Behaviour(runs=2) if spec.name.startswith("i") else Behaviour()  # type: ignore[attr-defined]

    async with node_world(Policy(behave=behave)) as world:
        inits = [{"name": name, "image": "init:1"} for name in ("i1", "i2")]
        world.create(make_pod(initContainers=inits))
        await world.until(lambda: "running" in state_of(world.pod(), "i1"))
        assert state_of(world.pod())["waiting"]["reason"] == "PodInitializing"
        assert conditions(world.pod())["Initialized"] == "False"
        pod = await world.until_phase("Running")
        assert [s["state"]["terminated"]["reason"] for s in pod["status"]["initContainerStatuses"]] == ["Completed"] * 2
        assert conditions(pod)["Initialized"] == "True"


async def test_a_restarted_agent_adopts_without_the_api() -> None:
    async with node_world() as world:
        world.create(make_pod())
        await world.until_phase("Running")
        before = await world.runtime.containers()
        await world.stop()
        world.transport.down = True
        await world.start()
        await world.until(lambda: bool(world.agent.workers))
        container = (await world.runtime.containers())[0]
        assert [c.id for c in before] == [container.id]
        world.runtime.crash(container.id)
        (worker,) = world.agent.workers.values()
        await world.until(lambda: len(worker.memory.containers) == 2)
        world.transport.down = False
        await world.until(lambda: world.pod()["status"]["containerStatuses"][0]["restartCount"] == 1)


async def test_orphans_go_only_after_the_api_was_read() -> None:
    async with node_world() as world:
        world.create(make_pod())
        await world.until_phase("Running")
        await world.stop()
        world.model.finish_pod(Key("default", "p"))
        world.checkpoints = type(world.checkpoints)()
        world.transport.down = True
        await world.start()
        await world.until(lambda: world.agent._context is not None)
        assert [c.state for c in await world.runtime.containers()] == [State.RUNNING]
        world.transport.down = False

        await world.until(lambda: not world.runtime._containers)


async def test_the_node_registers_and_comes_back_when_deleted() -> None:
    async with node_world() as world:
        await world.until(lambda: bool(world.model.get(NODES, Key("", "n1")).get("status")))
        node = world.model.get(NODES, Key("", "n1"))
        assert node["metadata"]["labels"]["kubernetes.io/hostname"] == "n1"
        assert node["status"]["addresses"][0] == {"type": "InternalIP", "address": "192.0.2.1"}
        ready = next(c for c in node["status"]["conditions"] if c["type"] == "Ready")
        assert ready["status"] == "False", "no pod CIDR yet"
        world.model.patch(NODES, Key("", "n1"), {"spec": {"podCIDRs": ["10.64.0.0/24"]}})
        await world.until(
            lambda: world.model.get(NODES, Key("", "n1"))["status"]["conditions"][3]["reason"] == "KubeletReady"
        )
        await world.until(lambda: Key("kube-node-lease", "n1") in world.model.objects[LEASES])
        world.model.delete(NODES, Key("", "n1"))
        await world.until(lambda: Key("", "n1") in world.model.objects[NODES])

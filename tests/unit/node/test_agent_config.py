"""What a container gets from its surroundings: environment, volumes, probes, hooks; on a simulated node."""

from __future__ import annotations

import base64

import pytest

from agents.node.runtimes.fake_policy import Behaviour, Policy
from agents.node.volumes import FileData
from mesh.objects.kinds import CONFIGMAPS, SECRETS, SERVICES
from tests.support.node_world import NodeWorld, conditions, make_pod, node_world, state_of

pytestmark = pytest.mark.looptime


def config_map(name: str, **data: str) -> dict[str, object]:
    return {"metadata": {"name": name, "namespace": "default"}, "data": data}


def container(**more: object) -> dict[str, object]:
    return {"name": "a", "image": "web:1", "imagePullPolicy": "IfNotPresent", **more}


def spec_of(world: NodeWorld) -> object:
    return next(iter(world.runtime._containers.values())).spec


async def test_a_missing_configmap_holds_the_container_until_it_comes() -> None:
    async with node_world() as world:
        env = [{"name": "GREETING", "valueFrom": {"configMapKeyRef": {"name": "words", "key": "hello"}}}]
        world.create(make_pod(containers=[container(env=env)]))
        reason = "CreateContainerConfigError"
        await world.until(lambda: state_of(world.pod()).get("waiting", {}).get("reason") == reason)
        assert state_of(world.pod())["waiting"]["message"] == 'configmap "words" not found'
        await world.until(lambda: ("Failed", 'Error: configmap "words" not found') in world.events())
        world.model.create(CONFIGMAPS, config_map("words", hello="hi"))
        await world.until_phase("Running", within=2)
        assert ("GREETING", "hi") in spec_of(world).environment  # type: ignore[attr-defined]


async def test_environment_from_everywhere() -> None:
    async with node_world() as world:
        world.model.create(
            SECRETS,
            {"metadata": {"name": "key", "namespace": "default"}, "data": {"P": base64.b64encode(b"s3").decode()}},
        )
        service = {"clusterIP": "10.96.0.7", "ports": [{"port": 80, "name": "http", "protocol": "TCP"}]}
        world.model.create(SERVICES, {"metadata": {"name": "web-ui", "namespace": "default"}, "spec": service})
        env = [
            {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "URL", "value": "http://$(WEB_UI_SERVICE_HOST)/$(P)/$$(P)/$(NONE)"},
        ]
        world.create(make_pod(containers=[container(env=env, envFrom=[{"secretRef": {"name": "key"}}])]))
        await world.until_phase("Running")
        found = dict(spec_of(world).environment)  # type: ignore[attr-defined]
        assert found["IP"] == "10.64.0.1"
        assert found["URL"] == "http://10.96.0.7/s3/$(P)/$(NONE)"
        assert found["WEB_UI_SERVICE_PORT_HTTP"] == "80"


async def test_a_pod_on_the_nodes_network_is_called_as_the_node_is() -> None:
    async with node_world() as world:
        world.create(make_pod(hostNetwork=True))
        await world.until_phase("Running")
        assert spec_of(world).hostname == "n1"  # type: ignore[attr-defined]
        assert world.network.given == {}


async def test_sysctls_of_the_network_are_set_where_the_sandbox_is_wired() -> None:
    async with node_world() as world:
        asked = {"net.core.somaxconn": "100", "kernel.shm_rmid_forced": "1"}
        context = {"sysctls": [{"name": name, "value": value} for name, value in asked.items()]}
        world.create(make_pod(securityContext=context))
        await world.until_phase("Running")
        assert list(world.network.sysctls.values()) == [{"net.core.somaxconn": "100"}]


async def test_volumes_follow_their_configmap() -> None:
    async with node_world() as world:
        world.model.create(CONFIGMAPS, config_map("page", index="one"))
        world.create(
            make_pod(
                containers=[container(volumeMounts=[{"name": "www", "mountPath": "/www"}])],
                volumes=[{"name": "www", "configMap": {"name": "page"}}],
            )
        )
        pod = await world.until_phase("Running")
        uid = pod["metadata"]["uid"]
        mount = spec_of(world).mounts[0]  # type: ignore[attr-defined]
        assert (mount.target, mount.read_only) == ("/www", True), "Kubernetes mounts what it projects read-only"
        assert world.files.contents[uid]["volumes/www"] == {"index": FileData(b"one")}  # type: ignore[attr-defined]
        world.model.put(CONFIGMAPS, config_map("page", index="two"))
        changed = {"index": FileData(b"two")}
        await world.until(lambda: world.files.contents[uid]["volumes/www"] == changed)  # type: ignore[attr-defined]


async def test_a_volume_that_cannot_be_mounted_is_told() -> None:
    async with node_world() as world:
        mounts = [{"name": "www", "mountPath": "/www"}]
        volumes = [{"name": "www", "secret": {"secretName": "none"}}]
        world.create(make_pod(containers=[container(volumeMounts=mounts)], volumes=volumes))
        words = 'MountVolume.SetUp failed for volume "www" : secret "none" not found'
        await world.until(lambda: ("FailedMount", words) in world.events())
        assert state_of(world.pod())["waiting"]["reason"] == "ContainerCreating"


async def test_readiness_follows_its_probe() -> None:
    ready = {"now": False}
    policy = Policy(behave=lambda _: Behaviour(ready=False))
    async with node_world(policy) as world:
        probe = {"httpGet": {"path": "/", "port": 80}, "periodSeconds": 1}
        world.create(make_pod(containers=[container(readinessProbe=probe)]))
        await world.until_phase("Running")
        assert conditions(world.pod())["Ready"] == "False"
        condition = next(c for c in world.pod()["status"]["conditions"] if c["type"] == "Ready")
        assert (condition["reason"], condition["message"]) == (
            "ContainersNotReady",
            "containers with unready status: [a]",
        )
        await world.until(
            lambda: ("Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 503") in world.events()
        )
        for made in world.runtime._containers.values():
            made.behaviour = Behaviour(ready=True)
        await world.until(lambda: conditions(world.pod())["Ready"] == "True")
        assert not ready["now"]


async def test_liveness_restarts_the_container() -> None:
    async with node_world(Policy(behave=lambda _: Behaviour(ready=False))) as world:
        probe = {"httpGet": {"path": "/", "port": 80}, "periodSeconds": 1, "failureThreshold": 2}
        world.create(make_pod(containers=[container(livenessProbe=probe)]))
        await world.until_phase("Running")
        await world.until(lambda: world.pod()["status"]["containerStatuses"][0]["restartCount"] == 1)
        assert ("Killing", "Container a failed liveness probe, will be restarted") in world.events()


async def test_a_startup_probe_comes_first() -> None:
    async with node_world() as world:
        probe = {"exec": {"command": ["false"]}, "periodSeconds": 1, "failureThreshold": 100}
        other = {"exec": {"command": ["false"]}, "periodSeconds": 1, "failureThreshold": 1}
        world.create(make_pod(containers=[container(startupProbe=probe, livenessProbe=other)]))
        await world.until_phase("Running")
        started = world.clock.monotonic()
        await world.until(lambda: world.clock.monotonic() > started + 20)
        status = world.pod()["status"]["containerStatuses"][0]
        assert (status["restartCount"], status["started"], status["ready"]) == (0, False, False)


async def test_a_failed_post_start_hook_kills_the_container() -> None:
    async with node_world() as world:
        hook = {"postStart": {"exec": {"command": ["false"]}}}
        world.create(make_pod(containers=[container(lifecycle=hook)]))
        await world.until(lambda: ("FailedPostStartHook", "PostStartHook failed") in world.events())
        await world.until(lambda: world.pod()["status"]["containerStatuses"][0]["restartCount"] == 1)


async def test_pre_stop_takes_its_time_from_the_grace_period() -> None:
    async with node_world(Policy(behave=lambda _: Behaviour(stop_delay=100))) as world:
        hook = {"preStop": {"sleep": {"seconds": 4}}}
        world.create(make_pod(containers=[container(lifecycle=hook)], terminationGracePeriodSeconds=10))
        await world.until_phase("Running")
        began = world.clock.monotonic()
        world.delete(grace=10)
        await world.until(lambda: not world.exists())
        assert 9.5 <= world.clock.monotonic() - began <= 11


async def test_a_second_shorter_deletion_overtakes() -> None:
    async with node_world(Policy(behave=lambda _: Behaviour(stop_delay=1000))) as world:
        world.create(make_pod(terminationGracePeriodSeconds=600))
        await world.until_phase("Running")
        world.delete(grace=600)
        await world.until(lambda: any(reason == "Killing" for reason, _ in world.events()))
        began = world.clock.monotonic()
        world.delete(grace=3)
        await world.until(lambda: not world.exists())
        assert world.clock.monotonic() - began < 6


async def test_sidecars_start_first_and_end_last() -> None:
    async with node_world() as world:
        sidecar = {"name": "s", "image": "side:1", "restartPolicy": "Always"}
        world.create(make_pod(initContainers=[sidecar]))
        pod = await world.until_phase("Running")
        made = [c.spec.name for c in world.runtime._containers.values()]
        assert made == ["s", "a"]
        assert pod["status"]["initContainerStatuses"][0]["ready"]
        world.delete()
        await world.until(lambda: not world.exists())
        killed = [message for reason, message in world.events() if reason == "Killing"]
        assert killed == ["Stopping container a", "Stopping container s"]


async def test_the_deadline_ends_the_pod() -> None:
    async with node_world() as world:
        world.create(make_pod(activeDeadlineSeconds=5))
        await world.until_phase("Running")
        pod = await world.until_phase("Failed")
        assert pod["status"]["reason"] == "DeadlineExceeded"


async def test_a_pod_that_does_not_fit_is_refused() -> None:
    async with node_world() as world:
        big = container(resources={"requests": {"cpu": "9"}})
        world.create(make_pod(containers=[big]))
        pod = await world.until_phase("Failed")
        assert pod["status"]["reason"] == "OutOfcpu"
        assert pod["status"]["message"].endswith("cpu, requested: 9000, used: 0, capacity: 8000")
        assert await world.runtime.sandboxes() == []


async def test_an_image_change_restarts_only_that_container() -> None:
    async with node_world() as world:
        world.create(make_pod(containers=[container(), {"name": "b", "image": "web:1"}]))
        await world.until_phase("Running")
        pod = world.pod()
        changed = {"spec": {"containers": [container() | {"image": "web:2"}, pod["spec"]["containers"][1]]}}
        from mesh.objects.kinds import PODS
        from mesh.objects.meta import key_of

        world.model.patch(PODS, key_of(pod), changed)
        await world.until(lambda: world.pod()["status"]["containerStatuses"][0]["restartCount"] == 1)
        assert world.pod()["status"]["containerStatuses"][1]["restartCount"] == 0
        assert ("Killing", "Container a definition changed, will be restarted") in world.events()


async def test_a_lost_sandbox_is_made_again() -> None:
    async with node_world() as world:
        world.create(make_pod())
        await world.until_phase("Running")
        (sandbox,) = await world.runtime.sandboxes()
        await world.runtime.remove_sandbox(sandbox.id)
        await world.until(lambda: world.pod()["status"]["containerStatuses"][0]["restartCount"] == 1)
        assert len(await world.runtime.sandboxes()) == 1

"""Pods that cannot run say why: in their state, in kubectl's STATUS column, and in events."""

from __future__ import annotations

import re

from tests.support.clients import Space, pod
from tests.support.cluster import await_, free_port


def column(space: Space, name: str) -> str:
    """What `kubectl get pods` shows as STATUS."""
    return space.kubectl("get", "pod", name, "--no-headers").split()[2]


def test_an_unknown_image(space: Space) -> None:
    image = f"127.0.0.1:{free_port()}/no/such:image"
    space.kubectl("run", "lost", f"--image={image}")
    space.waiting("lost", "ErrImagePull")
    state = space.waiting("lost", "ImagePullBackOff")
    assert state["message"].startswith(f'Back-off pulling image "{image}"')
    events = space.events("lost")
    assert ("Pulling", f'Pulling image "{image}"') in events
    assert any(r == "Failed" and m.startswith(f'Failed to pull image "{image}": ') for r, m in events), events
    assert ("Failed", "Error: ErrImagePull") in events
    assert ("BackOff", f'Back-off pulling image "{image}"') in [
        (r, m.partition(": ErrImagePull")[0]) for r, m in events
    ]
    assert column(space, "lost") in {"ErrImagePull", "ImagePullBackOff"}


def test_an_image_that_is_no_name(space: Space) -> None:
    space.apply(pod("odd", "true").replace("covey/busybox:1", '"UPPER CASE"'))
    space.waiting("odd", "InvalidImageName")
    assert any("InspectFailed" in r or "Failed" in r for r, _ in space.events("odd"))


def test_a_command_that_is_not_there(space: Space) -> None:
    space.kubectl("run", "typo", "--image=covey/busybox:1", "--restart=Never", "--command", "--", "/no/such/program")
    state = await_(lambda: _terminated(space, "typo"), what="the container's end")
    assert state["exitCode"] in {127, 128}
    assert "/no/such/program" in state.get("message", "") or any(
        "/no/such/program" in m for _, m in space.events("typo")
    )
    assert column(space, "typo") in {"StartError", "ContainerCannotRun", "Error"}


def _terminated(space: Space, name: str) -> dict[str, object] | None:
    for status in space.get("pod", name)["status"].get("containerStatuses") or ():
        ended: dict[str, object] | None = status["state"].get("terminated") or status.get("lastState", {}).get(
            "terminated"
        )
        if ended:
            return ended
    return None


def test_a_crash_loop(space: Space) -> None:
    space.apply(pod("crasher", "echo about to fail; exit 7"))
    state = space.waiting("crasher", "CrashLoopBackOff")
    told = re.fullmatch(
        rf"back-off (10|20|40)s restarting failed container=main pod=crasher_{space.name}\([-0-9a-f]+\)",
        state["message"],
    )
    assert told, state
    status = space.get("pod", "crasher")["status"]["containerStatuses"][0]
    assert (status["lastState"]["terminated"]["exitCode"], status["lastState"]["terminated"]["reason"]) == (7, "Error")
    assert column(space, "crasher") == "CrashLoopBackOff"
    await_(lambda: any(r == "BackOff" for r, _ in space.events("crasher")), what="the event BackOff")
    assert space.kubectl("logs", "crasher", "--previous") == "about to fail\n"


def test_out_of_memory(space: Space) -> None:
    limits = 'resources: {limits: {memory: "16Mi"}}'
    space.apply(
        pod(
            "hungry",
            "sleep 0.5; dd if=/dev/zero of=/dev/null bs=200M count=1",
            spec="restartPolicy: Never",
            container=limits,
        )
    )
    state = space.waiting("hungry", "OOMKilled")
    assert state["exitCode"] == 137
    assert column(space, "hungry") == "OOMKilled"


def test_no_node_fits(space: Space) -> None:
    space.kubectl("run", "huge", "--image=covey/hello:1", '--overrides={"spec":{"containers":[{"name":"huge","image":"i",'
                  '"resources":{"requests":{"cpu":"1000"}}}]}}')  # fmt: skip
    found = await_(lambda: [m for r, m in space.events("huge") if r == "FailedScheduling"], what="FailedScheduling")
    assert found[0].startswith("0/3 nodes are available: 3 Insufficient cpu.")
    condition = next(c for c in space.get("pod", "huge")["status"]["conditions"] if c["type"] == "PodScheduled")
    assert (condition["status"], condition["reason"], condition["message"]) == ("False", "Unschedulable", found[0])
    assert column(space, "huge") == "Pending"


def test_configuration_that_is_missing(space: Space) -> None:
    space.apply(pod("unset", "true", container="envFrom: [{configMapRef: {name: later}}]"))
    state = space.waiting("unset", "CreateContainerConfigError")
    assert state["message"] == 'configmap "later" not found'
    space.kubectl("create", "configmap", "later", "--from-literal=A=b")
    await_(lambda: _terminated(space, "unset"), what="the container to run once the ConfigMap is there")

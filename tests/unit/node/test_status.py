"""Pod status as a table: container states in, phase, reasons and conditions out."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from agents.node.observed import Failure, Observed, Verdict
from agents.node.ports import State
from agents.node.status import Host, pod_status, status_patch
from mesh.objects.types import Object
from tests.support.node_world import make_pod
from tests.support.pod_model import T0, made, sandbox

HOST = Host(("192.0.2.1",))
UP = Observed(sandboxes=(sandbox(),), addresses=("10.0.0.1",), volumes_ready=True, started_at=T0)
TWO = [{"name": n, "image": "web:1"} for n in ("a", "b")]


def a_pod(**spec: object) -> Object:
    pod = make_pod(**spec)
    pod["metadata"] |= {"uid": "u", "generation": 3}
    return pod


def seen(*containers: object, **more: object) -> Observed:
    return replace(UP, containers=containers, **more)  # type: ignore[arg-type]


def pull_failed(seconds_ago: float) -> Failure:
    at = T0 - timedelta(seconds=seconds_ago)
    return Failure("ErrImagePull", "no such thing", at, at + timedelta(seconds=10))


@pytest.mark.parametrize(
    ("case", "pod", "observed", "phase", "state", "ready"),
    [
        ("new", a_pod(), Observed(), "Pending", "ContainerCreating", "False ContainersNotReady"),
        ("running", a_pod(), seen(made()), "Running", "running", "True"),
        ("one of two", a_pod(containers=TWO), seen(made()), "Pending", "running", "False ContainersNotReady"),
        (
            "hook under way",
            a_pod(),
            seen(made(), hooks=frozenset({"a-0"})),
            "Pending",
            "ContainerCreating",
            "False ContainersNotReady",
        ),
        (
            "pull failed",
            a_pod(),
            seen(failures={"a": pull_failed(0)}),
            "Pending",
            "ErrImagePull",
            "False ContainersNotReady",
        ),
        (
            "pull waits",
            a_pod(),
            seen(failures={"a": pull_failed(5)}),
            "Pending",
            "ImagePullBackOff",
            "False ContainersNotReady",
        ),
        (
            "crashed, starts at once",
            a_pod(),
            seen(made(state=State.EXITED, code=1)),
            "Running",
            "Error",
            "False ContainersNotReady",
        ),
        (
            "crash loop",
            a_pod(),
            seen(made(state=State.EXITED, code=1, delay=10)),
            "Running",
            "CrashLoopBackOff",
            "False ContainersNotReady",
        ),
        (
            "out of memory",
            a_pod(restartPolicy="Never"),
            seen(made(state=State.EXITED, code=137, oom_killed=True)),
            "Failed",
            "OOMKilled",
            "False PodFailed",
        ),
        (
            "done",
            a_pod(restartPolicy="Never"),
            seen(made(state=State.EXITED)),
            "Succeeded",
            "Completed",
            "False PodCompleted",
        ),
        (
            "one failed, one succeeded",
            a_pod(restartPolicy="Never", containers=TWO),
            seen(made(state=State.EXITED), made("b", State.EXITED, code=1)),
            "Failed",
            "Completed",
            "False PodFailed",
        ),
        (
            "one still runs",
            a_pod(restartPolicy="Never", containers=TWO),
            seen(made(state=State.EXITED), made("b")),
            "Running",
            "Completed",
            "False ContainersNotReady",
        ),
        (
            "refused",
            a_pod(),
            Observed(verdict=Verdict("OutOfcpu", "no room")),
            "Failed",
            "ContainerStatusUnknown",
            "False PodFailed",
        ),
        (
            "initialising",
            a_pod(initContainers=[{"name": "i", "image": "web:1"}]),
            seen(made("i")),
            "Pending",
            "PodInitializing",
            "False ContainersNotReady",
        ),
    ],
)
def test_status(case: str, pod: Object, observed: Observed, phase: str, state: str, ready: str) -> None:
    status = pod_status(pod, observed, T0, HOST)
    shown = status["containerStatuses"][0]["state"]
    (kind,) = shown
    assert (status["phase"], shown[kind].get("reason", kind)) == (phase, state), case
    condition = next(c for c in status["conditions"] if c["type"] == "Ready")
    assert f"{condition['status']} {condition.get('reason', '')}".strip() == ready
    assert status["observedGeneration"] == 3


def test_a_condition_keeps_its_time_until_it_changes() -> None:
    pod, later = a_pod(), T0 + timedelta(minutes=1)
    first = pod_status(pod, seen(made()), T0, HOST)
    second = pod_status(pod, seen(made()), later, HOST, first)
    assert second == first
    third = pod_status(pod, seen(made(state=State.EXITED, code=1)), later, HOST, first)
    times = {c["type"]: c["lastTransitionTime"] for c in third["conditions"]}
    assert (times["Initialized"], times["Ready"]) == ("2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z")


def test_succeeded_is_final() -> None:
    pod = a_pod(restartPolicy="Never")
    first = pod_status(pod, seen(made(state=State.EXITED)), T0, HOST)
    again = pod_status(pod, Observed(finished=True), T0, HOST, first)
    assert again["phase"] == "Succeeded"


def test_the_patch_says_only_what_changed() -> None:
    pod = a_pod()
    first = pod_status(pod, seen(made()), T0, HOST)
    assert status_patch(pod, first, first) is None
    second = pod_status(pod, seen(made(state=State.EXITED, code=1)), T0, HOST, first)
    patch = status_patch(pod, second, first)
    assert patch is not None
    assert patch["metadata"] == {"uid": "u"}
    assert set(patch["status"]) == {"containerStatuses", "conditions"}
    assert {c["type"] for c in patch["status"]["conditions"]} == {"Ready", "ContainersReady"}


def test_a_container_that_could_not_be_started_has_ended_when_it_was_made() -> None:
    broken = made(state=State.CREATED, message="no such file", delay=10)
    status = pod_status(a_pod(), seen(broken), T0, HOST)["containerStatuses"][0]
    assert status["lastState"]["terminated"] == {
        "exitCode": 128,
        "reason": "StartError",
        "message": "no such file",
        "startedAt": "1970-01-01T00:00:00Z",
        "finishedAt": "2026-01-01T00:00:00Z",
        "containerID": "docker://a-0",
    }


@pytest.mark.parametrize(
    ("others", "state"),
    [
        ((), {"waiting": {"reason": "ContainerCreating"}}),
        ((made("e"),), {"running": {"startedAt": "2026-01-01T00:00:00Z"}}),
    ],
)
def test_an_ephemeral_container_is_shown_and_counts_for_nothing(others: tuple[object, ...], state: Object) -> None:
    pod = a_pod(ephemeralContainers=[{"name": "e", "image": "web:1", "resources": {}}])
    pod["spec"]["containers"][0]["resources"] = {"limits": {"cpu": "1", "memory": "1Gi"}}
    status = pod_status(pod, seen(made(), *others), T0, HOST)
    [shown] = status["ephemeralContainerStatuses"]
    assert (shown["name"], shown["state"], shown["ready"]) == ("e", state, False)
    assert (status["phase"], status["qosClass"]) == ("Running", "Guaranteed")
    assert next(c for c in status["conditions"] if c["type"] == "Ready")["status"] == "True"


@pytest.mark.parametrize(
    ("policy", "own", "code", "phase"),
    [
        ("Always", "Never", 0, "Succeeded"),
        ("Always", "Never", 1, "Failed"),
        ("Never", "OnFailure", 1, "Running"),
        ("Never", "OnFailure", 0, "Succeeded"),
    ],
)
def test_a_container_has_a_restart_policy_of_its_own(policy: str, own: str, code: int, phase: str) -> None:
    pod = a_pod(restartPolicy=policy, containers=[{"name": "a", "image": "web:1", "restartPolicy": own}])
    assert pod_status(pod, seen(made(state=State.EXITED, code=code)), T0, HOST)["phase"] == phase


@pytest.mark.parametrize("code", [0, 1])
def test_a_pod_runs_until_its_sidecars_have_ended(code: int) -> None:
    sidecar = {"name": "s", "image": "web:1", "restartPolicy": "Always"}
    pod = a_pod(restartPolicy="Never", initContainers=[sidecar])
    ended = made(state=State.EXITED, code=code)
    assert pod_status(pod, seen(made("s"), ended), T0, HOST)["phase"] == "Running"

"""The pod planner as a specification: what is observed, and what follows."""

from __future__ import annotations

import copy
from dataclasses import replace
from datetime import timedelta

import pytest

from agents.node.actions import (
    Action,
    CreateSandbox,
    DeletePod,
    EnsureImage,
    PrepareVolumes,
    RemoveContainer,
    RemoveSandbox,
    StartContainer,
    StopContainer,
    TearDown,
    WireSandbox,
)
from agents.node.observed import Failure, Health, Observed, Present, Verdict
from agents.node.plan import plan
from agents.node.ports import ContainerStatus, State
from mesh.objects.types import Object
from tests.support.node_world import make_pod
from tests.support.pod_model import T0, PodModel, made, sandbox

UP = Observed(
    sandboxes=(sandbox(),), addresses=("10.0.0.1",), volumes_ready=True, images={"a": Present.READY}, started_at=T0
)
"""Everything is there but the container."""


def a_pod(**spec: object) -> Object:
    pod = make_pod(**spec)
    pod["metadata"]["uid"] = "u"
    return pod


def deleting(pod: Object, grace: int = 30) -> Object:
    pod["metadata"] |= {"deletionTimestamp": "2026-01-01T00:00:30Z", "deletionGracePeriodSeconds": grace}
    return pod


def having(*containers: ContainerStatus, **more: object) -> Observed:
    return replace(UP, containers=containers, **more)  # type: ignore[arg-type]


SIDECAR = {"name": "s", "image": "web:1", "restartPolicy": "Always"}
INIT = {"name": "i", "image": "web:1"}
APP = {"name": "a", "image": "web:1"}
CODES = {"operator": "In", "values": [42]}
RULED = {**APP, "restartPolicy": "Never", "restartPolicyRules": [{"action": "Restart", "exitCodes": CODES}]}
DEBUG = {"ephemeralContainers": [{"name": "e", "image": "web:1"}]}
BOTH = {"a": Present.READY, "e": Present.READY}


@pytest.mark.parametrize(
    ("case", "pod", "observed", "expected"),
    [
        ("nothing yet", a_pod(), Observed(), (PrepareVolumes(), CreateSandbox(), EnsureImage("a"))),
        ("no address yet", a_pod(), replace(UP, addresses=()), (WireSandbox("s1"),)),
        (
            "hostNetwork needs none",
            a_pod(hostNetwork=True),
            replace(UP, addresses=()),
            (StartContainer("a", 0, "s1", "0"),),
        ),
        ("all there", a_pod(), UP, (StartContainer("a", 0, "s1", "0"),)),
        ("image on its way", a_pod(), replace(UP, images={"a": Present.PULLING}), ()),
        ("running", a_pod(), having(made()), ()),
        (
            "half made by an earlier agent",
            a_pod(),
            having(made(state=State.CREATED)),
            (StartContainer("a", 0, "s1", "0"),),
        ),
        (
            "crashed once: at once again",
            a_pod(),
            having(made(state=State.EXITED, code=1)),
            (StartContainer("a", 1, "s1", "10"),),
        ),
        ("crashed twice: waits", a_pod(), having(made(state=State.EXITED, code=1, attempt=1, delay=10)), ()),
        (
            "has waited long enough",
            a_pod(),
            having(made(state=State.EXITED, code=1, attempt=1, delay=10, ended=T0 - timedelta(seconds=10))),
            (StartContainer("a", 2, "s1", "20"),),
        ),
        (
            "never more than 300 s",
            a_pod(),
            having(made(state=State.EXITED, attempt=9, delay=300, ended=T0 - timedelta(seconds=301))),
            (StartContainer("a", 10, "s1", "300"),),
        ),
        (
            "forgiven after ten minutes",
            a_pod(),
            having(made(state=State.EXITED, attempt=9, delay=300, ran=601)),
            (StartContainer("a", 10, "s1", "10"),),
        ),
        (
            "OnFailure and failed",
            a_pod(restartPolicy="OnFailure"),
            having(made(state=State.EXITED, code=1)),
            (StartContainer("a", 1, "s1", "10"),),
        ),
        (
            "OnFailure and succeeded: over",
            a_pod(restartPolicy="OnFailure"),
            having(made(state=State.EXITED)),
            (RemoveSandbox("s1"), TearDown()),
        ),
        (
            "Never: over",
            a_pod(restartPolicy="Never"),
            having(made(state=State.EXITED, code=1)),
            (RemoveSandbox("s1"), TearDown()),
        ),
        (
            "over and torn down",
            a_pod(restartPolicy="Never"),
            having(made(state=State.EXITED), sandboxes=(), finished=True),
            (),
        ),
        (
            "its own policy: over, whatever the pod's",
            a_pod(containers=[{**APP, "restartPolicy": "Never"}]),
            having(made(state=State.EXITED, code=1)),
            (RemoveSandbox("s1"), TearDown()),
        ),
        (
            "a rule of its own",
            a_pod(restartPolicy="Never", containers=[RULED]),
            having(made(state=State.EXITED, code=42)),
            (StartContainer("a", 1, "s1", "10"),),
        ),
        (
            "no rule for this code",
            a_pod(restartPolicy="Never", containers=[RULED]),
            having(made(state=State.EXITED, code=41)),
            (RemoveSandbox("s1"), TearDown()),
        ),
        (
            "an init container that may not fail",
            a_pod(initContainers=[{**INIT, "restartPolicy": "Never"}]),
            having(made("i", State.EXITED, code=1)),
            (RemoveSandbox("s1"), TearDown()),
        ),
        ("ephemeral: its image first", a_pod(**DEBUG), having(made()), (EnsureImage("e"),)),
        ("ephemeral", a_pod(**DEBUG), having(made(), images=BOTH), (StartContainer("e", 0, "s1", "0"),)),
        (
            "ephemeral beside an init container",
            a_pod(initContainers=[INIT], **DEBUG),
            having(made("i"), images=BOTH),
            (StartContainer("e", 0, "s1", "0"),),
        ),
        ("ephemeral and ended: that was it", a_pod(**DEBUG), having(made(), made("e", State.EXITED, code=1)), ()),
        (
            "a pod that is over does not wait for it",
            a_pod(restartPolicy="Never", **DEBUG),
            having(made(state=State.EXITED), made("e")),
            (StopContainer("e", "e-0", 30, "Stopping container e"),),
        ),
        (
            "liveness failed",
            a_pod(),
            having(made(), health={"a-0": Health(failed="liveness", grace_seconds=3)}),
            (StopContainer("a", "a-0", 3, "Container a failed liveness probe, will be restarted"),),
        ),
        (
            "another image wanted",
            a_pod(),
            having(made(image="web:0")),
            (StopContainer("a", "a-0", 30, "Container a definition changed, will be restarted"),),
        ),
        (
            "sandbox died",
            a_pod(),
            having(made(), sandboxes=(sandbox(state=State.EXITED),), addresses=()),
            (RemoveSandbox("s1"), CreateSandbox(changed=True)),
        ),
        (
            "old attempts go",
            a_pod(),
            having(made(attempt=2), made(state=State.EXITED, attempt=1), made(state=State.EXITED, attempt=0)),
            (RemoveContainer("a-0"),),
        ),
        ("init first", a_pod(initContainers=[INIT]), UP, (EnsureImage("i"),)),
        ("init runs: wait", a_pod(initContainers=[INIT]), having(made("i")), ()),
        (
            "init failed and Never: over",
            a_pod(initContainers=[INIT], restartPolicy="Never"),
            having(made("i", State.EXITED, code=1)),
            (RemoveSandbox("s1"), TearDown()),
        ),
        (
            "init done",
            a_pod(initContainers=[INIT]),
            having(made("i", State.EXITED)),
            (StartContainer("a", 0, "s1", "0"),),
        ),
        (
            "sidecar up: go on",
            a_pod(initContainers=[SIDECAR]),
            having(made("s")),
            (StartContainer("a", 0, "s1", "0"),),
        ),
        (
            "sidecar not started: wait",
            a_pod(initContainers=[SIDECAR]),
            having(made("s"), health={"s-0": Health(started=False)}),
            (),
        ),
        (
            "sidecar of a finished pod ends",
            a_pod(initContainers=[SIDECAR], restartPolicy="Never"),
            having(made("s"), made(state=State.EXITED)),
            (StopContainer("s", "s-0", 30, "Stopping container s"),),
        ),
        (
            "deleted: app containers first",
            deleting(a_pod(initContainers=[SIDECAR])),
            having(made("s"), made()),
            (StopContainer("a", "a-0", 30, "Stopping container a"),),
        ),
        (
            "deleted: then the sidecar, in the time left",
            deleting(a_pod(initContainers=[SIDECAR])),
            having(made("s"), made(state=State.EXITED)),
            (StopContainer("s", "s-0", 30, "Stopping container s"),),
        ),
        (
            "deleted: then everything",
            deleting(a_pod()),
            having(made(state=State.EXITED)),
            (RemoveContainer("a-0"), RemoveSandbox("s1"), TearDown(), DeletePod("u")),
        ),
        ("deleted before it began", deleting(a_pod()), Observed(), (TearDown(), DeletePod("u"))),
        ("refused by the node", a_pod(), Observed(verdict=Verdict("OutOfcpu", "")), (TearDown(),)),
        (
            "past its deadline",
            a_pod(activeDeadlineSeconds=5),
            having(made(), started_at=T0 - timedelta(seconds=5)),
            (StopContainer("a", "a-0", 30, "Stopping container a"),),
        ),
        ("held back by the fence", a_pod(), replace(UP, held=True), ()),
    ],
)
def test_plan(case: str, pod: Object, observed: Observed, expected: tuple[Action, ...]) -> None:
    assert plan(pod, observed, T0).actions == expected, case


@pytest.mark.parametrize(
    ("case", "pod", "observed", "seconds"),
    [
        ("back-off", a_pod(), having(made(state=State.EXITED, attempt=1, delay=20)), 20),
        ("deadline", a_pod(activeDeadlineSeconds=7), having(made()), 7),
        (
            "failed start",
            a_pod(),
            having(failures={"a": Failure("CreateContainerConfigError", "", T0, T0 + timedelta(seconds=4))}),
            1,
        ),
        (
            "failed sandbox",
            a_pod(),
            Observed(
                pod_failure=Failure("FailedMount", "", T0, T0 + timedelta(seconds=8)), images={"a": Present.READY}
            ),
            8,
        ),
    ],
)
def test_when_to_plan_again(case: str, pod: Object, observed: Observed, seconds: int) -> None:
    chosen = plan(pod, observed, T0)
    assert chosen.actions == (), case
    assert chosen.again_at == T0 + timedelta(seconds=seconds)


PODS = {
    "one container": a_pod(),
    "two and their helpers": a_pod(
        initContainers=[SIDECAR, INIT], containers=[{"name": n, "image": "web:1"} for n in ("a", "b")]
    ),
    "on the node's network": a_pod(hostNetwork=True),
}


@pytest.mark.parametrize("name", PODS)
def test_starting_converges_after_every_interruption(name: str) -> None:
    """Crash after every prefix of every plan, forget what only the agent knew, and still the pod runs."""
    whole = PodModel(copy.deepcopy(PODS[name]))
    length = len(whole.converge())
    running = sorted(c.name for c in whole.observed.running)
    for cut in range(length):
        model, left = PodModel(copy.deepcopy(PODS[name])), cut
        while left > 0:
            for action in model.next().actions[:left]:
                model.apply(action)
                left -= 1
        model.forget()
        model.converge()
        assert sorted(c.name for c in model.observed.running) == running, cut
        assert all(c.attempt == 0 for c in model.observed.containers), cut
        assert len(model.observed.sandboxes) == 1, cut
        assert model.next().actions == ()


@pytest.mark.parametrize("name", PODS)
def test_ending_converges_after_every_interruption(name: str) -> None:
    for cut in range(12):
        model, left = PodModel(copy.deepcopy(PODS[name])), cut
        model.converge()
        deleting(model.pod)
        while left > 0 and not model.deleted:
            for action in model.next().actions[:left]:
                model.apply(action)
                left -= 1
        model.forget()
        model.converge()
        assert model.deleted, cut
        assert (model.observed.containers, model.observed.sandboxes) == ((), ()), cut

"""What the ReplicaSet controller does, as tables."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.controllers.replicaset import ReplicaSetController
from mesh.objects.kinds import PODS, REPLICASETS
from mesh.objects.meta import Key, controller_of, is_deleting, key_of, name_of, owner_reference, thaw
from mesh.objects.types import Object
from mesh.plan.actions import Create, Delete, Update
from mesh.plan.controller import Failure
from tests.support.api_model import ApiModel, converge, later, plan_once
from tests.support.workloads import NS, WEB, all_pods_start_and_end, pod, replicaset, set_ready, template

CONTROLLER = ReplicaSetController()


def owned(model: ApiModel, obj: Object) -> Object:
    obj["metadata"]["ownerReferences"] = [owner_reference(model.get(REPLICASETS, WEB))]
    return model.create(PODS, obj)


def start(replicas: int, **spec: Any) -> ApiModel:
    model = ApiModel(graceful=True)
    model.create(REPLICASETS, replicaset(replicas, **spec))
    return model


def test_pods_carry_template_owner_and_generated_name() -> None:
    model = start(1)
    plan = plan_once(CONTROLLER, WEB, model)
    [create] = [a for a in plan.actions if isinstance(a, Create)]
    assert create.object["metadata"] == {
        "generateName": "web-",
        "namespace": NS,
        "labels": {"app": "web"},
        "ownerReferences": [owner_reference(model.get(REPLICASETS, WEB))],
    }
    assert create.object["spec"] == template()["spec"]
    assert create.about is not None


@pytest.mark.parametrize("replicas", [0, 1, 7, 40])
def test_it_reaches_its_number_and_then_rests(replicas: int) -> None:
    model = start(replicas)
    converge([CONTROLLER], model, step=lambda: all_pods_start_and_end(model))
    assert len(model.all(PODS)) == replicas
    status = model.get(REPLICASETS, WEB)["status"]
    assert status.get("availableReplicas", 0) == status.get("readyReplicas", 0) == status["replicas"] == replicas
    assert plan_once(CONTROLLER, WEB, model).actions == ()


def test_one_pass_creates_at_most_500() -> None:
    plan = plan_once(CONTROLLER, WEB, start(1200))
    assert sum(isinstance(a, Create) for a in plan.actions) == 500
    assert plan.parallel


VICTIMS: dict[str, tuple[list[Object], str]] = {
    "unassigned before assigned": ([pod("a"), pod("b", node="")], "b"),
    "pending before running": ([pod("a"), pod("b") | {"status": {"phase": "Pending"}}], "b"),
    "unready before ready": ([pod("a", ready=False), pod("b")], "a"),
    "the cheaper one": (
        [
            pod("a"),
            {
                **pod("b"),
                "metadata": {
                    **pod("b")["metadata"],
                    "annotations": {"controller.kubernetes.io/pod-deletion-cost": "-5"},
                },
            },
        ],
        "b",
    ),
    "from the fuller node": ([pod("a", node="n1"), pod("b", node="n2"), pod("c", node="n2")], "b"),
    "the one that restarted more": (
        [pod("a"), pod("b") | {"status": {**pod("b")["status"], "containerStatuses": [{"restartCount": 3}]}}],
        "b",
    ),
}


@pytest.mark.parametrize(("found", "victim"), VICTIMS.values(), ids=VICTIMS.keys())
def test_who_goes_first(found: list[Object], victim: str) -> None:
    model = start(len(found) - 1)
    for obj in found:
        owned(model, obj)
    deleted = [a.key.name for a in plan_once(CONTROLLER, WEB, model).actions if isinstance(a, Delete)]
    assert deleted == [victim]


def test_ended_and_terminating_pods_do_not_count() -> None:
    model = start(1)
    owned(model, pod("done") | {"status": {"phase": "Succeeded"}})
    model.delete(PODS, key_of(owned(model, pod("going"))))
    actions = plan_once(CONTROLLER, WEB, model).actions
    assert sum(isinstance(a, Create) for a in actions) == 1
    [status] = [a.object["status"] for a in actions if isinstance(a, Update)]
    assert status == {"replicas": 0, "terminatingReplicas": 1, "observedGeneration": 1}


def test_matching_orphans_are_adopted_and_strangers_released() -> None:
    model = start(2)
    model.create(PODS, pod("orphan"))
    owned(model, pod("stranger", app="other"))
    first = plan_once(CONTROLLER, WEB, model).actions
    assert [name_of(a.object) for a in first if isinstance(a, Update)] == ["stranger", "orphan"]
    assert len(first) == 2
    converge([CONTROLLER], model, step=lambda: all_pods_start_and_end(model))
    assert controller_of(model.get(PODS, Key(NS, "orphan"))) is not None
    assert controller_of(model.get(PODS, Key(NS, "stranger"))) is None
    assert len(model.all(PODS)) == 3


def test_nothing_is_adopted_while_the_owner_is_being_deleted() -> None:
    model = start(1)
    model.create(PODS, pod("orphan"))
    model.delete(REPLICASETS, WEB, propagation="Foreground")
    assert is_deleting(model.get(REPLICASETS, WEB))
    actions = plan_once(CONTROLLER, WEB, model).actions
    assert [type(a) for a in actions] == [Update]
    assert actions[0].subresource == "status"  # type: ignore[union-attr]


def test_the_live_owner_decides_on_adoption() -> None:
    model = start(1)
    model.create(PODS, pod("orphan"))
    stale = thaw(model.get(REPLICASETS, WEB))
    model.delete(REPLICASETS, WEB, propagation="Foreground")
    live = model.get(REPLICASETS, WEB)
    model.objects[REPLICASETS][WEB] = stale
    model.read = lambda _read: (live,)  # type: ignore[method-assign]
    updates = [a.object for a in plan_once(CONTROLLER, WEB, model).actions if isinstance(a, Update)]
    assert "orphan" not in [name_of(obj) for obj in updates]


def test_min_ready_seconds_hold_back_availability() -> None:
    model = start(1, minReadySeconds=10)
    converge([CONTROLLER], model, step=lambda: all_pods_start_and_end(model))
    assert "availableReplicas" not in model.get(REPLICASETS, WEB)["status"]
    later(model, 4)
    again = plan_once(CONTROLLER, WEB, model).again_after
    assert again is not None
    assert again.total_seconds() == 6
    later(model, 6)
    converge([CONTROLLER], model)
    assert model.get(REPLICASETS, WEB)["status"]["availableReplicas"] == 1


def test_a_refused_pod_shows_as_condition_and_goes_away() -> None:
    model = start(1)
    create = next(a for a in plan_once(CONTROLLER, WEB, model).actions if isinstance(a, Create))
    plan = plan_once(CONTROLLER, WEB, model, failure=Failure(create, "exceeded quota"))
    assert isinstance(plan.actions[0], Update)
    model.apply(plan.actions[0])
    [condition] = model.get(REPLICASETS, WEB)["status"]["conditions"]
    assert (condition["type"], condition["reason"]) == ("ReplicaFailure", "FailedCreate")
    assert condition["message"] == "exceeded quota"
    converge([CONTROLLER], model, step=lambda: all_pods_start_and_end(model))
    assert "conditions" not in model.get(REPLICASETS, WEB)["status"]


def test_a_pod_that_loses_readiness_is_reported() -> None:
    model = start(2)
    converge([CONTROLLER], model, step=lambda: all_pods_start_and_end(model))
    set_ready(model, key_of(model.all(PODS)[0]), ready=False)
    converge([CONTROLLER], model)
    assert model.get(REPLICASETS, WEB)["status"]["readyReplicas"] == 1

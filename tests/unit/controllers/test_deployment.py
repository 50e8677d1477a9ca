"""Rollouts: what users see of them, the bounds that always hold, and convergence from every interruption."""

from __future__ import annotations

import random
from typing import Any

import pytest

from controlplane.controllers import deployment_sizes as sizes
from controlplane.controllers.deployment import DeploymentController
from controlplane.controllers.deployment_templates import REVISION, template_hash
from controlplane.controllers.replicaset import ReplicaSetController
from mesh.objects.kinds import DEPLOYMENTS, PODS, REPLICASETS
from mesh.objects.meta import annotations_of, is_deleting, key_of, labels_of, name_of, thaw
from mesh.objects.types import Object
from mesh.plan.actions import Create, Update
from mesh.plan.controller import Failure
from tests.support.api_model import ApiModel, carry_out, converge, keys_of_all, later, plan_once
from tests.support.workloads import WEB, all_pods_start_and_end, change, deployment, set_ready, template

CONTROLLER = DeploymentController()
BOTH = (CONTROLLER, ReplicaSetController())


def start(*args: Any, **spec: Any) -> ApiModel:
    model = ApiModel(graceful=True)
    model.create(DEPLOYMENTS, deployment(*args, **spec))
    return model


def settle(model: ApiModel) -> None:
    converge(BOTH, model, step=lambda: all_pods_start_and_end(model), most=200)


def rolled_out(*args: Any, **spec: Any) -> ApiModel:
    model = start(*args, **spec)
    settle(model)
    return model


def progressing(model: ApiModel) -> tuple[str, str]:
    conditions = model.get(DEPLOYMENTS, WEB)["status"]["conditions"]
    [found] = [c for c in conditions if c["type"] == "Progressing"]
    return found["status"], found["reason"]


def images(model: ApiModel) -> list[str]:
    return [p["spec"]["containers"][0]["image"] for p in model.all(PODS)]


def told(model: ApiModel) -> list[str]:
    return [r.message for r in model.events if r.reason == "ScalingReplicaSet"]


def test_a_new_deployment() -> None:
    model = rolled_out(3)
    [rs] = model.all(REPLICASETS)
    digest = labels_of(rs)["pod-template-hash"]
    assert name_of(rs) == f"web-{digest}"
    assert rs["spec"]["selector"] == {"matchLabels": {"app": "web", "pod-template-hash": digest}}
    assert annotations_of(rs) == {
        REVISION: "1",
        "deployment.kubernetes.io/desired-replicas": "3",
        "deployment.kubernetes.io/max-replicas": "4",
    }
    assert annotations_of(model.get(DEPLOYMENTS, WEB)) == {REVISION: "1"}
    status = model.get(DEPLOYMENTS, WEB)["status"]
    assert {k: v for k, v in status.items() if k != "conditions"} == {
        "observedGeneration": 1,
        "replicas": 3,
        "updatedReplicas": 3,
        "readyReplicas": 3,
        "availableReplicas": 3,
        "terminatingReplicas": 0,
    }
    by_type = {c["type"]: (c["status"], c["reason"], c["message"]) for c in status["conditions"]}
    assert by_type == {
        "Available": ("True", "MinimumReplicasAvailable", "Deployment has minimum availability."),
        "Progressing": (
            "True",
            "NewReplicaSetAvailable",
            f'ReplicaSet "{name_of(rs)}" has successfully progressed.',
        ),
    }
    assert told(model) == [f"Scaled up replica set {name_of(rs)} from 0 to 3"]
    assert plan_once(CONTROLLER, WEB, model).actions == ()


def test_the_first_condition_says_what_was_created() -> None:
    model = start(3)
    carry_out(model, plan_once(CONTROLLER, WEB, model).actions)
    assert progressing(model) == ("True", "NewReplicaSetCreated")


def test_a_creation_cut_short_is_found_again() -> None:
    model = start(3)
    model.apply(next(a for a in plan_once(CONTROLLER, WEB, model).actions if isinstance(a, Create)))
    for _ in range(3):
        carry_out(model, plan_once(CONTROLLER, WEB, model).actions)
    assert progressing(model) == ("True", "FoundNewReplicaSet")


def test_a_rolling_update_keeps_history_and_numbers() -> None:
    model = rolled_out(4)
    change(model, template=template("web:2"))
    settle(model)
    assert images(model) == ["web:2"] * 4
    assert sorted((annotations_of(rs)[REVISION], rs["spec"]["replicas"]) for rs in model.all(REPLICASETS)) == [
        ("1", 0),
        ("2", 4),
    ]
    assert annotations_of(model.get(DEPLOYMENTS, WEB))[REVISION] == "2"


def test_going_back_makes_the_old_one_the_newest() -> None:
    model = rolled_out(2)
    for image in ("web:2", "web:1"):
        change(model, template=template(image))
        settle(model)
    newest = next(rs for rs in model.all(REPLICASETS) if rs["spec"]["replicas"])
    assert annotations_of(newest)[REVISION] == "3"
    assert annotations_of(newest)["deployment.kubernetes.io/revision-history"] == "1"
    assert len(model.all(REPLICASETS)) == 2
    assert images(model) == ["web:1"] * 2


def test_history_is_limited() -> None:
    model = rolled_out(1, revisionHistoryLimit=2)
    for n in range(2, 7):
        change(model, template=template(f"web:{n}"))
        settle(model)
    assert sorted(annotations_of(rs)[REVISION] for rs in model.all(REPLICASETS)) == ["4", "5", "6"]


def test_recreate_waits_for_the_last_old_pod() -> None:
    model = rolled_out(3, strategy={"type": "Recreate"})
    change(model, template=template("web:2"))
    converge(BOTH, model)
    assert all(is_deleting(p) for p in model.all(PODS))
    assert len(model.all(REPLICASETS)) == 1
    settle(model)
    assert images(model) == ["web:2"] * 3


def test_paused_it_scales_but_does_not_roll() -> None:
    model = rolled_out(2, paused=False)
    change(model, paused=True, template=template("web:2"), replicas=5)
    settle(model)
    assert images(model) == ["web:1"] * 5
    assert progressing(model) == ("Unknown", "DeploymentPaused")
    change(model, paused=False)
    carry_out(model, plan_once(CONTROLLER, WEB, model).actions)
    assert progressing(model) == ("Unknown", "DeploymentResumed")
    settle(model)
    assert images(model) == ["web:2"] * 5


def test_a_stuck_rollout_is_reported_when_its_deadline_has_passed() -> None:
    model = start(2, progressDeadlineSeconds=60)
    converge(BOTH, model)
    again = plan_once(CONTROLLER, WEB, model).again_after
    assert again is not None
    assert again.total_seconds() == 61
    later(model, 61)
    converge(BOTH, model)
    assert progressing(model) == ("False", "ProgressDeadlineExceeded")
    assert plan_once(CONTROLLER, WEB, model).actions == ()
    settle(model)
    assert progressing(model) == ("True", "NewReplicaSetAvailable")


def test_pods_that_fail_later_do_not_make_it_progress_again() -> None:
    model = rolled_out(2)
    set_ready(model, key_of(model.all(PODS)[0]), ready=False)
    converge(BOTH, model)
    assert progressing(model) == ("True", "NewReplicaSetAvailable")
    conditions = model.get(DEPLOYMENTS, WEB)["status"]["conditions"]
    assert next(c for c in conditions if c["type"] == "Available")["reason"] == "MinimumReplicasUnavailable"


def test_scaling_in_mid_rollout_is_shared_out_in_proportion() -> None:
    model = rolled_out(10, surge=3, unavailable=2)
    change(model, template=template("web:2"))
    converge(BOTH, model)
    before = {labels_of(rs)["pod-template-hash"]: rs["spec"]["replicas"] for rs in model.all(REPLICASETS)}
    assert sorted(before.values()) == [5, 8]
    change(model, replicas=15)
    carry_out(model, plan_once(CONTROLLER, WEB, model).actions)
    after = [rs["spec"]["replicas"] for rs in model.all(REPLICASETS)]
    assert sorted(after) == [7, 11]
    settle(model)
    assert images(model) == ["web:2"] * 15


def sized(name: str, size: int, *, ready: int, available: int) -> Object:
    status = {"readyReplicas": ready, "availableReplicas": available, "observedGeneration": 2}
    metadata = {"name": name, "creationTimestamp": "2026-01-01T00:00:00Z", "generation": 2}
    return {"metadata": metadata, "spec": {"replicas": size}, "status": status}


@pytest.mark.parametrize(
    ("ready", "available", "shrinks"),
    [
        (3, 2, {}),  # of three ready ones two are available, and one of the three has to go: it may be any of them
        (3, 3, {"old": 0}),  # whichever goes, two available ones stay
        (2, 2, {"old": 0}),  # the one that is not ready goes
    ],
)
def test_an_old_set_does_not_shrink_on_the_word_of_pods_that_may_be_about_to_go(
    ready: int, available: int, shrinks: dict[str, int]
) -> None:
    """The Deployment was scaled from 4 to 3 in the middle of a rollout: its new ReplicaSet from 3 to 2."""
    new, old = sized("new", 2, ready=ready, available=available), sized("old", 1, ready=1, available=1)
    assert sizes.old_set_sizes(sizes.Bounds(3, 0, 1), new, [old]) == shrinks


def test_a_taken_name_is_counted_as_collision() -> None:
    model = start(1)
    digest = template_hash(deployment()["spec"]["template"], 0)
    model.create(
        REPLICASETS,
        {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": {"namespace": "ns", "name": f"web-{digest}"},
            "spec": {"replicas": 0, "selector": {"matchLabels": {"x": "y"}}, "template": {"spec": {}}},
        },
    )
    settle(model)
    assert model.get(DEPLOYMENTS, WEB)["status"]["collisionCount"] == 1
    assert len(model.all(PODS)) == 1


def test_a_failure_to_create_is_a_condition() -> None:
    model = start(1)
    create = next(a for a in plan_once(CONTROLLER, WEB, model).actions if isinstance(a, Create))
    plan = plan_once(CONTROLLER, WEB, model, failure=Failure(create, "forbidden"))
    assert isinstance(plan.actions[0], Update)
    model.apply(plan.actions[0])
    assert progressing(model) == ("False", "ReplicaSetCreateError")
    settle(model)
    assert progressing(model) == ("True", "NewReplicaSetAvailable")


BOUNDS = [
    (10, "25%", "25%", (10, 3, 2)),
    (3, "25%", "25%", (3, 1, 0)),
    (1, "25%", "25%", (1, 1, 0)),
    (4, 0, 0, (4, 0, 1)),
    (4, "0%", "10%", (4, 0, 1)),
    (2, 5, 5, (2, 5, 2)),
    (0, "25%", "25%", (0, 0, 0)),
    (10, "100%", "100%", (10, 10, 10)),
]


@pytest.mark.parametrize(("replicas", "surge", "unavailable", "expected"), BOUNDS)
def test_bounds(replicas: int, surge: Any, unavailable: Any, expected: tuple[int, int, int]) -> None:
    found = sizes.bounds_of(deployment(replicas, surge=surge, unavailable=unavailable))
    assert (found.replicas, found.surge, found.unavailable) == expected


def interrupted(model: ApiModel, rng: random.Random) -> None:
    """One pass of one key, crashed after a random prefix of its plan."""
    controller = rng.choice(BOTH)
    keys = keys_of_all(controller, model)
    if keys:
        actions = plan_once(controller, rng.choice(keys), model).actions
        carry_out(model, actions[: rng.randint(0, len(actions))])


def check_bounds(model: ApiModel, bounds: sizes.Bounds) -> None:
    """Surge bounds what is asked for (an old pod may still be on its way out); availability bounds what is there."""
    assert sizes.total(model.all(REPLICASETS)) <= bounds.most
    available = [p for p in model.all(PODS) if not is_deleting(p) and p.get("status")]
    assert len(available) >= bounds.least_available


@pytest.mark.parametrize("seed", range(30))
def test_a_random_walk_never_leaves_the_bounds_and_converges(seed: int) -> None:
    rng = random.Random(seed)
    surge, unavailable = rng.choice([(1, 0), (0, 1), ("25%", "25%"), (3, 2), ("50%", 0)])
    model = rolled_out(rng.randint(2, 8), surge=surge, unavailable=unavailable)
    bounds = sizes.bounds_of(model.get(DEPLOYMENTS, WEB))
    for step in range(150):
        if step % 50 == 0:
            change(model, template=template(f"web:{seed}-{step}"))
        interrupted(model, rng)
        waiting = [p for p in model.all(PODS) if is_deleting(p) or not p.get("status")]
        if waiting and rng.random() < 0.4:
            one = rng.choice(waiting)
            if is_deleting(one):
                model.finish_pod(key_of(one))
            else:
                set_ready(model, key_of(one))
        check_bounds(model, bounds)
    settle(model)
    assert images(model) == [f"web:{seed}-100"] * bounds.replicas
    assert progressing(model) == ("True", "NewReplicaSetAvailable")


def test_crash_after_every_prefix_of_every_plan() -> None:
    for cut in range(6):
        model = start(4, surge=1, unavailable=1)
        for image in ("web:1", "web:2"):
            change(model, template=template(image))
            for _ in range(40):
                for controller in BOTH:
                    for key in keys_of_all(controller, model):
                        actions = plan_once(controller, key, model).actions
                        carry_out(model, actions[: cut + 1])
                all_pods_start_and_end(model)
        settle(model)
        assert images(model) == ["web:2"] * 4
        assert [thaw(rs)["spec"]["replicas"] for rs in model.all(REPLICASETS)].count(4) == 1


def test_selecting_everything_is_refused_with_an_event() -> None:
    model = start(1, selector={})
    carry_out(model, plan_once(CONTROLLER, WEB, model).actions)
    assert [e.reason for e in model.events] == ["SelectingAll"]
    assert model.all(REPLICASETS) == []


def test_template_hash_is_stable_and_safe() -> None:
    one: Object = {"b": [1, {"x": "y"}], "a": None}
    assert template_hash(one, 0) == template_hash({"a": None, "b": [1, {"x": "y"}]}, 0)
    assert template_hash(one, 0) != template_hash(one, 1)
    assert set(template_hash(one, 0)) <= set("bcdfghjklmnpqrstvwxz2456789")

"""Cascades in the background, in the foreground and to orphans; owners that are doubtful, circular or misplaced."""

from __future__ import annotations

import random

import pytest

from controlplane.controllers.garbagecollector import GarbageCollector, graph_key
from mesh.objects.kinds import BUILT_IN, CONFIGMAPS, DEPLOYMENTS, NODES, PODS, REPLICASETS, SECRETS, Resource
from mesh.objects.meta import Key, is_deleting, key_of, name_of, thaw
from mesh.objects.types import Object
from mesh.plan.actions import Record
from tests.support.api_model import ApiModel, carry_out, converge, keys_of_all, plan_once

GC = GarbageCollector(BUILT_IN)
NS = "ns"


def ref(owner: Object, *, block: bool = True) -> Object:
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": name_of(owner),
        "uid": owner["metadata"]["uid"],
        "blockOwnerDeletion": block,
    }


def make(model: ApiModel, resource: Resource, name: str, *owners: Object, block: bool = True, ns: str = NS) -> Object:
    meta: Object = {"name": name, "ownerReferences": [ref(owner, block=block) for owner in owners]}
    if resource.namespaced:
        meta["namespace"] = ns
    return model.create(resource, {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": meta})


def family(*, block: bool = True) -> ApiModel:
    """A Deployment with two ReplicaSets of two pods each."""
    model = ApiModel()
    top = make(model, DEPLOYMENTS, "top")
    for n in range(2):
        middle = make(model, REPLICASETS, f"middle{n}", top, block=block)
        for m in range(2):
            make(model, PODS, f"pod{n}{m}", middle, block=block)
    return model


TOP = Key(NS, "top")


def left(model: ApiModel) -> list[str]:
    return sorted(name_of(o) for r in BUILT_IN for o in model.all(r))


@pytest.mark.parametrize("policy", ["Background", "Foreground"])
@pytest.mark.parametrize("block", [True, False])
def test_a_cascade_takes_everything(policy: str, block: bool) -> None:
    model = family(block=block)
    model.delete(DEPLOYMENTS, TOP, propagation=policy)
    converge([GC], model)
    assert left(model) == []


def test_in_the_foreground_the_owner_goes_last() -> None:
    model = family()
    model.delete(DEPLOYMENTS, TOP, propagation="Foreground")
    converge([GC], model)
    order = [name_of(c.object) for c in model.log if c.type == "DELETED"]
    assert order[-1] == "top"
    for n in range(2):
        assert max(order.index(f"pod{n}{m}") for m in range(2)) < order.index(f"middle{n}")


def test_orphans_stay_and_forget_their_owner() -> None:
    model = family()
    model.delete(DEPLOYMENTS, TOP, propagation="Orphan")
    converge([GC], model)
    assert left(model) == ["middle0", "middle1", "pod00", "pod01", "pod10", "pod11"]
    assert all(not o["metadata"].get("ownerReferences") for o in model.all(REPLICASETS))
    assert all(o["metadata"]["ownerReferences"] for o in model.all(PODS))


def test_one_owner_that_stays_is_enough() -> None:
    model = ApiModel()
    owners = [make(model, CONFIGMAPS, name) for name in ("a", "b")]
    make(model, SECRETS, "shared", *owners)
    model.delete(CONFIGMAPS, Key(NS, "a"))
    converge([GC], model)
    [secret] = model.all(SECRETS)
    assert [r["name"] for r in secret["metadata"]["ownerReferences"]] == ["b"]
    model.delete(CONFIGMAPS, Key(NS, "b"))
    converge([GC], model)
    assert left(model) == []


def test_an_owner_deleted_and_made_again_is_another_one() -> None:
    model = ApiModel()
    owner = make(model, CONFIGMAPS, "a")
    make(model, SECRETS, "s", owner)
    model.delete(CONFIGMAPS, Key(NS, "a"))
    make(model, CONFIGMAPS, "a")
    converge([GC], model)
    assert left(model) == ["a"]


def test_an_owner_missing_only_in_the_cache_is_not_missing() -> None:
    model = ApiModel()
    owner = make(model, CONFIGMAPS, "a")
    make(model, SECRETS, "s", owner)
    del model.objects[CONFIGMAPS][Key(NS, "a")]
    model.read = lambda read: (owner,) if read.name == "a" else ()  # type: ignore[method-assign]
    assert plan_once(GC, graph_key(SECRETS, Key(NS, "s")), model).actions == ()


def test_owners_of_unknown_kind_are_left_to_those_who_know_them() -> None:
    model = ApiModel()
    stranger = {"apiVersion": "example.org/v1", "kind": "Thing", "metadata": {"name": "x", "uid": "u"}}
    make(model, SECRETS, "s", stranger)
    converge([GC], model)
    assert left(model) == ["s"]


def test_an_owner_in_another_namespace_counts_as_absent_and_is_told() -> None:
    model = ApiModel()
    owner = make(model, CONFIGMAPS, "a", ns="other")
    make(model, SECRETS, "s", owner)
    plan = plan_once(GC, graph_key(SECRETS, Key(NS, "s")), model)
    [record] = [a for a in plan.actions if isinstance(a, Record)]
    assert record.reason == "OwnerRefInvalidNamespace"
    assert record.message.endswith('does not exist in namespace "ns"')
    converge([GC], model)
    assert left(model) == ["a"]


def test_a_namespaced_owner_of_a_cluster_wide_object_is_no_reason_to_delete_it() -> None:
    model = ApiModel()
    make(model, NODES, "n", make(model, CONFIGMAPS, "a"))
    model.delete(CONFIGMAPS, Key(NS, "a"))
    converge([GC], model)
    assert left(model) == ["n"]


def test_a_cluster_wide_owner_of_a_namespaced_object() -> None:
    model = ApiModel()
    make(model, CONFIGMAPS, "a", make(model, NODES, "n"))
    model.delete(NODES, Key("", "n"))
    converge([GC], model)
    assert left(model) == []


def test_a_circle_of_owners_does_not_block_itself() -> None:
    model = ApiModel()
    a = make(model, CONFIGMAPS, "a")
    b = make(model, CONFIGMAPS, "b", a)
    changed = thaw(model.get(CONFIGMAPS, Key(NS, "a")))
    changed["metadata"]["ownerReferences"] = [ref(b)]
    model.update(CONFIGMAPS, changed)
    model.delete(CONFIGMAPS, Key(NS, "a"), propagation="Foreground")
    converge([GC], model)
    assert left(model) == []


def test_a_foreign_finalizer_holds_the_foreground_owner() -> None:
    model = family()
    held = thaw(model.get(PODS, Key(NS, "pod00")))
    held["metadata"]["finalizers"] = ["example.org/x"]
    model.update(PODS, held)
    model.delete(DEPLOYMENTS, TOP, propagation="Foreground")
    converge([GC], model)
    assert left(model) == ["middle0", "pod00", "top"]
    free = thaw(model.get(PODS, Key(NS, "pod00")))
    free["metadata"]["finalizers"] = []
    model.update(PODS, free)
    converge([GC], model)
    assert left(model) == []


def test_what_changed_since_it_was_judged_is_spared() -> None:
    model = ApiModel()
    owner = make(model, CONFIGMAPS, "a")
    make(model, SECRETS, "s", owner)
    model.delete(CONFIGMAPS, Key(NS, "a"))
    actions = plan_once(GC, graph_key(SECRETS, Key(NS, "s")), model).actions
    rescued = thaw(model.get(SECRETS, Key(NS, "s")))
    rescued["metadata"]["ownerReferences"] = []
    model.update(SECRETS, rescued)
    carry_out(model, actions)
    assert left(model) == ["s"]


@pytest.mark.parametrize("seed", range(20))
def test_random_forests_converge_from_every_interruption(seed: int) -> None:
    rng = random.Random(seed)
    model = ApiModel()
    nodes: list[tuple[Resource, Object]] = []
    for n in range(25):
        owners = [o for _, o in rng.sample(nodes, min(len(nodes), rng.randint(0, 2)))]
        resource = rng.choice([CONFIGMAPS, SECRETS, PODS])
        nodes.append((resource, make(model, resource, f"o{n}", *owners, block=rng.random() < 0.5)))
    for resource, obj in rng.sample(nodes, 5):
        if key_of(obj) in model.objects[resource]:
            model.delete(resource, key_of(obj), propagation=rng.choice(["Background", "Foreground", "Orphan"]))
        for key in keys_of_all(GC, model)[:3]:
            actions = plan_once(GC, key, model).actions
            carry_out(model, actions[: rng.randint(0, len(actions))])
    converge([GC], model)
    uids = {o["metadata"]["uid"] for r in BUILT_IN for o in model.all(r)}
    for resource in (CONFIGMAPS, SECRETS, PODS):
        for obj in model.all(resource):
            assert not is_deleting(obj)
            assert all(r["uid"] in uids for r in obj["metadata"].get("ownerReferences") or ())

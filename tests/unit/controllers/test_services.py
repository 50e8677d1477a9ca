"""EndpointSlices and Endpoints: who is in them, in which state, and how little changes."""

from __future__ import annotations

import random
from typing import Any

import pytest

from controlplane.controllers.endpoints import EndpointsController
from controlplane.controllers.endpointslice import EndpointSliceController
from mesh.objects.kinds import ENDPOINTS, ENDPOINTSLICES, NODES, PODS, SERVICES
from mesh.objects.meta import Key, annotations_of, key_of, labels_of, name_of, thaw
from mesh.objects.types import Object
from mesh.plan.actions import Create, Delete, Update
from tests.support.api_model import ApiModel, carry_out, converge, plan_once
from tests.support.workloads import NS, WEB, pod

SLICES = EndpointSliceController()
OLD = EndpointsController()


def service(**spec: Any) -> Object:
    ports = [{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"namespace": NS, "name": "web", "labels": {"team": "a"}},
        "spec": {"selector": {"app": "web"}, "clusterIP": "10.96.0.7", "ports": ports, **spec},
    }


def start(count: int, **spec: Any) -> ApiModel:
    model = ApiModel(graceful=True)
    model.create(SERVICES, service(**spec))
    for n in range(count):
        model.create(PODS, pod(f"web-{n:04}", ip=f"10.64.{n // 250}.{n % 250 + 1}"))
    return model


def slices(model: ApiModel) -> list[Object]:
    return sorted(model.all(ENDPOINTSLICES), key=key_of)


def test_a_slice_in_full() -> None:
    model = start(1)
    model.create(NODES, {"metadata": {"name": "n1", "labels": {"topology.kubernetes.io/zone": "z1"}}})
    converge([SLICES], model)
    [made] = slices(model)
    assert made["metadata"]["generateName"] == "web-"
    assert labels_of(made) == {
        "team": "a",
        "kubernetes.io/service-name": "web",
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
    }
    assert made["metadata"]["ownerReferences"][0]["kind"] == "Service"
    assert made["addressType"] == "IPv4"
    assert made["ports"] == [{"name": "http", "port": 8080, "protocol": "TCP"}]
    uid = model.all(PODS)[0]["metadata"]["uid"]
    assert made["endpoints"] == [
        {
            "addresses": ["10.64.0.1"],
            "conditions": {"ready": True, "serving": True, "terminating": False},
            "targetRef": {"kind": "Pod", "namespace": NS, "name": "web-0000", "uid": uid},
            "nodeName": "n1",
            "zone": "z1",
        }
    ]


STATES = {
    "ready": (True, False, False, (True, True, False)),
    "not ready": (False, False, False, (False, False, False)),
    "terminating but serving": (True, True, False, (False, True, True)),
    "terminating": (False, True, False, (False, False, True)),
    "not ready but published": (False, False, True, (True, False, False)),
}


@pytest.mark.parametrize(("ready", "deleted", "publish", "expected"), STATES.values(), ids=STATES.keys())
def test_conditions(ready: bool, deleted: bool, publish: bool, expected: tuple[bool, bool, bool]) -> None:
    model = ApiModel(graceful=True)
    model.create(SERVICES, service(publishNotReadyAddresses=publish))
    model.create(PODS, pod("a", ready=ready, ip="10.64.0.1"))
    if deleted:
        model.delete(PODS, Key(NS, "a"))
    converge([SLICES], model)
    [endpoint] = slices(model)[0]["endpoints"]
    assert tuple(endpoint["conditions"].values()) == expected


LEFT_OUT = {
    "no address yet": pod("a"),
    "ended": pod("a", ip="10.64.0.1") | {"status": {"phase": "Succeeded", "podIP": "10.64.0.1"}},
    "other labels": pod("a", ip="10.64.0.1", app="other"),
}


@pytest.mark.parametrize("found", LEFT_OUT.values(), ids=LEFT_OUT.keys())
def test_pods_that_do_not_belong(found: Object) -> None:
    model = start(0)
    model.create(PODS, found)
    converge([SLICES, OLD], model)
    [placeholder] = slices(model)
    assert placeholder["endpoints"] == []
    assert "subsets" not in model.get(ENDPOINTS, WEB)


@pytest.mark.parametrize("spec", [{"selector": None}, {"type": "ExternalName", "externalName": "example.org"}])
def test_services_without_pods_of_their_own_are_left_alone(spec: dict[str, Any]) -> None:
    model = start(1, **spec)
    assert plan_once(SLICES, WEB, model).actions == ()
    assert plan_once(OLD, WEB, model).actions == ()


@pytest.mark.parametrize(("count", "expected"), [(100, [100]), (101, [1, 100]), (250, [50, 100, 100])])
def test_at_most_100_in_a_slice(count: int, expected: list[int]) -> None:
    model = start(count)
    converge([SLICES], model)
    assert sorted(len(s["endpoints"]) for s in slices(model)) == expected


def test_one_pod_changes_one_slice() -> None:
    model = start(250)
    converge([SLICES], model)
    changed = thaw(model.get(PODS, Key(NS, "web-0123")))
    changed["status"]["conditions"][0]["status"] = "False"
    model.put(PODS, changed)
    assert [type(a) for a in plan_once(SLICES, WEB, model).actions] == [Update]
    converge([SLICES], model)
    model.create(PODS, pod("new", ip="10.64.9.9"))
    [action] = plan_once(SLICES, WEB, model).actions
    assert isinstance(action, Update)
    assert len(action.object["endpoints"]) == 51


def test_empty_slices_go_but_for_one() -> None:
    model = start(150)
    converge([SLICES], model)
    for one in model.all(PODS):
        model.finish_pod(key_of(one))
    converge([SLICES], model)
    assert [s["endpoints"] for s in slices(model)] == [[]]


def test_named_target_ports_may_differ_between_pods() -> None:
    model = start(0, ports=[{"port": 80, "targetPort": "web", "protocol": "TCP"}])
    for name, number in (("a", 8080), ("b", 9090)):
        one = pod(name, ip=f"10.64.0.{number % 100 + 1}")
        one["spec"]["containers"][0]["ports"] = [{"name": "web", "containerPort": number}]
        model.create(PODS, one)
    converge([SLICES, OLD], model)
    assert sorted(s["ports"][0]["port"] for s in slices(model)) == [8080, 9090]
    assert [s["ports"] for s in model.get(ENDPOINTS, WEB)["subsets"]] == [
        [{"port": 8080, "protocol": "TCP"}],
        [{"port": 9090, "protocol": "TCP"}],
    ]


def test_a_headless_service_is_marked_and_names_its_pods() -> None:
    model = start(0, clusterIP="None", ports=[])
    one = pod("a", ip="10.64.0.1")
    one["spec"] |= {"hostname": "a-0", "subdomain": "web"}
    model.create(PODS, one)
    converge([SLICES, OLD], model)
    [made] = slices(model)
    assert labels_of(made)["service.kubernetes.io/headless"] == ""
    assert made["endpoints"][0]["hostname"] == "a-0"
    assert made["ports"] == []
    assert model.get(ENDPOINTS, WEB)["subsets"][0]["addresses"][0]["hostname"] == "a-0"


def test_both_families_have_their_own_slices() -> None:
    model = start(0, ipFamilies=["IPv4", "IPv6"])
    both = pod("a", ip="10.64.0.1")
    both["status"]["podIPs"].append({"ip": "fd00::1"})
    model.create(PODS, both)
    converge([SLICES], model)
    found = {s["addressType"]: s["endpoints"][0]["addresses"] for s in slices(model)}
    assert found == {"IPv4": ["10.64.0.1"], "IPv6": ["fd00::1"]}


def test_changed_ports_replace_the_slice() -> None:
    model = start(2)
    converge([SLICES], model)
    changed = thaw(model.get(SERVICES, WEB))
    changed["spec"]["ports"][0]["targetPort"] = 9090
    model.update(SERVICES, changed)
    assert [type(a) for a in plan_once(SLICES, WEB, model).actions] == [Delete, Create]
    converge([SLICES], model)
    assert [s["ports"][0]["port"] for s in slices(model)] == [9090]


def test_foreign_slices_are_left_alone() -> None:
    model = start(0)
    meta = {"namespace": NS, "name": "own", "labels": {"kubernetes.io/service-name": "web"}}
    model.create(ENDPOINTSLICES, {"metadata": meta, "addressType": "IPv4", "endpoints": [{"addresses": ["1.2.3.4"]}]})
    converge([SLICES], model)
    assert len(slices(model)) == 2


def test_endpoints_in_full() -> None:
    model = start(1)
    model.create(PODS, pod("sick", ready=False, ip="10.64.5.5"))
    converge([OLD], model)
    made = model.get(ENDPOINTS, WEB)
    assert labels_of(made) == {"team": "a", "endpoints.kubernetes.io/managed-by": "endpoint-controller"}
    [subset] = made["subsets"]
    assert [a["ip"] for a in subset["addresses"]] == ["10.64.0.1"]
    assert [a["targetRef"]["name"] for a in subset["notReadyAddresses"]] == ["sick"]
    assert subset["ports"] == [{"name": "http", "port": 8080, "protocol": "TCP"}]


def test_more_than_1000_endpoints_are_cut_and_marked() -> None:
    model = start(1001)
    converge([OLD], model)
    made = model.get(ENDPOINTS, WEB)
    assert len(made["subsets"][0]["addresses"]) == 1000
    assert annotations_of(made) == {"endpoints.kubernetes.io/over-capacity": "truncated"}
    model.finish_pod(Key(NS, "web-0000"))
    converge([OLD], model)
    assert annotations_of(model.get(ENDPOINTS, WEB)) == {}


def test_endpoints_go_with_their_service_and_foreign_ones_stay() -> None:
    model = start(1)
    converge([OLD], model)
    model.create(ENDPOINTS, {"metadata": {"namespace": NS, "name": "foreign"}})
    model.delete(SERVICES, WEB)
    converge([OLD], model)
    assert plan_once(OLD, Key(NS, "foreign"), model).actions == ()
    assert [name_of(e) for e in model.all(ENDPOINTS)] == ["foreign"]


@pytest.mark.parametrize("seed", range(10))
def test_from_every_interruption_the_slices_become_right(seed: int) -> None:
    rng = random.Random(seed)
    model = start(rng.randint(0, 130))
    for step in range(30):
        found = model.all(PODS)
        if found and rng.random() < 0.5:
            for one in rng.sample(found, min(len(found), rng.randint(1, 60))):
                model.finish_pod(key_of(one))
        else:
            for n in range(rng.randint(1, 60)):
                model.create(PODS, pod(f"p{step}-{n}", ip=f"10.65.{step}.{n + 1}"))
        actions = plan_once(SLICES, WEB, model).actions
        carry_out(model, actions[: rng.randint(0, len(actions))])
    converge([SLICES], model)
    listed = [e["targetRef"]["name"] for s in slices(model) for e in s["endpoints"]]
    assert sorted(listed) == sorted(name_of(p) for p in model.all(PODS))
    assert all(len(s["endpoints"]) <= 100 for s in slices(model))

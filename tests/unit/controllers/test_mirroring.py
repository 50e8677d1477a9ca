"""Endpoints written by hand: when they are mirrored, as what, and how the mirror follows."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.controllers.endpointslicemirroring import EndpointSliceMirroringController
from mesh.objects.kinds import ENDPOINTS, ENDPOINTSLICES, SERVICES
from mesh.objects.meta import annotations_of, key_of, labels_of
from mesh.objects.types import Object
from tests.support.api_model import ApiModel, carry_out, converge, plan_once, snapshot
from tests.support.workloads import NS, WEB

MIRROR = EndpointSliceMirroringController()
SUBSET: Object = {
    "addresses": [{"ip": "192.0.2.1", "hostname": "a"}, {"ip": "2001:db8::1"}],
    "notReadyAddresses": [{"ip": "192.0.2.2", "nodeName": "n"}],
    "ports": [{"port": 8080}, {"name": "dns", "port": 53, "protocol": "UDP"}],
}
PORTS = [{"name": "", "port": 8080, "protocol": "TCP"}, {"name": "dns", "port": 53, "protocol": "UDP"}]


def service(**spec: Any) -> Object:
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": NS, "name": "web"}, "spec": spec}


def endpoints(*subsets: Object, **meta: Any) -> Object:
    metadata = {"namespace": NS, "name": "web", **meta}
    return {"apiVersion": "v1", "kind": "Endpoints", "metadata": metadata, "subsets": list(subsets)}


def start(given: Object, **spec: Any) -> ApiModel:
    model = ApiModel(graceful=True)
    model.create(SERVICES, service(**spec))
    model.create(ENDPOINTS, given)
    converge([MIRROR], model)
    return model


def contents(model: ApiModel) -> list[tuple[str, list[Object]]]:
    return sorted(((s["addressType"], s["endpoints"]) for s in model.all(ENDPOINTSLICES)), key=str)


def test_a_mirror_in_full() -> None:
    applied = {"kubectl.kubernetes.io/last-applied-configuration": "{}", "note": "x"}
    model = start(endpoints(SUBSET, labels={"team": "a"}, annotations=applied))
    assert contents(model) == [
        (
            "IPv4",
            [
                {"addresses": ["192.0.2.1"], "conditions": {"ready": True}, "hostname": "a"},
                {"addresses": ["192.0.2.2"], "conditions": {"ready": False}, "nodeName": "n"},
            ],
        ),
        ("IPv6", [{"addresses": ["2001:db8::1"], "conditions": {"ready": True}}]),
    ]
    for made in model.all(ENDPOINTSLICES):
        assert made["ports"] == PORTS
        assert labels_of(made) == {
            "team": "a",
            "kubernetes.io/service-name": "web",
            "endpointslice.kubernetes.io/managed-by": "endpointslicemirroring-controller.k8s.io",
        }
        assert annotations_of(made) == {"note": "x"}
        [owner] = made["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["name"], owner["controller"]) == ("Endpoints", "web", True)


@pytest.mark.parametrize(
    ("meta", "spec"),
    [
        ({}, {"selector": {"app": "web"}}),
        ({"labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}}, {}),
        ({"annotations": {"control-plane.alpha.kubernetes.io/leader": "x"}}, {}),
    ],
    ids=["the Service selects pods", "asked not to", "a lock"],
)
def test_what_is_not_mirrored(meta: dict[str, Any], spec: dict[str, Any]) -> None:
    assert contents(start(endpoints(SUBSET, **meta), **spec)) == []


def test_endpoints_without_a_service_are_not_mirrored() -> None:
    model = ApiModel(graceful=True)
    model.create(ENDPOINTS, endpoints(SUBSET))
    converge([MIRROR], model)
    assert contents(model) == []


def test_the_mirror_follows() -> None:
    model = start(endpoints(SUBSET))
    [first] = [s for s in model.all(ENDPOINTSLICES) if s["addressType"] == "IPv4"]
    smaller = {"addresses": [{"ip": "192.0.2.9"}], "ports": [{"port": 81}]}
    model.put(ENDPOINTS, {**model.get(ENDPOINTS, WEB), "subsets": [smaller]})
    converge([MIRROR], model)
    [kept] = model.all(ENDPOINTSLICES)
    assert key_of(kept) == key_of(first)
    assert (kept["endpoints"], kept["ports"]) == (
        [{"addresses": ["192.0.2.9"], "conditions": {"ready": True}}],
        [{"name": "", "port": 81, "protocol": "TCP"}],
    )
    model.put(SERVICES, {**model.get(SERVICES, WEB), "spec": {"selector": {"app": "web"}}})
    converge([MIRROR], model)
    assert contents(model) == []


def test_many_addresses_are_spread_over_slices() -> None:
    many = [{"ip": f"10.1.{n // 250}.{n % 250}"} for n in range(1001)]
    model = start(endpoints({"addresses": many}))
    assert sorted(len(found) for _, found in contents(model)) == [1, 1000]
    assert plan_once(MIRROR, WEB, model).actions == (), "whatever names the slices were given"


def test_interrupted_at_any_point_it_converges() -> None:
    whole = start(endpoints(SUBSET))
    fresh = ApiModel(graceful=True)
    fresh.create(SERVICES, service())
    fresh.create(ENDPOINTS, endpoints(SUBSET))
    actions = plan_once(MIRROR, WEB, fresh).actions
    assert len(actions) == 2
    for count in range(len(actions) + 1):
        model = snapshot(fresh)
        carry_out(model, actions[:count])
        converge([MIRROR], model)
        assert contents(model) == contents(whole)

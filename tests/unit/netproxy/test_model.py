"""What becomes of a Service, case by case. Pods a and b are on our node, c on another."""

from __future__ import annotations

import pytest

from mesh.objects.types import Object
from netproxy.endpoints import Backend
from netproxy.model import SERVICE_PROXY_NAME, Frontend, Masquerade, NodeView, Refusal, Rule, rules_of
from tests.support.services import endpoint, service, slice_of

VIEW = NodeView("node", zone="west")
A, B, C = Backend("10.64.0.2", 8080, True), Backend("10.64.0.3", 8080, True), Backend("10.64.1.2", 8080)
EA, EB, EC = endpoint(A.address), endpoint(B.address), endpoint(C.address, node="other")
CLUSTER_IP = Frontend("10.96.0.20", "tcp", 80)
NODE_PORT = Frontend("0.0.0.0", "tcp", 30080)
EXTERNAL = Frontend("203.0.113.7", "tcp", 80)
BALANCED = Frontend("203.0.113.8", "tcp", 80)


def rules(made: Object, *endpoints: Object) -> dict[Frontend, Rule]:
    return rules_of(made, [slice_of("web", endpoints)], VIEW)


def test_cluster_ip() -> None:
    assert rules(service(), EC, EA) == {CLUSTER_IP: Rule("default/web", (A, C), Masquerade.OUTSIDE)}


def test_node_port() -> None:
    found = rules(service(node_port=30080), EA, EC)
    assert found.keys() == {CLUSTER_IP, NODE_PORT}
    assert found[NODE_PORT] == Rule("default/web", (A, C), Masquerade.ALWAYS)


def test_external_addresses() -> None:
    made = service(
        type="LoadBalancer", externalIPs=["203.0.113.7"], loadBalancerSourceRanges=["192.0.2.0/25", "192.0.2.128/25"]
    )
    made["status"] = {
        "loadBalancer": {
            "ingress": [{"ip": "203.0.113.8"}, {"ip": "203.0.113.9", "ipMode": "Proxy"}, {"hostname": "x"}]
        }
    }
    found = rules(made, EA)
    assert found.keys() == {CLUSTER_IP, EXTERNAL, BALANCED}
    assert found[EXTERNAL].source_ranges == ()
    assert found[BALANCED].source_ranges == ("192.0.2.0/24",)


@pytest.mark.parametrize(
    ("endpoints", "internal", "external", "inside", "refusal"),
    [
        pytest.param([EA, EC], (A,), (A,), (A, C), Refusal.DROP, id="those here"),
        pytest.param([EC], (), (), (C,), Refusal.DROP, id="none here: dropped, but not for clients inside"),
        pytest.param([], (), (), (), Refusal.REJECT, id="none at all: rejected"),
    ],
)
def test_traffic_policy_local(
    endpoints: list[Object],
    internal: tuple[Backend, ...],
    external: tuple[Backend, ...],
    inside: tuple[Backend, ...],
    refusal: Refusal,
) -> None:
    found = rules(service(node_port=30080, internalTrafficPolicy="Local", externalTrafficPolicy="Local"), *endpoints)
    assert found[CLUSTER_IP] == Rule("default/web", internal, Masquerade.OUTSIDE, refusal=refusal)
    assert found[NODE_PORT] == Rule("default/web", external, Masquerade.NEVER, inside=inside, refusal=refusal)


def here(address: str, **extra: object) -> Object:
    return endpoint(address, **extra)


def there(**extra: object) -> Object:
    return endpoint(C.address, node="other", **extra)


@pytest.mark.parametrize(
    ("endpoints", "expected"),
    [
        pytest.param([here(A.address, ready=False), EC], (C,), id="not ready is left out"),
        pytest.param(
            [here(A.address, ready=False, terminating=True), EC], (C,), id="terminating beside ready is left out"
        ),
        pytest.param(
            [here(A.address, ready=False, terminating=True)], (A,), id="terminating but serving is the last resort"
        ),
        pytest.param(
            [here(A.address, ready=False, serving=False, terminating=True)], (), id="not serving is never used"
        ),
        pytest.param([here(A.address, zones=["west"]), there(zones=["east"])], (A,), id="hinted for our zone"),
        pytest.param([here(A.address, zones=["east"]), there(zones=["east"])], (A, C), id="none hinted for our zone"),
        pytest.param([here(A.address, zones=["west"]), EC], (A, C), id="hints must be complete"),
        pytest.param(
            [here(A.address, nodes=["node"], zones=["west"]), here(B.address, nodes=["other"], zones=["west"])],
            (A,),
            id="hinted for our node",
        ),
    ],
)
def test_which_endpoints_are_chosen(endpoints: list[Object], expected: tuple[Backend, ...]) -> None:
    assert rules(service(), *endpoints)[CLUSTER_IP].backends == expected


@pytest.mark.parametrize(
    "made",
    [
        service(clusterIP="None", clusterIPs=["None"]),
        service(type="ExternalName", externalName="example.com"),
        service(clusterIP="", clusterIPs=[]),
        {**service(), "metadata": {"name": "web", "namespace": "default", "labels": {SERVICE_PROXY_NAME: "x"}}},
    ],
    ids=["headless", "ExternalName", "no address yet", "another proxy's"],
)  # fmt: skip
def test_services_without_rules(made: Object) -> None:
    assert rules(made, EA) == {}


def test_session_affinity() -> None:
    assert rules(service(sessionAffinity="ClientIP"), EA)[CLUSTER_IP].affinity_seconds == 10800
    config = {"clientIP": {"timeoutSeconds": 60}}
    assert (
        rules(service(sessionAffinity="ClientIP", sessionAffinityConfig=config), EA)[CLUSTER_IP].affinity_seconds == 60
    )


def test_ports_are_matched_by_name_and_protocol() -> None:
    made = service()
    made["spec"]["ports"] = [
        {"name": "dns", "port": 53, "protocol": "UDP"},
        {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
    ]
    slices = [
        slice_of("web", [EA], port=5353, protocol="UDP", port_name="dns"),
        slice_of("web", [EC], port=5354, port_name="dns-tcp"),
    ]
    found = rules_of(made, slices, VIEW)
    assert found[Frontend("10.96.0.20", "udp", 53)].backends == (Backend(A.address, 5353, True),)
    assert found[Frontend("10.96.0.20", "tcp", 53)] == Rule("default/web:dns-tcp", (Backend(C.address, 5354),))


def test_an_endpoint_in_two_slices_counts_once() -> None:
    moving = [slice_of("web", [endpoint(A.address, ready=False)]), slice_of("web", [EA, EC])]
    assert rules_of(service(), moving, VIEW)[CLUSTER_IP].backends == (A, C)


def test_the_other_family_is_left_out() -> None:
    made = service(clusterIPs=["10.96.0.20", "fd00::20"])
    six = {**slice_of("web", [endpoint("fd01::2")]), "addressType": "IPv6"}
    assert rules_of(made, [six, slice_of("web", [EA])], VIEW).keys() == {CLUSTER_IP}
    both = rules_of(made, [six, slice_of("web", [EA])], NodeView("node", families=frozenset({4, 6})))
    assert both[Frontend("fd00::20", "tcp", 80)].backends == (Backend("fd01::2", 8080, True),)

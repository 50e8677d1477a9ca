from __future__ import annotations

from collections import Counter

import pytest

from controlplane.scheduler.plan import Memory, place
from controlplane.scheduler.scores import Scoring, Strategy
from mesh.objects.types import Json, Object
from tests.unit.scheduler.cluster import decide, node, request, table_of

NO_SCHEDULE = {"key": "gpu", "value": "yes", "effect": "NoSchedule"}

NEITHER = (
    "0/2 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, 1 node(s) had untolerated taint(s)."
)


def required(term: Object) -> Object:
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}}


def expression(key: str, operator: str, *values: str) -> Object:
    return {"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, "b"),
        ({"tolerations": [{"key": "gpu", "operator": "Exists"}], "nodeSelector": {"disk": "ssd"}}, "a"),
        ({"tolerations": [{"operator": "Exists"}], "nodeSelector": {"disk": "ssd"}}, "a"),
        ({"tolerations": [{"key": "gpu", "value": "yes"}], "nodeSelector": {"disk": "ssd"}}, "a"),
        (
            {"tolerations": [{"key": "gpu", "value": "no"}], "nodeSelector": {"disk": "ssd"}},
            NEITHER,
        ),
        (
            {"nodeSelector": {"disk": "tape"}},
            NEITHER,
        ),
        ({"affinity": required(expression("generation", "Gt", "4"))}, "b"),
        ({"affinity": required({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["b"]}]})}, "b"),
        (
            {"affinity": required({})},
            NEITHER,
        ),
        (
            {"cpu": "64", "tolerations": [{"operator": "Exists"}]},
            "0/2 nodes are available: 2 Insufficient cpu.",
        ),
        (
            {"cpu": "64", "memory": "1Ti", "tolerations": [{"operator": "Exists"}]},
            "0/2 nodes are available: 2 Insufficient cpu, 2 Insufficient memory.",
        ),
    ],
)
def test_where_a_pod_may_run(spec: Json, expected: str) -> None:
    table = table_of(
        node("a", labels={"disk": "ssd", "generation": "3"}, taints=[NO_SCHEDULE]),
        node("b", labels={"generation": "5"}),
    )
    assert decide(table, request("p", **spec)) == [expected]


def test_no_nodes_at_all() -> None:
    assert decide(table_of(), request("p")) == ["no nodes available to schedule pods"]


def test_a_cordoned_node_is_left_out() -> None:
    cordoned = node("a")
    cordoned["spec"]["unschedulable"] = True
    assert decide(table_of(cordoned), request("p")) == ["0/1 nodes are available: 1 node(s) were unschedulable."]


def test_host_ports_collide_on_one_node_only() -> None:
    def wants(port: int, address: str = "", protocol: str = "TCP") -> list[Object]:
        entry = {"containerPort": 80, "hostPort": port, "hostIP": address, "protocol": protocol}
        return [{"name": "c", "image": "i", "ports": [entry]}]

    table = table_of(node("a"))
    taken = "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports."
    assert decide(
        table,
        request("p1", containers=wants(80, "10.0.0.1")),
        request("p2", containers=wants(80, "10.0.0.2")),
        request("p3", containers=wants(80)),
        request("p4", containers=wants(80, protocol="UDP")),
        request("p5", containers=wants(81)),
    ) == ["a", "a", taken, "a", "a"]


def test_a_full_node_takes_no_more_pods() -> None:
    table = table_of(node("a", pods="2"))
    assert decide(table, *(request(f"p{i}") for i in range(3))) == [
        "a",
        "a",
        "0/1 nodes are available: 1 Too many pods.",
    ]


def test_pods_of_one_controller_spread() -> None:
    table = table_of(*(node(name) for name in "abc"))
    counts = Counter(decide(table, *(request(f"p{i}", owner="rs", cpu="10m") for i in range(9))))
    assert counts == {"a": 3, "b": 3, "c": 3}


def test_most_allocated_packs() -> None:
    table = table_of(*(node(name) for name in "abc"))
    pods = [request(f"p{i}", cpu="500m", memory="1Gi") for i in range(8)]
    packed = place(table, pods, Memory(), Scoring(strategy=Strategy.MOST_ALLOCATED))
    assert Counter(p.node for p in packed) == {"a": 8}


def test_preferred_affinity_and_soft_taints_decide_between_equals() -> None:
    soft = {"key": "old", "effect": "PreferNoSchedule"}
    table = table_of(node("a", taints=[soft]), node("b"), node("c", labels={"zone": "z"}))
    preference = {"weight": 50, "preference": expression("zone", "In", "z")}
    affinity = {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [preference]}}
    assert decide(table, request("p", affinity=affinity)) == ["c"]
    assert decide(table, request("q")) == ["b"]


def test_placing_pod_by_pod_equals_placing_them_in_one_pass() -> None:
    pods = [request(f"p{i}", cpu=f"{100 + i % 3 * 50}m", owner=f"rs{i % 4}") for i in range(60)]
    together = decide(table_of(*(node(f"n{i}", cpu=f"{2 + i % 3}") for i in range(7))), *pods)
    table = table_of(*(node(f"n{i}", cpu=f"{2 + i % 3}") for i in range(7)))
    assert [decide(table, p)[0] for p in pods] == together


def test_pods_on_a_node_that_comes_later_are_counted_when_it_comes() -> None:
    table = table_of()
    table.put_pod(request("early", cpu="3"), "a")
    table.put_node(node("a"))
    assert decide(table, request("p", cpu="2")) == ["0/1 nodes are available: 1 Insufficient cpu."]
    table.remove_node("a")
    table.put_node(node("a"))
    assert decide(table, request("p", cpu="2")) == ["0/1 nodes are available: 1 Insufficient cpu."]
    assert table.remove_pod("uid-early") == "a"
    assert decide(table, request("p", cpu="2")) == ["a"]


def test_rows_and_columns_grow() -> None:
    table = table_of(*(node(f"n{i}") for i in range(200)))
    assert decide(table, request("p", containers=[_wants_gpu()])) == [
        "0/200 nodes are available: 200 Insufficient example.com/gpu."
    ]
    table.put_node(node("gpu", **{"example.com/gpu": "1"}))
    assert decide(table, request("p", containers=[_wants_gpu()])) == ["gpu"]


def _wants_gpu() -> Object:
    return {"name": "c", "image": "i", "resources": {"requests": {"example.com/gpu": "1"}}}

"""Nodes that fall silent: what is said of them, who is moved, and when haste would be dangerous."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.controllers.node_health import NodeHealth
from controlplane.controllers.nodelifecycle import NodeLifecycleController
from controlplane.controllers.podgc import PodCollector
from controlplane.controllers.taints import tolerates
from mesh.objects.kinds import NODES, PODS
from mesh.objects.meta import Key, is_deleting, key_of, name_of, thaw
from mesh.objects.types import Object
from mesh.plan.actions import Delete, Plan
from tests.support.api_model import ApiModel, caches_for, carry_out, converge, later, plan_once
from tests.support.workloads import NS, pod

READY = {"type": "Ready", "status": "True", "reason": "KubeletReady", "lastHeartbeatTime": "2025-12-31T23:59:00Z"}
BRIEFLY = [
    {"key": f"node.kubernetes.io/{word}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 2}
    for word in ("not-ready", "unreachable")
]


class Cluster:
    """Nodes n1..nN with one pod each (`web-nX`), and the heartbeats that the leader heard of them."""

    def __init__(self, nodes: int = 3, **changes: Any) -> None:
        self.model = ApiModel(graceful=True)
        self.silent: dict[str, float] = {}
        self.signs: dict[str, float] = {}
        self.listening = 100.0
        for n in range(1, nodes + 1):
            obj = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": f"n{n}"}, "spec": {}}
            self.model.create(NODES, obj | {"status": {"conditions": [READY]}})
            self.add_pod(f"n{n}", **changes)
        self.controllers = (NodeLifecycleController(self.health), PodCollector(self.health))

    def add_pod(self, node: str, *, tolerations: list[Object] | None = None, **meta: Any) -> None:
        obj = pod(f"web-{node}", node=node)
        obj["spec"]["tolerations"] = BRIEFLY if tolerations is None else tolerations
        obj["metadata"] |= meta
        self.model.create(PODS, obj)

    def health(self) -> NodeHealth:
        names = {name_of(n) for n in self.model.all(NODES)} | set(self.silent)
        heard = {name: self.silent.get(name, 0.1) for name in names}
        return NodeHealth(self.listening, 2.0, 12.0, {n: s for n, s in heard.items() if s < self.listening}, self.signs)

    def pass_time(self, seconds: float) -> None:
        later(self.model, seconds)
        self.listening += seconds
        self.silent = {name: silence + seconds for name, silence in self.silent.items()}

    def settle(self) -> None:
        converge(self.controllers, self.model)

    def plan(self, node: str) -> Plan:
        return plan_once(self.controllers[0], Key("", node), self.model)

    def node(self, name: str) -> Object:
        return self.model.get(NODES, Key("", name))

    def taints(self, name: str) -> list[str]:
        return [f"{t['key'].split('/')[1]}:{t['effect']}" for t in self.node(name)["spec"].get("taints", [])]

    def ready(self, name: str) -> tuple[str, str, str]:
        found = {c["type"]: c for c in self.node(name)["status"]["conditions"]}["Ready"]
        return found["status"], found["reason"], found.get("message", "")

    def pod(self, node: str) -> Object | None:
        return self.model.objects[PODS].get(Key(NS, f"web-{node}"))

    def is_evicted(self, node: str) -> bool:
        found = self.pod(node)
        return found is None or is_deleting(found)


def test_all_is_well() -> None:
    cluster = Cluster()
    assert cluster.plan("n1") == Plan(parallel=True)


def test_a_silent_node_is_declared_tainted_and_emptied() -> None:
    cluster = Cluster()
    cluster.silent["n1"] = 2.1
    cluster.settle()
    assert cluster.ready("n1") == ("Unknown", "NodeStatusUnknown", "Kubelet stopped posting node status.")
    assert cluster.taints("n1") == ["unreachable:NoSchedule", "unreachable:NoExecute"]
    found = cluster.pod("n1")
    assert found is not None
    assert found["status"]["conditions"][0]["status"] == "False"
    assert not cluster.is_evicted("n1")
    again = cluster.plan("n1").again_after
    assert again is not None
    assert again.total_seconds() == 2
    cluster.pass_time(2)
    cluster.settle()
    assert [cluster.is_evicted(n) for n in ("n1", "n2", "n3")] == [True, False, False]
    assert cluster.taints("n2") == []
    assert {e.reason for e in cluster.model.events} == {"NodeNotReady", "TaintManagerEviction"}
    assert cluster.plan("n1").actions == ()


def test_conditions_that_were_never_posted() -> None:
    cluster = Cluster()
    cluster.silent["n1"] = 3
    cluster.settle()
    conditions = {c["type"]: c["reason"] for c in cluster.node("n1")["status"]["conditions"]}
    assert conditions["Ready"] == "NodeStatusUnknown"
    assert conditions["DiskPressure"] == "NodeStatusNeverUpdated"


def test_a_live_node_with_a_dead_agent_keeps_its_pods_for_a_while() -> None:
    cluster = Cluster()
    cluster.silent["n1"], cluster.signs["n1"] = 3, 0.5
    for _ in range(50):
        cluster.settle()
        cluster.pass_time(1)
    assert cluster.taints("n1") == ["unreachable:NoSchedule"]
    found = cluster.pod("n1")
    assert found is not None
    assert found["status"]["conditions"][0]["status"] == "True"
    assert cluster.plan("n1").again_after is not None
    del cluster.signs["n1"]
    cluster.settle()
    cluster.pass_time(2)
    cluster.settle()
    assert cluster.is_evicted("n1")


TOLERATIONS: list[tuple[list[Object], float | None]] = [
    ([], 0),
    ([{"operator": "Exists"}], None),
    ([{"key": "node.kubernetes.io/unreachable", "operator": "Exists"}], None),
    ([{"key": "node.kubernetes.io/unreachable", "operator": "Exists", "tolerationSeconds": 30}], 30),
    ([{"key": "node.kubernetes.io/unreachable", "operator": "Exists", "tolerationSeconds": -1}], 0),
    ([{"key": "other", "operator": "Exists"}], 0),
]


@pytest.mark.parametrize(("tolerations", "stays"), TOLERATIONS)
def test_tolerations_decide_how_long_a_pod_stays(tolerations: list[Object], stays: float | None) -> None:
    cluster = Cluster(tolerations=tolerations)
    cluster.silent["n1"] = 3
    for second in range(60):
        cluster.settle()
        assert cluster.is_evicted("n1") == (stays is not None and second >= stays), second
        cluster.pass_time(1)


STATEFUL = {
    "ownerReferences": [{"kind": "StatefulSet", "apiVersion": "apps/v1", "name": "db", "uid": "u", "controller": True}]
}
ASKS = {"annotations": {"covey.dev/exclusive": "true"}}


@pytest.mark.parametrize("meta", [STATEFUL, ASKS], ids=["StatefulSet", "annotation"])
def test_an_exclusive_pod_waits_for_the_fence(meta: dict[str, Any]) -> None:
    cluster = Cluster(**meta)
    cluster.silent["n1"] = 2
    while cluster.silent["n1"] < 12:
        cluster.settle()
        assert not cluster.is_evicted("n1")
        again = cluster.plan("n1").again_after
        assert again is not None
        cluster.pass_time(1)
    cluster.settle()
    assert cluster.pod("n1") is None


def test_an_exclusive_pod_deleted_by_a_user_is_removed_after_the_fence_too() -> None:
    cluster = Cluster(**ASKS)
    cluster.silent["n1"] = 5
    cluster.settle()
    cluster.model.delete(PODS, Key(NS, "web-n1"))
    cluster.settle()
    assert cluster.pod("n1") is not None
    cluster.pass_time(8)
    cluster.settle()
    assert cluster.pod("n1") is None


@pytest.mark.parametrize(
    ("nodes", "silent", "evicted"), [(3, 1, 1), (3, 2, 0), (3, 3, 0), (2, 1, 1), (1, 1, 0), (10, 5, 5)]
)
def test_when_most_fall_silent_together_nobody_is_evicted(nodes: int, silent: int, evicted: int) -> None:
    cluster = Cluster(nodes, **ASKS)
    for n in range(1, silent + 1):
        cluster.silent[f"n{n}"] = 3
    for _ in range(5):
        cluster.settle()
        cluster.pass_time(15)
    assert sum(cluster.is_evicted(f"n{n}") for n in range(1, nodes + 1)) == evicted
    assert cluster.ready("n1")[0] == "Unknown"
    assert ("unreachable:NoExecute" in cluster.taints("n1")) == bool(evicted)


def test_nodes_that_die_one_by_one_are_each_taken_for_dead() -> None:
    cluster = Cluster(5)
    for n in (1, 2, 3):
        cluster.silent[f"n{n}"] = 3
        for _ in range(3):
            cluster.settle()
            cluster.pass_time(5)
        assert cluster.is_evicted(f"n{n}")


def test_a_new_leader_declares_nobody_dead_for_one_fence_time() -> None:
    cluster = Cluster()
    cluster.listening = 0.0
    cluster.silent["n1"] = 1000.0
    while cluster.listening < 12:
        cluster.settle()
        assert cluster.ready("n1")[0] == "True"
        cluster.pass_time(1)
    cluster.settle()
    assert cluster.ready("n1")[0] == "Unknown"


def test_a_new_leader_leaves_as_it_is_what_the_old_one_found() -> None:
    cluster = Cluster()
    cluster.silent["n1"] = 3
    cluster.settle()
    before = cluster.taints("n1")
    cluster.listening = 0.0
    cluster.pass_time(5)
    cluster.settle()
    assert cluster.taints("n1") == before
    assert not cluster.is_evicted("n1")


def test_who_speaks_again_keeps_its_pods() -> None:
    cluster = Cluster()
    cluster.silent["n1"] = 3
    cluster.settle()
    del cluster.silent["n1"]
    cluster.pass_time(5)
    cluster.settle()
    assert cluster.taints("n1") == ["unreachable:NoSchedule"]
    assert not cluster.is_evicted("n1")
    node = thaw(cluster.node("n1"))
    node["status"]["conditions"] = [READY]
    cluster.model.put(NODES, node)
    cluster.settle()
    assert cluster.taints("n1") == []


CONDITIONS = [
    ({"status": {"conditions": [{**READY, "status": "False"}]}}, ["not-ready:NoSchedule", "not-ready:NoExecute"]),
    ({"status": {"conditions": [READY, {"type": "DiskPressure", "status": "True"}]}}, ["disk-pressure:NoSchedule"]),
    ({"spec": {"unschedulable": True}}, ["unschedulable:NoSchedule"]),
    ({"spec": {"taints": [{"key": "x/mine", "effect": "NoSchedule"}]}}, ["mine:NoSchedule"]),
]


@pytest.mark.parametrize(("change", "expected"), CONDITIONS)
def test_conditions_become_taints_and_foreign_ones_stay(change: Object, expected: list[str]) -> None:
    cluster = Cluster()
    cluster.model.put(NODES, thaw(cluster.node("n1")) | change)
    cluster.settle()
    assert cluster.taints("n1") == expected


def test_a_users_noexecute_taint_evicts_gracefully_even_exclusive_pods() -> None:
    cluster = Cluster(**ASKS)
    node = thaw(cluster.node("n1"))
    node["spec"]["taints"] = [{"key": "maintenance", "effect": "NoExecute"}]
    cluster.model.put(NODES, node)
    [delete] = [a for a in cluster.plan("n1").actions if isinstance(a, Delete)]
    assert delete.grace_period_seconds is None


@pytest.mark.parametrize("cut", range(1, 6))
def test_every_crash_is_recovered_from(cut: int) -> None:
    cluster = Cluster(**ASKS)
    cluster.silent["n1"] = 20
    for _ in range(10):
        carry_out(cluster.model, cluster.plan("n1").actions[:cut])
        cluster.pass_time(1)
    cluster.settle()
    assert cluster.pod("n1") is None
    assert cluster.taints("n1") == ["unreachable:NoSchedule", "unreachable:NoExecute"]


def test_pods_of_a_deleted_node_go_once_it_has_fenced_itself() -> None:
    cluster = Cluster()
    cluster.model.delete(NODES, Key("", "n1"))
    cluster.silent["n1"] = 1
    cluster.settle()
    assert cluster.pod("n1") is not None
    again = plan_once(cluster.controllers[1], Key(NS, "web-n1"), cluster.model).again_after
    assert again is not None
    assert again.total_seconds() == 11
    cluster.pass_time(11)
    cluster.settle()
    assert [key_of(p).name for p in cluster.model.all(PODS)] == ["web-n2", "web-n3"]


def test_pods_deleted_before_they_had_a_node_go_at_once() -> None:
    cluster = Cluster()
    cluster.model.create(PODS, pod("waiting", node=""))
    cluster.settle()
    assert Key(NS, "waiting") in cluster.model.objects[PODS]
    cluster.model.delete(PODS, Key(NS, "waiting"))
    cluster.settle()
    assert Key(NS, "waiting") not in cluster.model.objects[PODS]


@pytest.mark.parametrize(
    ("toleration", "expected"),
    [
        ({"operator": "Exists"}, True),
        ({"key": "a", "operator": "Exists"}, True),
        ({"key": "b", "operator": "Exists"}, False),
        ({"key": "a", "value": "1"}, True),
        ({"key": "a", "operator": "Equal", "value": "2"}, False),
        ({"key": "a", "operator": "Exists", "effect": "NoSchedule"}, False),
        ({"value": "1"}, False),
    ],
)
def test_what_tolerates_what(toleration: Object, expected: bool) -> None:
    assert tolerates(toleration, {"key": "a", "value": "1", "effect": "NoExecute"}) is expected


@pytest.mark.parametrize(
    ("state", "taints", "woken"),
    [
        ("True", [], []),
        ("True", [{"key": "mine", "effect": "NoExecute"}], [Key("", "n1")]),
        ("Unknown", [], [Key("", "n1")]),
        ("False", [], [Key("", "n1")]),
    ],
)
def test_a_pod_wakes_only_a_node_that_may_have_to_let_it_go(state: str, taints: list[Object], woken: list[Key]) -> None:
    cluster = Cluster(1)
    node = thaw(cluster.node("n1"))
    node["spec"]["taints"] = taints
    node["status"]["conditions"] = [READY | {"status": state}]
    cluster.model.put(NODES, node)
    of_pods = next(watch for watch in NodeLifecycleController.watches if watch.resource is PODS)
    found = cluster.pod("n1")
    assert found is not None
    assert list(of_pods.keys(found, caches_for(cluster.controllers[0], cluster.model))) == woken

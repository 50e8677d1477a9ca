"""Nodes cut off, and the broker away: what is lost runs elsewhere, what must never run twice never does, and who comes
back is put right. The times seen are written into the report's properties; what is asserted is the behaviour."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta

import pytest

from controlplane.manager.manager import ELECTION
from mesh.objects.kinds import DEPLOYMENTS, ENDPOINTSLICES, LEASES, PODS, SERVICES
from mesh.objects.meta import parse_time
from mesh.objects.types import Object
from tests.support.cluster import await_
from tests.support.survival.harm import Cut, await_another, held_still, kill, link_cut
from tests.support.survival.world import Ran, World, deployment, service, until

pytestmark = [pytest.mark.root, pytest.mark.docker, pytest.mark.nats]
REPLICAS = 6
FENCE_SECONDS = 12.0
"""`ServerConfig.fence_seconds`."""
BROKER_AWAY_SECONDS = 60.0

Report = Callable[[str, object], None]


@pytest.fixture(scope="module")
def apps(world: World) -> World:
    """`web`, six pods that may overlap, and `single`, one pod that must never run twice."""
    world.create(DEPLOYMENTS, deployment("web", REPLICAS))
    world.create(DEPLOYMENTS, deployment("single", 1, exclusive=True))
    world.create(SERVICES, service("web", 8080))
    world.await_pods("web", REPLICAS)
    world.await_pods("single", 1)
    until(lambda: led_for(world, FENCE_SECONDS), what="the leader to have listened long enough to declare anybody lost")
    return world


@pytest.mark.parametrize(
    ("cut", "agent_dies_first"),
    [(Cut.BOTH_WAYS, False), (Cut.NOTHING_LEAVES, False), (Cut.NOTHING_ARRIVES, False), (Cut.BOTH_WAYS, True)],
    ids=["link-down", "nothing-leaves", "nothing-arrives", "agent-killed-first"],
)
def test_pods_of_a_cut_off_node_run_elsewhere(
    apps: World, cut: Cut, agent_dies_first: bool, record_property: Report
) -> None:
    (single,) = apps.await_pods("single", 1)
    node = single["spec"]["nodeName"]
    lost = [pod for pod in apps.await_pods("web", REPLICAS) if pod["spec"]["nodeName"] == node]
    assert lost, f"no pod of web is on {node}"
    before = {pod["metadata"]["name"]: apps.containers(pod) for pod in lost}
    with ExitStack() as harm:
        if agent_dies_first:
            harm.enter_context(held_still(apps.cluster, "supervisor"))
            kill(apps.cluster, f"agent-{node}")
        harm.enter_context(link_cut(apps.cluster, node, cut))
        began = time.monotonic()

        until(lambda: run_elsewhere(apps, node), what="the pods of web to run elsewhere")
        record_property("running_seconds", round(time.monotonic() - began, 1))
        replaced = until(lambda: elsewhere(apps, "web", node, REPLICAS), what="the pods of web to be ready elsewhere")
        record_property("ready_seconds", round(time.monotonic() - began, 1))
        assert not {address(pod) for pod in lost} & await_endpoints(apps, replaced)
        (successor,) = until(lambda: elsewhere(apps, "single", node, 1), what="single to run elsewhere")
        record_property("exclusive_ready_seconds", round(time.monotonic() - began, 1))

        assert main(apps, successor).started > main(apps, single).finished, "single ran twice at the same time"
        assert not any(c.running for c in apps.containers(single).values()), "the fence left something of single"
        # Whoever cannot be reached goes on with what need not be unique: nobody knows that it is lost.
        assert {pod["metadata"]["name"]: apps.containers(pod) for pod in lost} == before
    until(lambda: not any(apps.containers(pod) for pod in (*lost, single)), what=f"{node} to remove what was replaced")
    apps.await_nodes_well()
    apps.await_pods("web", REPLICAS)
    assert [pod["metadata"]["uid"] for pod in apps.await_pods("single", 1)] == [successor["metadata"]["uid"]]


def led_for(world: World, seconds: float) -> bool:
    """Whether the controllers' leader is in its term for that long."""
    spec = world.api.get(LEASES, "kube-system", ELECTION)["spec"]
    return datetime.now(UTC) - parse_time(spec["acquireTime"]) > timedelta(seconds=seconds)


def run_elsewhere(world: World, node: str) -> bool:
    """Whether all pods of web run on other nodes."""
    found = [pod for pod in world.pods("web") if pod["spec"].get("nodeName", node) != node]
    return len(found) == REPLICAS and all(pod["status"].get("phase") == "Running" for pod in found)


def elsewhere(world: World, app: str, node: str, count: int) -> list[Object] | None:
    """The pods of an app once that many of them are Ready on other nodes."""
    found = [pod for pod in world.ready_pods(app) if pod["spec"]["nodeName"] != node]
    return found if len(found) >= count else None


def address(pod: Object) -> str:
    """A pod's address."""
    return str(pod["status"]["podIP"])


def await_endpoints(world: World, pods: list[Object]) -> set[str]:
    """The addresses to which the Service web sends, once they are those of `pods`."""
    wanted = {address(pod) for pod in pods}

    def sent_to() -> set[str] | None:
        slices = [s for s in world.api.list(ENDPOINTSLICES, "default") if owner(s) == "web"]
        ready = {a for s in slices for e in s["endpoints"] or () if e["conditions"]["ready"] for a in e["addresses"]}
        return ready if ready >= wanted else None

    return until(sent_to, what="the endpoints of web to be the pods that are reached")


def owner(endpoint_slice: Object) -> str:
    """The Service of an EndpointSlice."""
    return str(endpoint_slice["metadata"]["labels"]["kubernetes.io/service-name"])


def main(world: World, pod: Object) -> Ran:
    """A pod's one container (not its sandbox)."""
    identity = pod["status"]["containerStatuses"][0]["containerID"].removeprefix("docker://")
    return next(c for c in world.containers(pod).values() if c.id == identity)


@pytest.mark.timeout(200)
def test_nothing_stops_while_the_broker_is_away(apps: World) -> None:
    """The broker is held still, the nastiest way of being away: connections stand and nobody answers. Meanwhile an
    agent is killed, and started again it goes on with what it remembers, crashed containers included."""
    pods = apps.await_pods("web", REPLICAS)
    (single,) = apps.await_pods("single", 1)
    before = {pod["metadata"]["uid"]: apps.containers(pod) for pod in pods}
    node = pods[0]["spec"]["nodeName"]
    crashed = next(pod for pod in pods if pod["spec"]["nodeName"] == node)
    with held_still(apps.cluster, "nats"):
        began = time.monotonic()
        killed = kill(apps.cluster, f"agent-{node}")
        await_another(apps.cluster, f"agent-{node}", killed)
        victim = main(apps, crashed)
        os.kill(victim.pid, signal.SIGKILL)
        await_(lambda: runs_anew(apps, crashed, victim), what="the crashed container to be started again")
        await_(lambda: not main(apps, single).running, what="the fence to end what must not run twice")
        await_(lambda: time.monotonic() - began > BROKER_AWAY_SECONDS, BROKER_AWAY_SECONDS + 10)
        for pod in pods:
            if pod is not crashed:
                assert apps.containers(pod) == before[pod["metadata"]["uid"]]
    apps.await_nodes_well()
    after = apps.await_pods("web", REPLICAS)
    assert {pod["metadata"]["uid"] for pod in after} == set(before), "a pod was evicted"
    for pod in after:
        if pod["metadata"]["uid"] != crashed["metadata"]["uid"]:
            assert apps.containers(pod) == before[pod["metadata"]["uid"]]
    name = crashed["metadata"]["name"]
    until(lambda: restarts(apps.api.get(PODS, "default", name)) == 1, what=f"{name} to tell of its restart")
    identity = single["metadata"]["uid"]
    (successor,) = until(
        lambda: [pod for pod in apps.ready_pods("single") if pod["metadata"]["uid"] != identity],
        what="the fenced pod to be replaced",
    )
    assert main(apps, successor).started > main_finished(apps, single)


def runs_anew(world: World, pod: Object, than: Ran) -> bool:
    """Whether another container of the pod runs in the place of one that was killed."""
    return any(c.running and c.started > than.started for c in world.containers(pod).values())


def restarts(pod: Object) -> int:
    """How often a pod's container has been started again."""
    return int(pod["status"]["containerStatuses"][0]["restartCount"])


def main_finished(world: World, pod: Object) -> str:
    """When the container of a pod ended; "" when it has been removed, which only happens after its end."""
    return max((c.finished for c in world.containers(pod).values()), default="")

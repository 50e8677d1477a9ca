"""kill -9 of every part in turn, each during a rollout and under writes: containers and connections live on, the
rollout finishes, and every acknowledged write is there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec
import pytest

from cli.layout import Layout
from cli.session import Context
from mesh.objects.kinds import DEPLOYMENTS, PODS, SERVICES
from mesh.objects.types import Object
from tests.support.cluster import await_
from tests.support.survival.counting import CountingConnection
from tests.support.survival.doors import HttpsDoor, NatsDoor
from tests.support.survival.harm import await_another, kill
from tests.support.survival.ledger import Writer
from tests.support.survival.world import (
    ECHO_PORT,
    ECHO_SCRIPT,
    IDLE_SCRIPT,
    NAMESPACE,
    World,
    deployment,
    service,
    shell_pod,
    until,
)  # fmt: skip

pytestmark = [pytest.mark.root, pytest.mark.docker, pytest.mark.nats]
REPLICAS = 3
VICTIMS = ("server", "nats", *(f"{kind}-node-{i}" for i in (1, 2, 3) for kind in ("agent", "proxy")))


@dataclass
class Stakes:
    """What must not be harmed: pods with connections between them, and writers."""

    steady: list[Object]
    connections: list[CountingConnection]
    writers: list[Writer]
    round: int = 0


@pytest.fixture(scope="module")
def stakes(world: World) -> Iterator[Stakes]:
    """A server on node-1; connections to it by node-2's port and, from a pod on node-3, by the ClusterIP; two writers,
    and a Deployment to be rolled out."""
    world.create(DEPLOYMENTS, deployment("web", REPLICAS))
    world.create(PODS, shell_pod("echo", "node-1", ECHO_SCRIPT))
    world.create(PODS, shell_pod("caller", "node-3", IDLE_SCRIPT))
    made = world.create(SERVICES, service("echo", ECHO_PORT))
    world.await_rollout("web")
    steady = [*world.await_pods("echo", 1), *world.await_pods("caller", 1)]
    caller = next(c for c in world.containers(steady[1]).values() if c.pid)
    node_port = made["spec"]["ports"][0]["nodePort"]
    node = world.address_of("node-2")
    connections = [
        connected(node, node_port),
        connected(made["spec"]["clusterIP"], ECHO_PORT, f"/proc/{caller.pid}/ns/net"),
    ]
    layout = Layout(world.cluster.home)
    context = msgspec.json.decode(layout.context_file.read_bytes(), type=Context)
    writers = [Writer(HttpsDoor(layout.kubeconfig), "https"), Writer(NatsDoor(layout, context), "nats")]
    for writer in writers:
        writer.start()
    try:
        yield Stakes(steady, connections, writers)
    finally:
        for connection in connections:
            connection.close()
        for writer in writers:
            writer.stop()


def connected(address: str, port: int, inside: str = "") -> CountingConnection:
    """A connection as soon as the proxy's rules let it through."""

    def attempt() -> CountingConnection | None:
        try:
            return CountingConnection(address, port, inside)
        except OSError:
            return None

    return await_(attempt, what=f"{address}:{port} to answer")


@pytest.mark.parametrize("victim", VICTIMS)
def test_a_killed_process_takes_nothing_with_it(world: World, stakes: Stakes, victim: str) -> None:
    before = {pod["metadata"]["name"]: world.containers(pod) for pod in stakes.steady}
    begin_rollout(world, stakes)
    killed = kill(world.cluster, victim)
    await_another(world.cluster, victim, killed)

    world.await_rollout("web")
    world.await_nodes_well()
    for connection in stakes.connections:
        connection.goes_on()
    assert {pod["metadata"]["name"]: world.containers(pod) for pod in stakes.steady} == before
    for pod in stakes.steady:
        now = world.api.get(PODS, NAMESPACE, pod["metadata"]["name"])
        assert now["metadata"]["uid"] == pod["metadata"]["uid"]
        assert now["status"]["containerStatuses"][0]["restartCount"] == 0


def begin_rollout(world: World, stakes: Stakes) -> None:
    """Change the template, and return when the rollout is under way."""
    stakes.round += 1
    container = {**deployment("web", REPLICAS)["spec"]["template"]["spec"]["containers"][0]}
    container["env"] = [{"name": "ROUND", "value": str(stakes.round)}]
    changed = world.api.merge(
        DEPLOYMENTS, NAMESPACE, "web", {"spec": {"template": {"spec": {"containers": [container]}}}}
    )

    def under_way() -> bool:
        status = world.api.get(DEPLOYMENTS, NAMESPACE, "web").get("status", {})
        seen = status.get("observedGeneration", 0) >= changed["metadata"]["generation"]
        return seen and bool(status.get("updatedReplicas"))

    until(under_way, what="the rollout to begin")


def test_no_acknowledged_write_is_missing(world: World, stakes: Stakes) -> None:
    ledgers = {writer.name: writer.stop() for writer in stakes.writers}
    stored = world.config_maps()
    for name, ledger in ledgers.items():
        assert ledger.acknowledged > 200, f"{name} wrote only {ledger.acknowledged} times"
        assert ledger.compare(stored) == []
    revisions = [obj["metadata"]["resourceVersion"] for obj in stored]
    assert len(revisions) == len(set(revisions))

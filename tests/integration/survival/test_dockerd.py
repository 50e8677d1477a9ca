"""kill -9 of the Docker daemon, one of the test's own with live-restore: containers and connections live on, what is
asked for meanwhile is made as soon as the daemon is back."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from controlplane.controllers.taints import NOT_READY
from mesh.objects.kinds import DEPLOYMENTS, NODES, PODS
from mesh.objects.meta import parse_time
from mesh.objects.types import Object
from tests.support.cluster import RealCluster
from tests.support.survival.counting import CountingConnection
from tests.support.survival.dockerd import OwnDocker, own_docker
from tests.support.survival.world import ECHO_PORT, ECHO_SCRIPT, NAMESPACE, World, deployment, shell_pod, until

pytestmark = [pytest.mark.root, pytest.mark.docker, pytest.mark.nats]

TOLERANCE_OF_THE_LOST = 1.0
"""`ServerConfig.unreachable_seconds`."""


@dataclass(frozen=True, slots=True)
class Place:
    """A cluster whose Docker daemon may be killed."""

    world: World
    daemon: OwnDocker


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A cluster of one node on a daemon of its own."""
    if os.geteuid() != 0:
        pytest.skip("a Docker daemon needs root")
    with own_docker() as daemon:
        cluster = RealCluster.up(tmp_path / "home", 1, "--docker-socket", daemon.url)
        world = World(cluster, daemon.url)
        try:
            yield Place(world, daemon)
        finally:
            world.close()
            cluster.down()


def test_containers_outlive_their_daemon(place: Place) -> None:
    world, daemon = place.world, place.daemon
    world.create(PODS, shell_pod("echo", "node-1", ECHO_SCRIPT))
    world.create(DEPLOYMENTS, deployment("web", 2))
    (echo,) = world.await_pods("echo", 1)
    web = world.await_pods("web", 2)
    connection = CountingConnection(echo["status"]["podIP"], ECHO_PORT, world.cluster.nodes[0]["namespace"])
    before = {pod["metadata"]["name"]: world.containers(pod) for pod in (echo, *web)}

    world.api.merge(DEPLOYMENTS, NAMESPACE, "web", {"spec": {"replicas": 4}})
    daemon.kill()
    try:
        connection.goes_on()
        # Long enough for pods to be evicted, if the node were lost: it says itself that it is only unwell.
        until(
            lambda: not_ready_for(world, TOLERANCE_OF_THE_LOST + 2), what="the node to have been not ready for a while"
        )
        connection.goes_on()
    finally:
        daemon.start()

    after = world.await_pods("web", 4)
    world.await_nodes_well()
    assert {pod["metadata"]["uid"] for pod in after} > {pod["metadata"]["uid"] for pod in web}
    assert {pod["metadata"]["name"]: world.containers(pod) for pod in (echo, *web)} == before
    connection.goes_on()
    connection.close()


def not_ready_for(world: World, seconds: float) -> bool:
    """Whether the one node has borne the taint that evicts from nodes that are not ready for that long."""
    (node,) = world.api.list(NODES)
    taints: list[Object] = node["spec"].get("taints") or []
    added = [t["timeAdded"] for t in taints if (t["key"], t["effect"]) == (NOT_READY, "NoExecute")]
    return any(datetime.now(UTC) - parse_time(stamp) > timedelta(seconds=seconds) for stamp in added)

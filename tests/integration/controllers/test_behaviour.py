"""What users see of the controllers, on the real API pipeline: rollouts, Services, deletion, lost nodes, failover."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from mesh.errors import NotFound
from mesh.objects.kinds import (
    CONFIGMAPS,
    DEPLOYMENTS,
    ENDPOINTS,
    ENDPOINTSLICES,
    EVENTS,
    NAMESPACES,
    NODES,
    PODS,
    REPLICASETS,
    SERVICES,
    Resource,
)
from mesh.objects.meta import annotations_of, is_deleting, name_of
from mesh.objects.types import Object
from tests.support.controller_cluster import ControllerCluster, running

pytestmark = pytest.mark.looptime


@asynccontextmanager
async def working(directory: Path) -> AsyncIterator[ControllerCluster]:
    """A cluster whose controllers work. No fixture: time is virtual only inside of tests."""
    async with running(directory) as found:
        found.spawn(found.manager("USERVER1").run())
        yield found


def deployment(replicas: int = 3, **annotations: str) -> Object:
    labels = {"app": "web"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"namespace": "default", "name": "web"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels, "annotations": annotations},
                "spec": {"containers": [{"name": "web", "image": "web:1"}]},
            },
        },
    }


def service() -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"namespace": "default", "name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]},
    }


async def items(cluster: ControllerCluster, resource: Resource, namespace: str = "default") -> list[Object]:
    return (await cluster.client.list(resource, namespace)).items


def complete(cluster: ControllerCluster, replicas: int, image: str = "web:1") -> bool:
    pods = [p for p in cluster.informers[PODS].list("default") if not is_deleting(p)]
    ready = [p for p in pods if (p.get("status") or {}).get("podIP")]
    return len(ready) == len(pods) == replicas and all(p["spec"]["containers"][0]["image"] == image for p in pods)


async def status_of(cluster: ControllerCluster) -> dict[str, str]:
    found = await cluster.client.get(DEPLOYMENTS, "web", "default")
    return {c["type"]: c["reason"] for c in found["status"]["conditions"]}


async def settled(cluster: ControllerCluster, resource: Resource) -> int:
    """The revision of a resource's newest object, to tell whether anybody keeps writing."""
    return max((int(o["metadata"]["resourceVersion"]) for o in await items(cluster, resource)), default=0)


async def test_a_deployment_behind_a_service_rolls_and_rests(tmp_path: Path) -> None:
    async with working(tmp_path) as cluster:
        await cluster.client.create(DEPLOYMENTS, deployment())
        await cluster.client.create(SERVICES, service())
        await cluster.until(lambda: complete(cluster, 3))
        await cluster.client.patch(DEPLOYMENTS, "web", "default", {"spec": {"replicas": 5}})
        await cluster.until(lambda: complete(cluster, 5))
        image: Any = {"spec": {"template": {"spec": {"containers": [{"name": "web", "image": "web:2"}]}}}}
        await cluster.client.patch(DEPLOYMENTS, "web", "default", image)
        await cluster.until(lambda: complete(cluster, 5, "web:2"))
        await asyncio.sleep(5)
        assert await status_of(cluster) == {
            "Available": "MinimumReplicasAvailable",
            "Progressing": "NewReplicaSetAvailable",
        }
        assert (
            annotations_of(await cluster.client.get(DEPLOYMENTS, "web", "default"))["deployment.kubernetes.io/revision"]
            == "2"
        )
        [endpoints] = [s for s in await items(cluster, ENDPOINTSLICES) if name_of(s) != "kubernetes"]
        assert [e["conditions"]["ready"] for e in endpoints["endpoints"]] == [True] * 5
        assert len((await cluster.client.get(ENDPOINTS, "web", "default"))["subsets"][0]["addresses"]) == 5
        before = [await settled(cluster, r) for r in (DEPLOYMENTS, REPLICASETS, PODS, ENDPOINTSLICES, ENDPOINTS)]
        await asyncio.sleep(750)
        assert [
            await settled(cluster, r) for r in (DEPLOYMENTS, REPLICASETS, PODS, ENDPOINTSLICES, ENDPOINTS)
        ] == before
        reasons = {e["reason"] for e in await items(cluster, EVENTS)}
        assert {"ScalingReplicaSet", "SuccessfulCreate", "SuccessfulDelete"} <= reasons


@pytest.mark.parametrize("policy", ["", "Foreground"])
async def test_deleting_a_deployment_takes_everything(tmp_path: Path, policy: str) -> None:
    async with working(tmp_path) as cluster:
        await cluster.client.create(DEPLOYMENTS, deployment())
        await cluster.until(lambda: complete(cluster, 3))
        await cluster.client.delete(DEPLOYMENTS, "web", "default", propagation=policy)
        await cluster.until(lambda: not cluster.informers[PODS].list("default"))
        assert await items(cluster, REPLICASETS) == []
        with pytest.raises(NotFound):
            await cluster.client.get(DEPLOYMENTS, "web", "default")


async def test_orphans_stay(tmp_path: Path) -> None:
    async with working(tmp_path) as cluster:
        await cluster.client.create(DEPLOYMENTS, deployment())
        await cluster.until(lambda: complete(cluster, 3))
        await cluster.client.delete(DEPLOYMENTS, "web", "default", propagation="Orphan")
        await asyncio.sleep(5)
        [rs] = await items(cluster, REPLICASETS)
        assert not rs["metadata"].get("ownerReferences")
        assert complete(cluster, 3)


async def test_a_namespace_has_its_account_and_goes_with_its_contents(tmp_path: Path) -> None:
    async with working(tmp_path) as cluster:
        await cluster.client.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}})
        await asyncio.sleep(1)
        assert (await cluster.client.get(CONFIGMAPS, "kube-root-ca.crt", "team"))["data"] == {"ca.crt": "PEM"}
        obj = deployment()
        obj["metadata"]["namespace"] = "team"
        await cluster.client.create(DEPLOYMENTS, obj)
        await cluster.until(lambda: len(cluster.informers[PODS].list("team")) == 3)
        await cluster.client.delete(NAMESPACES, "team")
        await asyncio.sleep(10)
        assert "team" not in [name_of(n) for n in (await cluster.client.list(NAMESPACES)).items]
        assert await items(cluster, PODS, "team") == []


async def test_nodes_get_their_ranges(tmp_path: Path) -> None:
    async with working(tmp_path) as cluster:
        await asyncio.sleep(1)
        found = [n["spec"].get("podCIDR") for n in (await cluster.client.list(NODES)).items]
        assert sorted(found) == ["10.64.0.0/24", "10.64.1.0/24", "10.64.2.0/24"]


async def test_a_lost_nodes_pods_run_elsewhere_within_five_seconds(tmp_path: Path) -> None:
    async with working(tmp_path) as cluster:
        await cluster.client.create(DEPLOYMENTS, deployment(6))
        await cluster.until(lambda: complete(cluster, 6))
        await asyncio.sleep(15)
        cluster.nodes[0].cut()

        def moved() -> bool:
            pods = [p for p in cluster.informers[PODS].list("default") if not is_deleting(p)]
            ready = [
                p
                for p in pods
                if any(c["type"] == "Ready" and c["status"] == "True" for c in p["status"].get("conditions", ()))
            ]
            return len(ready) == 6 and all(p["spec"]["nodeName"] != "n1" for p in ready)

        assert await cluster.until(moved) < 5
        cluster.nodes[0].heal()
        await asyncio.sleep(10)
        assert all(not n["spec"].get("taints") for n in cluster.informers[NODES].list())


async def test_an_exclusive_pod_moves_only_after_its_node_has_fenced_itself(tmp_path: Path) -> None:
    async with working(tmp_path) as cluster:
        await cluster.client.create(DEPLOYMENTS, deployment(1, **{"covey.dev/exclusive": "true"}))
        await cluster.until(lambda: complete(cluster, 1))
        await asyncio.sleep(15)
        [pod] = cluster.informers[PODS].list("default")
        node = next(n for n in cluster.nodes if n.name == pod["spec"]["nodeName"])
        node.cut()
        await cluster.until(
            lambda: any(p is not pod and name_of(p) != name_of(pod) for p in cluster.informers[PODS].list("default"))
        )
        assert node.fenced
        await cluster.until(lambda: complete(cluster, 1))


async def test_when_the_broker_is_away_nobody_is_evicted(tmp_path: Path) -> None:
    async with working(tmp_path) as cluster:
        await cluster.client.create(DEPLOYMENTS, deployment(6))
        await cluster.until(lambda: complete(cluster, 6))
        await asyncio.sleep(15)
        before = {name_of(p) for p in cluster.informers[PODS].list("default")}
        for node in cluster.nodes:
            node.cut()
        await asyncio.sleep(60)
        for node in cluster.nodes:
            node.heal()
        await asyncio.sleep(30)
        assert {name_of(p) for p in cluster.informers[PODS].list("default")} == before
        assert all(not n["spec"].get("taints") for n in cluster.informers[NODES].list())


async def test_another_process_takes_over(tmp_path: Path) -> None:
    async with running(tmp_path) as cluster:
        first, second = (cluster.manager(f"USERVER{n}") for n in (1, 2))
        task = cluster.spawn(first.run())
        await cluster.until(lambda: first.leading)
        cluster.spawn(second.run())
        await cluster.client.create(DEPLOYMENTS, deployment(2))
        await cluster.until(lambda: complete(cluster, 2))
        task.cancel()
        assert await cluster.until(lambda: second.leading) < 4
        await cluster.client.patch(DEPLOYMENTS, "web", "default", {"spec": {"replicas": 4}})
        await cluster.until(lambda: complete(cluster, 4))

"""kubectl towards nodes: cordon, drain, uncordon, taint, describe. Nodes are everybody's, so each is put right again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.clients import Space
from tests.support.cluster import RealCluster, await_


@pytest.fixture
def node(cluster: RealCluster) -> Iterator[str]:
    """A node that may be cordoned and tainted."""
    name = "node-3"
    try:
        yield name
    finally:
        cluster.kubectl("uncordon", name)
        cluster.kubectl("taint", "node", name, "maintenance:NoSchedule-", "--overwrite") if any(
            t["key"] == "maintenance" for t in cluster.get("node", name)["spec"].get("taints") or ()
        ) else None


def test_drain_moves_pods_and_uncordon_lets_them_back(space: Space, node: str) -> None:
    space.kubectl("create", "deployment", "web", "--image=covey/hello:1", "--replicas=3")
    space.kubectl("rollout", "status", "deploy/web")
    assert space.cluster.kubectl("cordon", node) == f"node/{node} cordoned\n"
    assert "Ready,SchedulingDisabled" in space.cluster.kubectl("get", "node", node)
    told = space.cluster.kubectl("drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--force", within=120)
    assert told.endswith(f"node/{node} drained\n")
    assert not [p for p in space.get("pods")["items"] if p["spec"].get("nodeName") == node
                and "deletionTimestamp" not in p["metadata"]]  # fmt: skip
    space.kubectl("rollout", "status", "deploy/web")
    space.kubectl("run", "bare", "--image=covey/hello:1", f'--overrides={{"spec":{{"nodeName":"{node}"}}}}')
    space.running("bare")
    assert "cannot delete Pods that declare no controller (use --force to override)" in space.cluster.refused(
        "kubectl", "drain", node
    )
    assert space.cluster.kubectl("uncordon", node) == f"node/{node} uncordoned\n"


def test_taints_keep_pods_away(space: Space, node: str) -> None:
    assert space.cluster.kubectl("taint", "node", node, "maintenance=now:NoSchedule") == f"node/{node} tainted\n"
    override = f'--overrides={{"spec":{{"nodeSelector":{{"kubernetes.io/hostname":"{node}"}}}}}}'
    space.kubectl("run", "away", "--image=covey/hello:1", override)
    story = await_(lambda: [m for r, m in space.events("away") if r == "FailedScheduling"], what="FailedScheduling")
    assert story[0].startswith("0/3 nodes are available: ")
    assert "1 node(s) had untolerated taint(s)" in story[0] or "untolerated taint {maintenance: now}" in story[0]
    space.cluster.kubectl("taint", "node", node, "maintenance:NoSchedule-")
    assert space.running("away")["spec"]["nodeName"] == node


def test_describe_node(cluster: RealCluster, node: str) -> None:
    told = cluster.kubectl("describe", "node", node)
    for part in (
        "Conditions:",
        "KubeletReady",
        "Allocatable:",
        "PodCIDR:",
        "Non-terminated Pods:",
        "Allocated resources:",
    ):
        assert part in told

"""Small nodes and pods to schedule."""

from __future__ import annotations

from controlplane.scheduler.nodes import NodeTable
from controlplane.scheduler.plan import Memory, place
from controlplane.scheduler.request import PodRequest, pod_request
from mesh.objects.types import Json, Object


def node(
    name: str, *, labels: dict[str, str] | None = None, taints: list[Object] | None = None, **allocatable: str
) -> Object:
    amounts = {"cpu": "4", "memory": "8Gi", "pods": "110", "ephemeral-storage": "10Gi", **allocatable}
    return {
        "metadata": {"name": name, "labels": labels or {}},
        "spec": {"taints": taints or []},
        "status": {"allocatable": amounts},
    }


def pod(name: str, *, cpu: str = "", memory: str = "", owner: str = "", uid: str = "", **spec: Json) -> Object:
    requests = {k: v for k, v in (("cpu", cpu), ("memory", memory)) if v}
    container = {"name": "c", "image": "img", "resources": {"requests": requests}}
    meta: Object = {"name": name, "namespace": "default", "uid": uid or f"uid-{name}"}
    if owner:
        meta["ownerReferences"] = [{"controller": True, "uid": owner}]
    return {"metadata": meta, "spec": {"containers": [container], **spec}}


def request(name: str, **options: Json) -> PodRequest:
    return pod_request(pod(name, **options))


def table_of(*nodes: Object) -> NodeTable:
    table = NodeTable()
    for each in nodes:
        table.put_node(each)
    return table


def decide(table: NodeTable, *pods: PodRequest) -> list[str]:
    """Node names, or the sentence why not, in the order of the pods."""
    return [p.node or p.message for p in place(table, pods, Memory())]

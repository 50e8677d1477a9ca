"""How Deployments and ReplicaSets are printed."""

from __future__ import annotations

from datetime import datetime

from controlplane.apiserver.tables.columns import AGE, CONTAINERS, IMAGES, NAME, Cells, Column, Printer, age
from mesh.objects import labels
from mesh.objects.types import Object

_SELECTOR = Column("Selector", priority=1, description="Label selector for the pods that this object manages.")


def _template_cells(obj: Object) -> Cells:
    containers = obj["spec"]["template"]["spec"].get("containers") or ()
    return [
        ",".join(container["name"] for container in containers),
        ",".join(container.get("image", "") for container in containers),
        labels.format_object(obj["spec"].get("selector")),
    ]


def _deployment(deployment: Object, now: datetime) -> Cells:
    status = deployment.get("status") or {}
    return [
        deployment["metadata"]["name"],
        f"{status.get('readyReplicas', 0)}/{deployment['spec'].get('replicas', 1)}",
        status.get("updatedReplicas", 0),
        status.get("availableReplicas", 0),
        age(deployment, now),
        *_template_cells(deployment),
    ]


def _replica_set(replica_set: Object, now: datetime) -> Cells:
    status = replica_set.get("status") or {}
    return [
        replica_set["metadata"]["name"],
        replica_set["spec"].get("replicas", 1),
        status.get("replicas", 0),
        status.get("readyReplicas", 0),
        age(replica_set, now),
        *_template_cells(replica_set),
    ]


DEPLOYMENTS = Printer(
    (
        NAME,
        Column("Ready", description="Number of the pod with ready state"),
        Column("Up-to-date", description="Total number of non-terminating pods that have the desired template."),
        Column("Available", description="Total number of available non-terminating pods."),
        AGE,
        CONTAINERS,
        IMAGES,
        _SELECTOR,
    ),
    _deployment,
)

REPLICASETS = Printer(
    (
        NAME,
        Column("Desired", type="integer", description="Number of desired pods."),
        Column("Current", type="integer", description="Most recently observed number of non-terminating pods."),
        Column("Ready", type="integer", description="Number of non-terminating pods with a Ready condition."),
        AGE,
        CONTAINERS,
        IMAGES,
        _SELECTOR,
    ),
    _replica_set,
)

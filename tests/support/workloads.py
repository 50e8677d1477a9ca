"""Small Deployments, ReplicaSets and pods for planner tests, and the node's part of the game played by hand."""

from __future__ import annotations

from typing import Any

from mesh.objects.kinds import DEPLOYMENTS, PODS
from mesh.objects.meta import Key, format_time, is_deleting, key_of, thaw
from mesh.objects.types import Object
from tests.support.api_model import ApiModel

NS = "ns"
WEB = Key(NS, "web")


def template(image: str = "web:1", **labels: str) -> Object:
    return {
        "metadata": {"labels": {"app": "web", **labels}},
        "spec": {"containers": [{"name": "web", "image": image}]},
    }


def replicaset(replicas: int = 3, **spec: Any) -> Object:
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {"namespace": NS, "name": "web"},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template(), **spec},
    }


def deployment(
    replicas: int = 3, image: str = "web:1", surge: Any = "25%", unavailable: Any = "25%", **spec: Any
) -> Object:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"namespace": NS, "name": "web"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": template(image),
            "strategy": strategy,
            "revisionHistoryLimit": 10,
            "progressDeadlineSeconds": 600,
            **spec,
        },
    }


def pod(name: str, *, ready: bool = True, node: str = "n1", ip: str = "", **labels: str) -> Object:
    obj: Object = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"namespace": NS, "name": name, "labels": {"app": "web", **labels}},
        "spec": {"nodeName": node, "containers": [{"name": "web", "image": "web:1"}]},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True" if ready else "False"}]},
    }
    if ip:
        obj["status"] |= {"podIP": ip, "podIPs": [{"ip": ip}]}
    return obj


def set_ready(model: ApiModel, key: Key, *, ready: bool = True) -> None:
    """What the node agent reports once a pod is ready (or no longer is)."""
    obj = thaw(model.get(PODS, key))
    stamp = format_time(model.now)
    obj["status"] = {
        "phase": "Running",
        "conditions": [{"type": "Ready", "status": "True" if ready else "False", "lastTransitionTime": stamp}],
    }
    model.put(PODS, obj)


def all_pods_start_and_end(model: ApiModel) -> None:
    """A cluster in which every pod becomes ready and every deleted pod ends at once."""
    for obj in model.all(PODS):
        if is_deleting(obj):
            model.finish_pod(key_of(obj))
        elif not obj.get("status"):
            set_ready(model, key_of(obj))


def change(model: ApiModel, **spec: Any) -> None:
    """A user's edit of the Deployment's spec."""
    obj = thaw(model.get(DEPLOYMENTS, WEB))
    obj["spec"].update(spec)
    model.update(DEPLOYMENTS, obj)

"""Small valid objects for tests of strategies and tables, and what the pipeline does with a request body."""

from __future__ import annotations

import copy
from typing import Any

from controlplane.apiserver.strategies.registry import strategy_for
from mesh.errors import Cause
from mesh.objects import kinds, schema
from mesh.objects.kinds import Resource

Changes = dict[str, Any]


def _resource(obj: dict[str, Any]) -> Resource:
    resource = kinds.by_kind(obj["apiVersion"], obj["kind"])
    assert resource is not None
    return resource


def changed(obj: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A copy of `obj` with values set at dotted paths written with "__" (`spec__replicas=2`); None deletes."""
    result = copy.deepcopy(obj)
    for path, value in changes.items():
        *parents, last = (int(step) if step.isdigit() else step for step in path.split("__"))
        target: Any = result
        for step in parents:
            target = target[step] if isinstance(step, int) else target.setdefault(step, {})
        if value is None:
            del target[last]
        else:
            target[last] = copy.deepcopy(value)
    return result


def decoded(obj: dict[str, Any]) -> dict[str, Any]:
    """The object as the server holds it after decoding: shape checked, defaults filled in."""
    result = copy.deepcopy(obj)
    assert schema.conform(result, result["apiVersion"], result["kind"]) == []
    strategy_for(_resource(result)).defaults(result)
    return result


def stored(obj: dict[str, Any]) -> dict[str, Any]:
    """The object as a create would store it."""
    result = decoded(obj)
    strategy_for(_resource(result)).prepare_create(result)
    return result


def create_causes(obj: dict[str, Any]) -> list[Cause]:
    """What is wrong with creating the object."""
    return strategy_for(_resource(obj)).validate_create(stored(obj))


def update(old: dict[str, Any], new: dict[str, Any], subresource: str = "") -> tuple[dict[str, Any], list[Cause]]:
    """What an update of a stored object would store, and what is wrong with it."""
    strategy = strategy_for(_resource(old))
    result = decoded(new)
    strategy.prepare_update(result, old, subresource)
    return result, strategy.validate_update(result, old, subresource)


def said(causes: list[Cause]) -> list[str]:
    """Causes as the lines a user reads."""
    return [f"{cause.field}: {cause.message}" for cause in causes]


def meta(name: str, **more: Any) -> dict[str, Any]:
    """Metadata of a namespaced object."""
    return {"name": name, "namespace": "default", **more}


POD: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": meta("web"),
    "spec": {"containers": [{"name": "web", "image": "nginx:1.25"}]},
}
_TEMPLATE = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "web", "image": "nginx:1.25"}]}}
DEPLOYMENT: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": meta("web"),
    "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": _TEMPLATE},
}
REPLICASET: dict[str, Any] = {**DEPLOYMENT, "kind": "ReplicaSet"}
SERVICE: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": meta("web"),
    "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]},
}
NAMESPACE: dict[str, Any] = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}}
NODE: dict[str, Any] = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}}
CONFIGMAP: dict[str, Any] = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta("c"), "data": {"key": "value"}}
SECRET: dict[str, Any] = {"apiVersion": "v1", "kind": "Secret", "metadata": meta("s"), "data": {"key": "dmFsdWU="}}
EVENT: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Event",
    "metadata": meta("web.1"),
    "involvedObject": {"kind": "Pod", "namespace": "default", "name": "web"},
    "reason": "Started",
    "message": "Started container web",
    "type": "Normal",
}
LEASE: dict[str, Any] = {
    "apiVersion": "coordination.k8s.io/v1",
    "kind": "Lease",
    "metadata": meta("n1"),
    "spec": {"holderIdentity": "n1"},
}
SERVICEACCOUNT: dict[str, Any] = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta("default")}
ENDPOINTS: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Endpoints",
    "metadata": meta("web"),
    "subsets": [{"addresses": [{"ip": "10.64.0.2"}], "ports": [{"port": 80}]}],
}
ENDPOINTSLICE: dict[str, Any] = {
    "apiVersion": "discovery.k8s.io/v1",
    "kind": "EndpointSlice",
    "metadata": meta("web-1"),
    "addressType": "IPv4",
    "endpoints": [{"addresses": ["10.64.0.2"]}],
    "ports": [{"port": 80}],
}

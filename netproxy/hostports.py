"""`hostPort`: a container's port on its node's own addresses, as rules like those of Services. Pure.

https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#ports. Pods that share the node's network
need none: they listen there themselves.
"""

from __future__ import annotations

from collections.abc import Iterator

from mesh.objects.meta import Key, name_of, namespace_of
from mesh.objects.types import Object
from netproxy.endpoints import Backend
from netproxy.model import Frontend, Masquerade, NodeView, Rule

_OWNER = "pod/"
_ANY = {4: "0.0.0.0", 6: "::"}


def owner_of(pod: Object) -> Key | None:
    """Under which key the table keeps a pod's rules: one that no Service can have. None for a pod that has none."""
    return Key(f"{_OWNER}{namespace_of(pod)}", name_of(pod)) if any(_ports(pod)) else None


def pod_of(owner: Key) -> Key | None:
    """The pod's key for such a key; None for that of a Service."""
    namespace = owner.namespace
    return Key(namespace.removeprefix(_OWNER), owner.name) if namespace.startswith(_OWNER) else None


def host_port_rules(pod: Object, node: NodeView) -> dict[Frontend, Rule]:
    """The rules of a pod of this node; empty until it has an address, and once it has ended."""
    status = pod.get("status") or {}
    if pod["spec"].get("nodeName") != node.name or status.get("phase") in {"Succeeded", "Failed"}:
        return {}
    addresses = [entry["ip"] for entry in status.get("podIPs") or ()]
    rules: dict[Frontend, Rule] = {}
    for port in _ports(pod):
        protocol = port.get("protocol", "TCP").lower()
        label = f"pod {namespace_of(pod)}/{name_of(pod)}:{port['hostPort']}"
        for family in sorted(node.families):
            address = next((a for a in addresses if (6 if ":" in a else 4) == family), None)
            host = port.get("hostIP") or _ANY[family]
            if address is None or (6 if ":" in host else 4) != family:
                continue
            backend = Backend(address, port["containerPort"], local=True)
            rules.setdefault(Frontend(host, protocol, port["hostPort"]), Rule(label, (backend,), Masquerade.NEVER))
    return rules


def _ports(pod: Object) -> Iterator[Object]:
    """The container ports that are asked for on the node."""
    spec = pod["spec"]
    if spec.get("hostNetwork"):
        return
    for container in (*(spec.get("initContainers") or ()), *(spec.get("containers") or ())):
        for port in container.get("ports") or ():
            if port.get("hostPort"):
                yield port

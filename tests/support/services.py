"""Services and EndpointSlices for the proxy's tests, in few words."""

from __future__ import annotations

from collections.abc import Sequence

from mesh.objects.types import Object


def service(
    name: str = "web",
    *,
    address: str = "10.96.0.20",
    port: int = 80,
    node_port: int = 0,
    protocol: str = "TCP",
    **spec: object,
) -> Object:
    """A Service with one port; keyword arguments are fields of its spec."""
    entry: Object = {"port": port, "protocol": protocol, "targetPort": 8080}
    if node_port:
        entry["nodePort"] = node_port
        spec.setdefault("type", "NodePort")
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"type": "ClusterIP", "clusterIP": address, "clusterIPs": [address], "ports": [entry], **spec},
    }


def endpoint(address: str, *, node: str = "node", **extra: object) -> Object:
    """A ready endpoint; `ready`, `serving`, `terminating` are its conditions, `zones` and `nodes` its hints."""
    conditions: Object = {"ready": True, "serving": True, "terminating": False}
    conditions.update({k: v for k, v in extra.items() if k in conditions})
    item: Object = {"addresses": [address], "conditions": conditions, "nodeName": node}
    hints: Object = {}
    if "zones" in extra:
        hints["forZones"] = [{"name": z} for z in extra["zones"]]  # type: ignore[attr-defined]
    if "nodes" in extra:
        hints["forNodes"] = [{"name": n} for n in extra["nodes"]]  # type: ignore[attr-defined]
    if hints:
        item["hints"] = hints
    return item


def slice_of(
    name: str, endpoints: Sequence[Object], *, port: int = 8080, protocol: str = "TCP", port_name: str = ""
) -> Object:
    """An EndpointSlice of the Service `name`."""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{name}-abcde",
            "namespace": "default",
            "labels": {"kubernetes.io/service-name": name},
        },
        "addressType": "IPv4",
        "endpoints": list(endpoints),
        "ports": [{"name": port_name, "port": port, "protocol": protocol}],
    }

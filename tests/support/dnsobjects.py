"""Services and EndpointSlices as tests of DNS write them."""

from __future__ import annotations

from mesh.objects.types import Object

HTTP = {"name": "http", "protocol": "TCP", "port": 80}


def service(name: str, namespace: str = "default", **spec: object) -> Object:
    """A Service; keyword arguments are its spec."""
    meta = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec}


def piece(
    of: str, *endpoints: Object, name: str = "", namespace: str = "default", ports=(HTTP,), kind="IPv4"
) -> Object:
    """An EndpointSlice of the Service `of`."""
    meta = {"name": name or f"{of}-1", "namespace": namespace, "labels": {"kubernetes.io/service-name": of}}
    return {"metadata": meta, "addressType": kind, "endpoints": list(endpoints), "ports": list(ports)}


def endpoint(address: str, *, ready: bool | None = True, hostname: str = "") -> Object:
    """One endpoint."""
    made: Object = {"addresses": [address], "conditions": {} if ready is None else {"ready": ready}}
    return made | ({"hostname": hostname} if hostname else {})

"""How Services, Endpoints and EndpointSlices are printed."""

from __future__ import annotations

from datetime import datetime

from controlplane.apiserver.tables.columns import AGE, NAME, NONE, Cells, Column, Printer, age, shortened
from mesh.objects import labels
from mesh.objects.types import Object

_UNSET = "<unset>"


def _external(service: Object) -> str:
    """Where the Service can be reached from outside the cluster."""
    spec = service["spec"]
    kind, addresses = spec.get("type"), spec.get("externalIPs") or []
    if kind == "ExternalName":
        return str(spec.get("externalName", ""))
    if kind != "LoadBalancer":
        return ",".join(addresses) or NONE
    ingress = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    balanced = sorted({entry.get("ip") or entry.get("hostname") or "" for entry in ingress} - {""})
    return ",".join([*balanced, *addresses]) or "<pending>"


def _ports(service: Object) -> str:
    def one(port: Object) -> str:
        node_port = f":{port['nodePort']}" if port.get("nodePort") else ""
        return f"{port.get('port', 0)}{node_port}/{port.get('protocol', 'TCP')}"

    return ",".join(one(port) for port in service["spec"].get("ports") or ()) or NONE


def _service(service: Object, now: datetime) -> Cells:
    spec = service["spec"]
    return [
        service["metadata"]["name"],
        spec.get("type", ""),
        (spec.get("clusterIPs") or [spec.get("clusterIP")])[0] or NONE,
        _external(service),
        _ports(service),
        age(service, now),
        labels.format_map(spec.get("selector")),
    ]


def _join(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _endpoints(endpoints: Object, now: datetime) -> Cells:
    backends: list[str] = []
    for subset in endpoints.get("subsets") or ():
        addresses = [address.get("ip", "") for address in subset.get("addresses") or ()]
        ports = subset.get("ports") or ()
        backends += (
            [_join(address, port.get("port", 0)) for port in ports for address in addresses] if ports else addresses
        )
    return [endpoints["metadata"]["name"], shortened(backends, len(backends)) or NONE, age(endpoints, now)]


def _endpoint_slice(endpoint_slice: Object, now: datetime) -> Cells:
    ports = [str(port["port"]) if port.get("port") else "*" for port in endpoint_slice.get("ports") or ()]
    addresses = [a for endpoint in endpoint_slice.get("endpoints") or () for a in endpoint.get("addresses") or ()]
    return [
        endpoint_slice["metadata"]["name"],
        endpoint_slice.get("addressType", ""),
        shortened(ports, len(ports)) or _UNSET,
        shortened(addresses, len(addresses)) or _UNSET,
        age(endpoint_slice, now),
    ]


SERVICES = Printer(
    (
        NAME,
        Column("Type", description="type determines how the Service is exposed."),
        Column("Cluster-IP", description="clusterIP is the IP address of the service."),
        Column("External-IP", description="Addresses at which the service can be reached from outside the cluster."),
        Column("Port(s)", description="The list of ports that are exposed by this service."),
        AGE,
        Column("Selector", priority=1, description="Route service traffic to pods with matching labels."),
    ),
    _service,
)
ENDPOINTS = Printer(
    (NAME, Column("Endpoints", description="The addresses and ports that implement the service."), AGE), _endpoints
)
ENDPOINTSLICES = Printer(
    (
        NAME,
        Column("AddressType", description="addressType specifies the type of address carried by this EndpointSlice."),
        Column("Ports", description="ports specifies the list of network ports exposed by each endpoint."),
        Column("Endpoints", description="endpoints is a list of unique endpoints in this slice."),
        AGE,
    ),
    _endpoint_slice,
)

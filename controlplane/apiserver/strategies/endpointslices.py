"""EndpointSlices: bounded parts of a Service's backends.

Source: pkg/apis/discovery/validation and pkg/registry/discovery/endpointslice of Kubernetes 1.36.
"""

from __future__ import annotations

import ipaddress

from controlplane.apiserver.strategies import causes
from controlplane.apiserver.strategies.container_validation import PROTOCOLS
from controlplane.apiserver.strategies.ip_validation import validate_backend_ip
from controlplane.apiserver.strategies.metadata import validate_labels
from controlplane.apiserver.strategies.strategy import Strategy, UpdateRule
from controlplane.apiserver.strategies.writing import start_generation
from mesh.errors import Cause
from mesh.objects import kinds, names
from mesh.objects.types import Object

MAX_ENDPOINTS, MAX_ADDRESSES, MAX_PORTS, MAX_ZONES = 1000, 100, 20000, 8
_ADDRESS_TYPES = ("FQDN", "IPv4", "IPv6")


def _default(endpoint_slice: Object) -> None:
    for port in endpoint_slice.get("ports") or ():
        port.setdefault("name", "")
        port["protocol"] = port.get("protocol") or "TCP"


def _prepare_update(new: Object, old: Object) -> None:
    def content(obj: Object) -> tuple[object, ...]:
        return obj.get("addressType"), obj.get("endpoints"), obj.get("ports"), obj["metadata"].get("labels")

    generation = old["metadata"].get("generation", 0)
    new["metadata"]["generation"] = generation + (content(new) != content(old))


def _validate(endpoint_slice: Object) -> list[Cause]:
    kind = endpoint_slice.get("addressType", "")
    found: list[Cause] = []
    if not kind:
        found.append(causes.required("addressType"))
    elif kind not in _ADDRESS_TYPES:
        found.append(causes.unsupported("addressType", kind, _ADDRESS_TYPES))
    endpoints = endpoint_slice.get("endpoints") or ()
    if len(endpoints) > MAX_ENDPOINTS:
        return [*found, causes.too_many("endpoints", len(endpoints), MAX_ENDPOINTS)]
    for position, endpoint in enumerate(endpoints):
        found += _validate_endpoint(endpoint, kind, causes.index("endpoints", position))
    return found + _validate_ports(endpoint_slice)


def _validate_endpoint(endpoint: Object, kind: str, path: str) -> list[Cause]:
    found: list[Cause] = []
    addresses = endpoint.get("addresses") or ()
    if not addresses:
        found.append(causes.required(f"{path}.addresses", "must contain at least 1 address"))
    elif len(addresses) > MAX_ADDRESSES:
        found.append(causes.too_many(f"{path}.addresses", len(addresses), MAX_ADDRESSES))
    for position, address in enumerate(addresses):
        found += _validate_address(address, kind, causes.index(f"{path}.addresses", position))
    if node := endpoint.get("nodeName"):
        found += causes.each(f"{path}.nodeName", node, names.dns1123_subdomain(node))
    found += validate_labels(endpoint.get("deprecatedTopology"), f"{path}.deprecatedTopology")
    if (hostname := endpoint.get("hostname")) is not None:
        found += causes.each(f"{path}.hostname", hostname, names.dns1123_label(hostname))
    hints = (endpoint.get("hints") or {}).get("forZones") or ()
    if len(hints) > MAX_ZONES:
        found.append(causes.too_many(f"{path}.hints.forZones", len(hints), MAX_ZONES))
    return found


def _validate_address(address: str, kind: str, path: str) -> list[Cause]:
    if kind == "FQDN":
        return causes.each(path, address, names.dns1123_subdomain(address))
    found = validate_backend_ip(address, path)
    if not found and kind in {"IPv4", "IPv6"} and ipaddress.ip_address(address).version != int(kind[-1]):
        return [causes.invalid(path, address, f"must be an {kind} address")]
    return found


def _validate_ports(endpoint_slice: Object) -> list[Cause]:
    ports = endpoint_slice.get("ports") or ()
    if len(ports) > MAX_PORTS:
        return [causes.too_many("ports", len(ports), MAX_PORTS)]
    found: list[Cause] = []
    seen: set[str] = set()
    for position, port in enumerate(ports):
        at = causes.index("ports", position)
        name, protocol, number = port.get("name", ""), port.get("protocol", ""), port.get("port")
        if name:
            found += causes.each(f"{at}.name", name, names.dns1123_label(name))
        if name in seen:
            found.append(causes.duplicate(f"{at}.name", name))
        seen.add(name)
        if protocol not in PROTOCOLS:
            found.append(causes.unsupported(f"{at}.protocol", protocol, PROTOCOLS))
        if number is not None:
            found += causes.each(f"{at}.port", number, names.port_number(number))
        if (application := port.get("appProtocol")) is not None:
            found += causes.each(f"{at}.appProtocol", application, names.qualified_name(application))
    return found


def _validate_update(new: Object, old: Object) -> list[Cause]:
    return _validate(new) + causes.immutable("addressType", new.get("addressType"), old.get("addressType"))


STRATEGY = Strategy(
    resource=kinds.ENDPOINTSLICES,
    default=_default,
    prepare=start_generation,
    validate=_validate,
    updates={"": UpdateRule(prepare=_prepare_update, validate=_validate_update)},
)

"""Endpoints: the older, flat list of a Service's backends."""

from __future__ import annotations

from controlplane.apiserver.strategies import causes
from controlplane.apiserver.strategies.container_validation import PROTOCOLS
from controlplane.apiserver.strategies.ip_validation import validate_backend_ip
from controlplane.apiserver.strategies.strategy import Strategy, UpdateRule
from mesh.errors import Cause
from mesh.objects import kinds, names
from mesh.objects.types import Object

_DEPRECATED = "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"


def _default(endpoints: Object) -> None:
    for subset in endpoints.get("subsets") or ():
        for port in subset.get("ports") or ():
            port["protocol"] = port.get("protocol") or "TCP"


def _validate(endpoints: Object) -> list[Cause]:
    found: list[Cause] = []
    for position, subset in enumerate(endpoints.get("subsets") or ()):
        at = causes.index("subsets", position)
        if not subset.get("addresses") and not subset.get("notReadyAddresses"):
            found.append(causes.required(at, "must specify `addresses` or `notReadyAddresses`"))
        for field in ("addresses", "notReadyAddresses"):
            for number, address in enumerate(subset.get(field) or ()):
                found += _validate_address(address, f"{at}.{field}[{number}]")
        ports = subset.get("ports") or ()
        for number, port in enumerate(ports):
            found += _validate_port(port, f"{at}.ports[{number}]", named=len(ports) > 1)
    return found


def _validate_address(address: Object, path: str) -> list[Cause]:
    found = validate_backend_ip(address.get("ip", ""), f"{path}.ip")
    if hostname := address.get("hostname"):
        found += causes.each(f"{path}.hostname", hostname, names.dns1123_label(hostname))
    if node := address.get("nodeName"):
        found += causes.each(f"{path}.nodeName", node, names.dns1123_subdomain(node))
    return found


def _validate_port(port: Object, path: str, *, named: bool) -> list[Cause]:
    name, number, protocol = port.get("name", ""), port.get("port", 0), port.get("protocol", "")
    found: list[Cause] = []
    if named and not name:
        found.append(causes.required(f"{path}.name"))
    elif name:
        found += causes.each(f"{path}.name", name, names.dns1123_label(name))
    found += causes.each(f"{path}.port", number, names.port_number(number))
    if not protocol:
        found.append(causes.required(f"{path}.protocol"))
    elif protocol not in PROTOCOLS:
        found.append(causes.unsupported(f"{path}.protocol", protocol, PROTOCOLS))
    return found


STRATEGY = Strategy(
    resource=kinds.ENDPOINTS,
    default=_default,
    validate=_validate,
    updates={"": UpdateRule(validate=lambda new, _old: _validate(new))},
    create_on_update=True,
    deprecated=_DEPRECATED,
)

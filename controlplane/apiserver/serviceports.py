"""Which cluster addresses and node ports a Service needs, and which it keeps over an update. Pure.

Source: pkg/registry/core/service/storage (alloc.go, storage.go) of Kubernetes.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from mesh.errors import Cause
from mesh.objects.types import Object

HEADLESS = "None"

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Range:
    """The node ports that may be given out, both ends included."""

    low: int
    high: int

    def __str__(self) -> str:
        return f"{self.low}-{self.high}"


def needs_address(service: Object) -> bool:
    """Whether the Service has a clusterIP (or is headless) at all."""
    kind: str = service["spec"].get("type", "ClusterIP")
    return kind != "ExternalName"


def needs_ports(service: Object) -> bool:
    """Whether its ports have node ports."""
    spec = service["spec"]
    if spec.get("type") == "LoadBalancer":
        return spec.get("allocateLoadBalancerNodePorts") is not False
    return bool(spec.get("type") == "NodePort")


def needs_health_port(service: Object) -> bool:
    """Whether load balancers ask the nodes for its local endpoints."""
    spec = service["spec"]
    return (spec.get("type"), spec.get("externalTrafficPolicy")) == ("LoadBalancer", "Local")


def keep_allocated(new: Object, old: Object) -> None:
    """Copy into `new`, in place, what `old` was given and an update that leaves it out does not mean to give back."""
    spec, before = new["spec"], old["spec"]
    if needs_address(new) and needs_address(old):
        if not spec.get("clusterIP") and before.get("clusterIP"):
            spec["clusterIP"] = before["clusterIP"]
        if not spec.get("clusterIPs") and spec.get("clusterIP") == before.get("clusterIP"):
            spec["clusterIPs"] = before.get("clusterIPs", [])
        for field in ("ipFamilies", "ipFamilyPolicy"):
            if not spec.get(field) and before.get(field):
                spec[field] = before[field]
    if needs_ports(new) and needs_ports(old):
        given = {(p.get("protocol"), p["port"]): p.get("nodePort") for p in before.get("ports") or ()}
        taken = {(p.get("protocol"), p["nodePort"]) for p in spec.get("ports") or () if p.get("nodePort")}
        for port in spec.get("ports") or ():
            kept = given.get((port.get("protocol"), port.get("port")))
            if not port.get("nodePort") and kept and (port.get("protocol"), kept) not in taken:
                port["nodePort"] = kept
    if needs_health_port(new) and needs_health_port(old) and not spec.get("healthCheckNodePort"):
        spec["healthCheckNodePort"] = before.get("healthCheckNodePort")


def drop_unneeded(new: Object) -> None:
    """Take away, in place, what a Service of this type does not have."""
    spec = new["spec"]
    if not needs_address(new):
        for field in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
            spec.pop(field, None)


def addresses(service: Object | None) -> set[str]:
    """The cluster addresses a Service holds."""
    if service is None or not needs_address(service):
        return set()
    spec = service["spec"]
    return {ip for ip in (spec.get("clusterIP"), *(spec.get("clusterIPs") or ())) if ip and ip != HEADLESS}


def ports(service: Object | None) -> set[int]:
    """The node ports a Service holds."""
    if service is None:
        return set()
    spec = service["spec"]
    held = {p["nodePort"] for p in spec.get("ports") or () if p.get("nodePort")}
    if spec.get("healthCheckNodePort"):
        held.add(spec["healthCheckNodePort"])
    return held


def check_address(address: str, networks: list[Network]) -> Cause | None:
    """What is wrong with a clusterIP that a client asks for, or None."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return None  # validation says it better
    if any(parsed in network for network in networks):
        return None
    ranges = ", ".join(map(str, networks))
    return address_refused(
        address, f"the provided IP ({address}) is not in the valid range. The range of valid IPs is {ranges}"
    )


def address_refused(address: str, why: str) -> Cause:
    """A clusterIP that cannot be had."""
    told = f'Invalid value: ["{address}"]: failed to allocate IP {address}: {why}'
    return Cause("spec.clusterIPs", "FieldValueInvalid", told)


def check_port(field: str, port: int, allowed: Range) -> Cause | None:
    """What is wrong with a node port that a client asks for, or None."""
    if allowed.low <= port <= allowed.high:
        return None
    return port_refused(field, port, f"provided port is not in the valid range. The range of valid ports is {allowed}")


def port_refused(field: str, port: int, why: str) -> Cause:
    """A node port that cannot be had."""
    return Cause(field, "FieldValueInvalid", f"Invalid value: {port}: {why}")

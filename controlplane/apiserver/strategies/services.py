"""Services: types, ports and policies. Addresses and node ports are allocated by the pipeline, after `prepare`.

Source: pkg/registry/core/service/strategy.go and storage.go of Kubernetes 1.36.
"""

from __future__ import annotations

from controlplane.apiserver.strategies.service_validation import (
    externally_accessible,
    needs_cluster_ip,
    needs_health_check,
    needs_node_port,
    validate_service,
    validate_service_status,
    validate_service_update,
)
from controlplane.apiserver.strategies.strategy import Strategy, UpdateRule
from controlplane.apiserver.strategies.writing import keep_spec, keep_status
from mesh.objects import kinds, names
from mesh.objects.types import Object

AFFINITY_SECONDS = 10800


def _default(service: Object) -> None:
    spec = service.setdefault("spec", {})
    spec["type"] = spec.get("type") or "ClusterIP"
    affinity = spec["sessionAffinity"] = spec.get("sessionAffinity") or "None"
    if affinity == "None":
        spec.pop("sessionAffinityConfig", None)
    elif affinity == "ClientIP":
        client = (spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}
        if client.get("timeoutSeconds") is None:
            spec["sessionAffinityConfig"] = {"clientIP": {"timeoutSeconds": AFFINITY_SECONDS}}
    for port in spec.get("ports") or ():
        port["protocol"] = port.get("protocol") or "TCP"
        port["targetPort"] = port.get("targetPort") or port.get("port", 0)
    if externally_accessible(spec):
        spec["externalTrafficPolicy"] = spec.get("externalTrafficPolicy") or "Cluster"
    if spec["type"] in {"ClusterIP", "NodePort", "LoadBalancer"}:
        spec.setdefault("internalTrafficPolicy", "Cluster")
    if spec["type"] == "LoadBalancer":
        spec.setdefault("allocateLoadBalancerNodePorts", True)
    status = service.setdefault("status", {})
    for ingress in status.setdefault("loadBalancer", {}).get("ingress") or ():
        if spec["type"] == "LoadBalancer" and ingress.get("ip"):
            ingress.setdefault("ipMode", "VIP")


def _prepare(service: Object) -> None:
    service["status"] = {"loadBalancer": {}}
    _pair_cluster_ips(service["spec"])


def _pair_cluster_ips(spec: Object) -> None:
    """Clients that know only `clusterIP` set only that; the list follows it."""
    if spec.get("clusterIP") and not spec.get("clusterIPs"):
        spec["clusterIPs"] = [spec["clusterIP"]]


def _follow_cluster_ip(spec: Object, before: Object) -> None:
    """A change of `clusterIP` alone is meant for the list too (NormalizeClusterIPs)."""
    address, addresses = spec.get("clusterIP"), spec.get("clusterIPs") or []
    if address and addresses and addresses == before.get("clusterIPs") and address != before.get("clusterIP"):
        spec["clusterIPs"] = [address, *addresses[1:]]


def _prepare_update(new: Object, old: Object) -> None:
    keep_status(new, old)
    _follow_cluster_ip(new["spec"], old["spec"])
    _drop_what_the_type_no_longer_has(new["spec"], old["spec"])
    _keep_allocations(new["spec"], old["spec"])
    _pair_cluster_ips(new["spec"])


def _keep_allocations(spec: Object, before: Object) -> None:
    """What was allocated and is not mentioned stays, so that clients may send what they once created."""
    if needs_cluster_ip(before) and needs_cluster_ip(spec):
        if not spec.get("clusterIP") and before.get("clusterIP"):
            spec["clusterIP"] = before["clusterIP"]
        if not spec.get("clusterIPs") and spec.get("clusterIP") == before.get("clusterIP") and before.get("clusterIPs"):
            spec["clusterIPs"] = list(before["clusterIPs"])
        for field in ("ipFamilies", "ipFamilyPolicy"):
            if field not in spec and field in before:
                spec[field] = before[field]
    if needs_node_port(before) and needs_node_port(spec):
        taken = {port["nodePort"] for port in spec.get("ports") or () if port.get("nodePort")}
        known = {(p.get("protocol"), p.get("port")): p.get("nodePort") for p in before.get("ports") or ()}
        for port in spec.get("ports") or ():
            previous = known.get((port.get("protocol"), port.get("port")))
            if not port.get("nodePort") and previous and previous not in taken:
                port["nodePort"] = previous
                taken.add(previous)
    if needs_health_check(before) and needs_health_check(spec) and before.get("healthCheckNodePort"):
        spec["healthCheckNodePort"] = spec.get("healthCheckNodePort") or before["healthCheckNodePort"]


def _drop_what_the_type_no_longer_has(spec: Object, before: Object) -> None:
    """When a Service changes its type, allocations that came along unchanged are let go."""
    if needs_cluster_ip(before) and not needs_cluster_ip(spec):
        for field in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
            if spec.get(field) == before.get(field):
                spec.pop(field, None)
    old_ports = [port.get("nodePort") for port in before.get("ports") or ()]
    new_ports = [port.get("nodePort") for port in spec.get("ports") or ()]
    if needs_node_port(before) and not needs_node_port(spec) and new_ports == old_ports:
        for port in spec.get("ports") or ():
            port.pop("nodePort", None)
    for field, applies in (
        ("healthCheckNodePort", needs_health_check),
        ("allocateLoadBalancerNodePorts", _is_load_balancer),
        ("loadBalancerClass", _is_load_balancer),
        ("externalTrafficPolicy", externally_accessible),
    ):
        if applies(before) and not applies(spec) and spec.get(field) == before.get(field):
            spec.pop(field, None)


def _is_load_balancer(spec: Object) -> bool:
    return spec.get("type") == "LoadBalancer"


STRATEGY = Strategy(
    resource=kinds.SERVICES,
    default=_default,
    prepare=_prepare,
    validate=validate_service,
    name_check=names.dns1035_label,
    updates={
        "": UpdateRule(prepare=_prepare_update, validate=validate_service_update),
        "status": UpdateRule(prepare=keep_spec, validate=validate_service_status),
    },
    fields={
        "spec.clusterIP": lambda service: str(service["spec"].get("clusterIP", "")),
        "spec.type": lambda service: str(service["spec"].get("type", "")),
    },
    create_on_update=True,
)

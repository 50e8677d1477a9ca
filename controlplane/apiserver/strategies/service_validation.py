"""Validation of Services.

Source: ValidateService and ValidateServiceUpdate in pkg/apis/core/validation/validation.go of Kubernetes 1.36.
"""

from __future__ import annotations

from collections.abc import Sequence

from controlplane.apiserver.strategies import causes
from controlplane.apiserver.strategies.container_validation import PROTOCOLS
from controlplane.apiserver.strategies.ip_validation import validate_backend_ip, validate_cidr, validate_ip
from controlplane.apiserver.strategies.metadata import validate_labels
from controlplane.apiserver.strategies.probe_validation import validate_port
from mesh.errors import Cause
from mesh.objects import names
from mesh.objects.types import Object

TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_AFFINITIES = ("ClientIP", "None")
_POLICIES = ("Cluster", "Local")
_FAMILIES = ("IPv4", "IPv6")
_FAMILY_POLICIES = ("PreferDualStack", "RequireDualStack", "SingleStack")
_DISTRIBUTIONS = ("PreferClose", "PreferSameNode", "PreferSameZone")
_MAX_AFFINITY_SECONDS = 86400


def needs_cluster_ip(spec: Object) -> bool:
    """Whether Services of this type have a cluster IP (or "None")."""
    return spec.get("type") in {"ClusterIP", "NodePort", "LoadBalancer"}


def needs_node_port(spec: Object) -> bool:
    """Whether ports of this Service get node ports."""
    if spec.get("type") == "NodePort":
        return True
    return spec.get("type") == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts") is not False


def needs_health_check(spec: Object) -> bool:
    """Whether a load balancer has to ask which nodes have backends."""
    return spec.get("type") == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"


def externally_accessible(spec: Object) -> bool:
    """Whether traffic can come from outside the cluster."""
    if spec.get("type") in {"LoadBalancer", "NodePort"}:
        return True
    return spec.get("type") == "ClusterIP" and bool(spec.get("externalIPs"))


def is_headless(spec: Object) -> bool:
    """Whether the Service has no address of its own."""
    return spec.get("clusterIP") == "None" or (spec.get("clusterIPs") or [""])[0] == "None"


def validate_service(service: Object) -> list[Cause]:
    """A Service's spec."""
    spec = service["spec"]
    kind, ports = spec.get("type", ""), spec.get("ports") or []
    found: list[Cause] = []
    if not ports and not is_headless(spec) and kind != "ExternalName":
        found.append(causes.required("spec.ports"))
    if kind in {"LoadBalancer", "NodePort"} and is_headless(spec):
        sentence = f"may not be set to 'None' for {kind} services"
        found.append(causes.invalid("spec.clusterIPs[0]", "None", sentence))
    if kind == "ExternalName":
        found += _validate_external_name(spec)
    seen: set[str] = set()
    for position, port in enumerate(ports):
        found += _validate_port(port, seen, causes.index("spec.ports", position), named=len(ports) > 1)
    found += validate_labels(spec.get("selector"), "spec.selector")
    found += _validate_affinity(spec)
    found += _validate_cluster_ips(spec)
    for position, address in enumerate(spec.get("externalIPs") or ()):
        found += validate_backend_ip(address, causes.index("spec.externalIPs", position))
    if kind not in TYPES:
        found.append(causes.unsupported("spec.type", kind, TYPES))
    found += _validate_port_clashes(kind, ports)
    found += _validate_load_balancer(spec)
    return found + _validate_policies(spec)


def _validate_external_name(spec: Object) -> list[Cause]:
    found = [
        causes.forbidden(f"spec.{field}", "may not be set for ExternalName services")
        for field in ("clusterIPs", "ipFamilies", "ipFamilyPolicy")
        if spec.get(field)
    ]
    name = spec.get("externalName", "").removesuffix(".")
    if not name:
        return [*found, causes.required("spec.externalName")]
    return found + causes.each("spec.externalName", name, names.dns1123_subdomain(name))


def _validate_port(port: Object, seen: set[str], path: str, *, named: bool) -> list[Cause]:
    found: list[Cause] = []
    name, number, protocol = port.get("name", ""), port.get("port", 0), port.get("protocol", "")
    if named and not name:
        found.append(causes.required(f"{path}.name"))
    elif name:
        found += causes.each(f"{path}.name", name, names.dns1123_label(name))
        if name in seen:
            found.append(causes.duplicate(f"{path}.name", name))
        seen.add(name)
    found += causes.each(f"{path}.port", number, names.port_number(number))
    if not protocol:
        found.append(causes.required(f"{path}.protocol"))
    elif protocol not in PROTOCOLS:
        found.append(causes.unsupported(f"{path}.protocol", protocol, PROTOCOLS))
    found += validate_port(port.get("targetPort", 0), f"{path}.targetPort")
    if (application := port.get("appProtocol")) is not None:
        found += causes.each(f"{path}.appProtocol", application, names.qualified_name(application))
    return found


def _validate_affinity(spec: Object) -> list[Cause]:
    affinity, config = spec.get("sessionAffinity", ""), spec.get("sessionAffinityConfig")
    if not affinity:
        return [causes.required("spec.sessionAffinity")]
    if affinity not in _AFFINITIES:
        return [causes.unsupported("spec.sessionAffinity", affinity, _AFFINITIES)]
    path = "spec.sessionAffinityConfig"
    if affinity == "None":
        return [] if config is None else [causes.forbidden(path, "must not be set when session affinity is None")]
    timeout = ((config or {}).get("clientIP") or {}).get("timeoutSeconds")
    path += ".clientIP.timeoutSeconds"
    if timeout is None:
        return [causes.required(path, "when session affinity type is ClientIP")]
    if not 0 < timeout <= _MAX_AFFINITY_SECONDS:
        return [causes.invalid(path, timeout, f"must be greater than 0 and less than {_MAX_AFFINITY_SECONDS}")]
    return []


def _validate_cluster_ips(spec: Object) -> list[Cause]:
    if spec.get("type") == "ExternalName":
        return []
    found: list[Cause] = []
    address, addresses, families = spec.get("clusterIP", ""), spec.get("clusterIPs") or [], spec.get("ipFamilies") or []
    if not address and addresses:
        found.append(causes.invalid("spec.clusterIPs", addresses, "must be empty when `clusterIP` is not specified"))
    elif address and addresses and addresses[0] != address:
        found.append(causes.invalid("spec.clusterIPs", addresses, "first value must match `clusterIP`"))
    for position, family in enumerate(families):
        at = causes.index("spec.ipFamilies", position)
        if family not in _FAMILIES:
            found.append(causes.unsupported(at, family, _FAMILIES))
        if family in families[:position]:
            found.append(causes.duplicate(at, family))
    policy = spec.get("ipFamilyPolicy")
    if policy is not None and policy not in _FAMILY_POLICIES:
        found.append(causes.unsupported("spec.ipFamilyPolicy", policy, _FAMILY_POLICIES))
    wrong = _validate_addresses(addresses)
    return found + (wrong or _validate_families(addresses, families))


def _validate_addresses(addresses: Sequence[str]) -> list[Cause]:
    """At most two addresses, or nothing but "None"."""
    found: list[Cause] = []
    for position, given in enumerate(addresses):
        if position == 0 and given == "None":
            if len(addresses) > 1:
                sentence = "'None' must be the first and only value"
                found.append(causes.invalid("spec.clusterIPs", list(addresses), sentence))
        else:
            found += validate_ip(given, causes.index("spec.clusterIPs", position))
    if len(addresses) > 2:
        found.append(causes.invalid("spec.clusterIPs", list(addresses), "may only hold up to 2 values"))
    return found


def _validate_families(addresses: Sequence[str], families: Sequence[str]) -> list[Cause]:
    """Each address is of the family in its place, and no two are of the same; all are known to be addresses."""
    if list(addresses) == ["None"]:
        return []
    found: list[Cause] = []
    own = ["IPv6" if ":" in address else "IPv4" for address in addresses]
    if len(set(own)) < len(own):
        sentence = "may specify no more than one IP for each IP family"
        found.append(causes.invalid("spec.clusterIPs", list(addresses), sentence))
    return found + [
        causes.invalid(
            causes.index("spec.clusterIPs", position),
            address,
            f"expected an {wanted} value as indicated by `ipFamilies[{position}]`",
        )
        for position, (address, family, wanted) in enumerate(zip(addresses, own, families, strict=False))
        if family != wanted and wanted in _FAMILIES
    ]


def _validate_port_clashes(kind: str, ports: Sequence[Object]) -> list[Cause]:
    """Node ports only where they are served; no (protocol, port) and no (protocol, node port) twice."""
    found: list[Cause] = []
    node_ports: set[tuple[str, int]] = set()
    service_ports: set[tuple[str, int]] = set()
    for position, port in enumerate(ports):
        at = causes.index("spec.ports", position)
        protocol, node_port = port.get("protocol", ""), port.get("nodePort", 0)
        if node_port:
            if kind == "ClusterIP":
                found.append(causes.forbidden(f"{at}.nodePort", "may not be used when `type` is 'ClusterIP'"))
            if (protocol, node_port) in node_ports:
                found.append(causes.duplicate(f"{at}.nodePort", node_port))
            node_ports.add((protocol, node_port))
        pair = (protocol, port.get("port", 0))
        if pair in service_ports:
            found.append(causes.duplicate(at, {"protocol": pair[0], "port": pair[1]}))
        service_ports.add(pair)
    return found


def _validate_load_balancer(spec: Object) -> list[Cause]:
    sentence = "may only be used when `type` is 'LoadBalancer'"
    ranges, is_balancer = spec.get("loadBalancerSourceRanges") or (), spec.get("type") == "LoadBalancer"
    found: list[Cause] = []
    if ranges and not is_balancer:
        found.append(causes.forbidden("spec.LoadBalancerSourceRanges", sentence))
    for position, network in enumerate(ranges):
        found += validate_cidr(network.strip(), causes.index("spec.LoadBalancerSourceRanges", position))
    if "allocateLoadBalancerNodePorts" in spec and not is_balancer:
        found.append(causes.forbidden("spec.allocateLoadBalancerNodePorts", sentence))
    if (name := spec.get("loadBalancerClass")) is not None:
        if not is_balancer:
            found.append(causes.forbidden("spec.loadBalancerClass", sentence))
        else:
            found += causes.each("spec.loadBalancerClass", name, names.qualified_name(name))
    return found


def _validate_policies(spec: Object) -> list[Cause]:
    found: list[Cause] = []
    external, internal = spec.get("externalTrafficPolicy", ""), spec.get("internalTrafficPolicy")
    if not externally_accessible(spec):
        if external:
            sentence = "may only be set for externally-accessible services"
            found.append(causes.invalid("spec.externalTrafficPolicy", external, sentence))
    elif external not in _POLICIES:
        found.append(causes.unsupported("spec.externalTrafficPolicy", external, _POLICIES))
    if port := spec.get("healthCheckNodePort"):
        at = "spec.healthCheckNodePort"
        if needs_health_check(spec):
            found += causes.each(at, port, names.port_number(port))
        else:
            sentence = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
            found.append(causes.invalid(at, port, sentence))
    if internal is None:
        if needs_cluster_ip(spec):
            found.append(causes.required("spec.internalTrafficPolicy"))
    elif internal not in _POLICIES:
        found.append(causes.unsupported("spec.internalTrafficPolicy", internal, _POLICIES))
    distribution = spec.get("trafficDistribution")
    if distribution is not None and distribution not in _DISTRIBUTIONS:
        found.append(causes.unsupported("spec.trafficDistribution", distribution, _DISTRIBUTIONS))
    return found


def validate_service_update(new: Object, old: Object) -> list[Cause]:
    """A change of a Service: its primary address and family stay, unless it comes from or becomes an ExternalName."""
    spec, before = new["spec"], old["spec"]
    found: list[Cause] = []
    if needs_cluster_ip(spec) and needs_cluster_ip(before):
        found += _validate_primary(spec, before, "clusterIPs", "primary clusterIP can not be unset")
        found += _validate_primary(spec, before, "ipFamilies", "primary ipFamily can not be unset")
    if (
        needs_health_check(before)
        and needs_health_check(spec)
        and spec.get("healthCheckNodePort") != before.get("healthCheckNodePort")
    ):
        found.append(causes.forbidden("spec.healthCheckNodePort", "field is immutable"))
    balancers = spec.get("type") == before.get("type") == "LoadBalancer"
    if balancers and spec.get("loadBalancerClass") != before.get("loadBalancerClass"):
        value = spec.get("loadBalancerClass")
        found.append(causes.invalid("spec.loadBalancerClass", value, "may not change once set"))
    return found + validate_service(new)


def _validate_primary(spec: Object, before: Object, field: str, unset: str) -> list[Cause]:
    old, new = before.get(field) or [], spec.get(field) or []
    at = f"spec.{field}[0]"
    if old and not new:
        return [causes.invalid(at, new, unset)]
    if old and old[0] != new[0]:
        return [causes.invalid(at, new, "may not change once set")]
    return []


def validate_service_status(new: Object, _old: Object) -> list[Cause]:
    """A write of the status: ingress points are addresses or names."""
    found: list[Cause] = []
    status = (new.get("status") or {}).get("loadBalancer") or {}
    ingresses = status.get("ingress") or ()
    if ingresses and new["spec"].get("type") != "LoadBalancer":
        sentence = "may only be used when `spec.type` is 'LoadBalancer'"
        found.append(causes.forbidden("status.loadBalancer.ingress", sentence))
    for position, ingress in enumerate(ingresses):
        at = causes.index("status.loadBalancer.ingress", position)
        if address := ingress.get("ip"):
            found += validate_ip(address, f"{at}.ip")
        if hostname := ingress.get("hostname"):
            found += causes.each(f"{at}.hostname", hostname, names.dns1123_subdomain(hostname))
    return found

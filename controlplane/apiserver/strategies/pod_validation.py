"""Validation of pod specs and pod templates, and of what an update of a pod may change.

Source: ValidatePodSpec, ValidatePodUpdate and ValidatePodStatusUpdate in pkg/apis/core/validation of Kubernetes 1.36.
"""

from __future__ import annotations

from controlplane.apiserver.strategies import causes
from controlplane.apiserver.strategies.container_validation import (
    PodContext,
    validate_containers,
    validate_ephemeral_containers,
    validate_init_containers,
)
from controlplane.apiserver.strategies.ip_validation import validate_ip
from controlplane.apiserver.strategies.metadata import validate_annotations, validate_labels
from controlplane.apiserver.strategies.resource_validation import validate_requirements
from controlplane.apiserver.strategies.scheduling_validation import (
    validate_affinity,
    validate_spread,
    validate_tolerations,
)
from controlplane.apiserver.strategies.security_validation import validate_pod_security
from controlplane.apiserver.strategies.volume_validation import validate_volumes
from mesh.errors import Cause
from mesh.objects import names
from mesh.objects.types import Object

_RESTART_POLICIES = ("Always", "OnFailure", "Never")
_DNS_POLICIES = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
_PREEMPTION_POLICIES = ("PreemptLowerPriority", "Never")
_MAX_INT32 = 2**31 - 1


def validate_pod_spec(spec: Object, path: str, *, is_pod: bool) -> list[Cause]:
    """A pod's spec, or a template's; some rules hold for pods alone."""
    found: list[Cause] = []
    grace = spec.get("terminationGracePeriodSeconds")
    if grace is None:
        found.append(causes.required(f"{path}.terminationGracePeriodSeconds"))
    volumes = spec.get("volumes") or []
    found += validate_volumes(volumes, f"{path}.volumes")
    pod = PodContext(
        volumes={volume.get("name", ""): volume for volume in volumes},
        restart_policy=spec.get("restartPolicy", ""),
        grace_period=grace,
        claims=frozenset(claim.get("name", "") for claim in spec.get("resourceClaims") or ()),
    )
    regular, init = spec.get("containers") or [], spec.get("initContainers") or []
    found += validate_containers(regular, pod, f"{path}.containers")
    found += validate_init_containers(init, regular, pod, f"{path}.initContainers")
    ephemeral = spec.get("ephemeralContainers") or []
    found += validate_ephemeral_containers(ephemeral, [*regular, *init], pod, f"{path}.ephemeralContainers")
    found += validate_requirements(spec.get("resources") or {}, f"{path}.resources")
    found += _validate_host_network(spec, path, is_pod=is_pod)
    found += _validate_policies(spec, path)
    found += validate_labels(spec.get("nodeSelector"), f"{path}.nodeSelector")
    found += validate_pod_security(spec, f"{path}.securityContext")
    if spec.get("shareProcessNamespace") and spec.get("hostPID"):
        sentence = "ShareProcessNamespace and HostPID cannot both be enabled"
        found.append(causes.invalid(f"{path}.shareProcessNamespace", True, sentence))
    found += validate_affinity(spec.get("affinity"), f"{path}.affinity")
    found += _validate_dns_config(spec, f"{path}.dnsConfig")
    found += _validate_gates(spec, path)
    found += validate_spread(spec.get("topologySpreadConstraints") or (), f"{path}.topologySpreadConstraints")
    found += _validate_names(spec, path)
    deadline = spec.get("activeDeadlineSeconds")
    if deadline is not None and not 1 <= deadline <= _MAX_INT32:
        found.append(causes.invalid(f"{path}.activeDeadlineSeconds", deadline, names.between(1, _MAX_INT32)))
    found += validate_tolerations(spec.get("tolerations") or (), f"{path}.tolerations")
    return found + _validate_host_aliases(spec, f"{path}.hostAliases")


def _validate_host_network(spec: Object, path: str, *, is_pod: bool) -> list[Cause]:
    if not spec.get("hostNetwork"):
        return []
    found: list[Cause] = []
    for position, container in enumerate(spec.get("containers") or ()):
        for number, port in enumerate(container.get("ports") or ()):
            host, own = port.get("hostPort", 0), port.get("containerPort", 0)
            if (is_pod or host) and host != own:
                at = f"{path}.containers[{position}].ports[{number}].hostPort"
                found.append(causes.invalid(at, host, "must match `containerPort` when `hostNetwork` is true"))
    return found


def _validate_policies(spec: Object, path: str) -> list[Cause]:
    found: list[Cause] = []
    for field, known in (("restartPolicy", _RESTART_POLICIES), ("dnsPolicy", _DNS_POLICIES)):
        value = spec.get(field, "")
        if not value:
            found.append(causes.required(f"{path}.{field}"))
        elif value not in known:
            found.append(causes.unsupported(f"{path}.{field}", value, known))
    preemption = spec.get("preemptionPolicy")
    if preemption is not None and preemption not in _PREEMPTION_POLICIES:
        found.append(causes.unsupported(f"{path}.preemptionPolicy", preemption, _PREEMPTION_POLICIES))
    return found


def _validate_dns_config(spec: Object, path: str) -> list[Cause]:
    config = spec.get("dnsConfig")
    if spec.get("dnsPolicy") == "None":
        if config is None:
            return [causes.required(path, "must provide `dnsConfig` when `dnsPolicy` is None")]
        if not config.get("nameservers"):
            sentence = "must provide at least one DNS nameserver when `dnsPolicy` is None"
            return [causes.required(f"{path}.nameservers", sentence)]
    config = config or {}
    found: list[Cause] = []
    servers, searches = config.get("nameservers") or [], config.get("searches") or []
    if len(servers) > 3:
        found.append(causes.invalid(f"{path}.nameservers", servers, "must not have more than 3 nameservers"))
    for position, server in enumerate(servers):
        found += validate_ip(server, causes.index(f"{path}.nameservers", position))
    if len(searches) > 32:
        found.append(causes.invalid(f"{path}.searches", searches, "must not have more than 32 search paths"))
    if len(" ".join(searches)) > 2048:
        sentence = "must not have more than 2048 characters (including spaces) in the search list"
        found.append(causes.invalid(f"{path}.searches", searches, sentence))
    for position, search in enumerate(searches):
        if search != ".":
            # Underscores are allowed in search paths, unlike elsewhere (RelaxedDNSSearchValidation).
            plain = search.removesuffix(".").replace("_", "a")
            found += causes.each(causes.index(f"{path}.searches", position), search, names.dns1123_subdomain(plain))
    for position, option in enumerate(config.get("options") or ()):
        if not option.get("name"):
            found.append(causes.required(causes.index(f"{path}.options", position), "must not be empty"))
    return found


def _validate_gates(spec: Object, path: str) -> list[Cause]:
    found: list[Cause] = []
    for position, gate in enumerate(spec.get("readinessGates") or ()):
        kind = gate.get("conditionType", "")
        at = f"{causes.index(f'{path}.readinessGates', position)}.conditionType"
        found += causes.each(at, kind, names.qualified_name(kind))
    seen: set[str] = set()
    for position, gate in enumerate(spec.get("schedulingGates") or ()):
        name, at = gate.get("name", ""), causes.index(f"{path}.schedulingGates", position)
        found += causes.each(at, name, names.qualified_name(name))
        if name in seen:
            found.append(causes.duplicate(at, name))
        seen.add(name)
    return found


def _validate_names(spec: Object, path: str) -> list[Cause]:
    found: list[Cause] = []
    for field, check in (
        ("serviceAccountName", names.dns1123_subdomain),
        ("nodeName", names.dns1123_subdomain),
        ("hostname", names.dns1123_label),
        ("subdomain", names.dns1123_label),
        ("priorityClassName", names.dns1123_subdomain),
        ("runtimeClassName", names.dns1123_subdomain),
    ):
        if value := spec.get(field):
            found += causes.each(f"{path}.{field}", value, check(value))
    return found


def _validate_host_aliases(spec: Object, path: str) -> list[Cause]:
    found: list[Cause] = []
    for position, alias in enumerate(spec.get("hostAliases") or ()):
        at = causes.index(path, position)
        found += validate_ip(alias.get("ip", ""), f"{at}.ip")
        for number, hostname in enumerate(alias.get("hostnames") or ()):
            found += causes.each(f"{at}.hostnames[{number}]", hostname, names.dns1123_subdomain(hostname))
    return found


def validate_template(template: Object, path: str) -> list[Cause]:
    """A pod template: its labels, annotations and spec."""
    meta, spec = template.get("metadata") or {}, template.get("spec") or {}
    found = validate_labels(meta.get("labels"), f"{path}.labels")
    found += validate_annotations(meta.get("annotations"), f"{path}.annotations")
    found += validate_pod_spec(spec, f"{path}.spec", is_pod=False)
    if spec.get("ephemeralContainers"):
        sentence = "ephemeral containers not allowed in pod template"
        found.append(causes.forbidden(f"{path}.spec.ephemeralContainers", sentence))
    return found


def validate_pod(pod: Object) -> list[Cause]:
    """What holds for a pod at any time, metadata excepted."""
    spec = pod["spec"]
    found = validate_pod_spec(spec, "spec", is_pod=True)
    for field in ("containers", "initContainers"):
        for position, container in enumerate(spec.get(field) or ()):
            image = container.get("image", "")
            if image != image.strip():
                sentence = "must not have leading or trailing whitespace"
                found.append(causes.invalid(f"spec.{field}[{position}].image", image, sentence))
    return found

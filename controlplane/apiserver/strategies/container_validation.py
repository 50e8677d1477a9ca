"""Validation of containers: names, images, ports, environment, and what goes into the lists of them.

Source: pkg/apis/core/validation/validation.go of Kubernetes 1.36 (validateContainers and what it calls).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from controlplane.apiserver.strategies import causes
from controlplane.apiserver.strategies.env_validation import validate_env, validate_env_from
from controlplane.apiserver.strategies.mount_validation import validate_devices, validate_mounts
from controlplane.apiserver.strategies.probe_validation import validate_lifecycle, validate_probe
from controlplane.apiserver.strategies.resource_validation import validate_requirements
from controlplane.apiserver.strategies.security_validation import validate_container_security
from mesh.errors import Cause
from mesh.objects import names
from mesh.objects.types import Object

PULL_POLICIES = ("Always", "IfNotPresent", "Never")
_RESTARTS = ("Always", "Never", "OnFailure")
_CODE_OPERATORS = ("In", "NotIn")
_MOST_RULES = 20
_MOST_CODES = 255
PROTOCOLS = ("SCTP", "TCP", "UDP")
_MESSAGE_POLICIES = ("File", "FallbackToLogsOnError")
_EPHEMERAL_FORBIDDEN = (
    "ports", "livenessProbe", "readinessProbe", "startupProbe", "lifecycle", "resizePolicy", "restartPolicy",
    "restartPolicyRules",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class PodContext:
    """What a container's validation needs to know about its pod."""

    volumes: Mapping[str, Object]
    """Volume name -> volume."""
    restart_policy: str
    grace_period: int | None
    claims: frozenset[str] = frozenset()


def validate_containers(containers: Sequence[Object], pod: PodContext, path: str) -> list[Cause]:
    """The regular containers: at least one, names unique, no host port twice."""
    if not containers:
        return [causes.required(path)]
    found: list[Cause] = []
    seen: set[str] = set()
    for position, container in enumerate(containers):
        at = causes.index(path, position)
        found += _validate_common(container, pod, at)
        name = container.get("name", "")
        if name in seen:
            found.append(causes.duplicate(f"{at}.name", name))
        seen.add(name)
        found += _validate_lifecycle_and_probes(container, pod, at)
        found += _validate_restarts(container, at)
    return found + _validate_host_ports(containers, path)


def _validate_restarts(container: Object, path: str) -> list[Cause]:
    """A container's own restart policy (Kubernetes 1.35) may be any of a pod's; rules for exit codes go before it."""
    policy, rules = container.get("restartPolicy"), container.get("restartPolicyRules") or ()
    found: list[Cause] = []
    if policy is None and rules:
        sentence = "must specify restartPolicy when restart rules are used"
        found.append(causes.required(f"{path}.restartPolicy", sentence))
    elif policy is not None and policy not in _RESTARTS:
        found.append(causes.unsupported(f"{path}.restartPolicy", policy, _RESTARTS))
    if len(rules) > _MOST_RULES:
        found.append(causes.too_many(f"{path}.restartPolicyRules", len(rules), _MOST_RULES))
    for position, rule in enumerate(rules):
        at = causes.index(f"{path}.restartPolicyRules", position)
        if rule.get("action") != "Restart":
            found.append(causes.unsupported(f"{at}.action", rule.get("action", ""), ("Restart",)))
        codes = rule.get("exitCodes")
        if codes is None:
            found.append(causes.required(f"{at}.exitCodes", "must be specified"))
            continue
        if codes.get("operator") not in _CODE_OPERATORS:
            found.append(causes.unsupported(f"{at}.exitCodes.operator", codes.get("operator", ""), _CODE_OPERATORS))
        if len(codes.get("values") or ()) > _MOST_CODES:
            found.append(causes.too_many(f"{at}.exitCodes.values", len(codes["values"]), _MOST_CODES))
    return found


def validate_init_containers(
    containers: Sequence[Object], regular: Sequence[Object], pod: PodContext, path: str
) -> list[Cause]:
    """Init containers; those with restartPolicy Always (sidecars) may have probes and a lifecycle, others not."""
    found: list[Cause] = []
    seen = {container.get("name", "") for container in regular}
    for position, container in enumerate(containers):
        at = causes.index(path, position)
        found += _validate_common(container, pod, at)
        policy = container.get("restartPolicy")
        found += _validate_restarts(container, at)
        name = container.get("name", "")
        if name and name in seen:
            found.append(causes.duplicate(f"{at}.name", name))
        seen.add(name)
        found += _validate_host_ports([container], path)
        if policy == "Always":
            found += _validate_lifecycle_and_probes(container, pod, at)
            continue
        found += [
            causes.forbidden(f"{at}.{field}", "may not be set for init containers without restartPolicy=Always")
            for field in ("lifecycle", "livenessProbe", "readinessProbe", "startupProbe")
            if field in container
        ]
        if policies := container.get("resizePolicy"):
            found.append(causes.invalid(f"{at}.resizePolicy", policies, "must not be set for init containers"))
    return found


def validate_ephemeral_containers(
    containers: Sequence[Object], others: Sequence[Object], pod: PodContext, path: str
) -> list[Cause]:
    """Ephemeral containers: names unique among all, and nothing that a service would rely on."""
    found: list[Cause] = []
    targets = {container.get("name", "") for container in others}
    seen = set(targets)
    for position, container in enumerate(containers):
        at = causes.index(path, position)
        found += _validate_common(container, pod, at)
        name = container.get("name", "")
        if name in seen:
            found.append(causes.duplicate(f"{at}.name", name))
        seen.add(name)
        target = container.get("targetContainerName", "")
        if target and target not in targets:
            found.append(causes.not_found(f"{at}.targetContainerName", target))
        sentence = "cannot be set for an Ephemeral Container"
        found += [causes.forbidden(f"{at}.{field}", sentence) for field in _EPHEMERAL_FORBIDDEN if container.get(field)]
        if any((container.get("resources") or {}).values()):
            found.append(causes.forbidden(f"{at}.resources", sentence))
        for number, mount in enumerate(container.get("volumeMounts") or ()):
            found += [
                causes.forbidden(f"{at}.volumeMounts[{number}].{field}", sentence)
                for field in ("subPath", "subPathExpr")
                if mount.get(field)
            ]
    return found


def _validate_common(container: Object, pod: PodContext, path: str) -> list[Cause]:
    found: list[Cause] = []
    name = container.get("name", "")
    if not name:
        found.append(causes.required(f"{path}.name"))
    else:
        found += causes.each(f"{path}.name", name, names.dns1123_label(name))
    if not container.get("image"):
        found.append(causes.required(f"{path}.image"))
    policy = container.get("terminationMessagePolicy", "")
    if not policy:
        found.append(causes.required(f"{path}.terminationMessagePolicy"))
    elif policy not in _MESSAGE_POLICIES:
        found.append(causes.unsupported(f"{path}.terminationMessagePolicy", policy, _MESSAGE_POLICIES))
    found += _validate_ports(container.get("ports") or (), f"{path}.ports")
    found += validate_env(container.get("env") or (), f"{path}.env")
    found += validate_env_from(container.get("envFrom") or (), f"{path}.envFrom")
    found += validate_mounts(container, pod.volumes, f"{path}.volumeMounts")
    found += validate_devices(container, pod.volumes, f"{path}.volumeDevices")
    policy = container.get("imagePullPolicy", "")
    if not policy:
        found.append(causes.required(f"{path}.imagePullPolicy"))
    elif policy not in PULL_POLICIES:
        found.append(causes.unsupported(f"{path}.imagePullPolicy", policy, PULL_POLICIES))
    found += validate_requirements(container.get("resources") or {}, f"{path}.resources", pod.claims)
    found += _validate_resize_policy(container.get("resizePolicy") or (), pod, f"{path}.resizePolicy")
    return found + validate_container_security(container.get("securityContext"), f"{path}.securityContext")


def _validate_lifecycle_and_probes(container: Object, pod: PodContext, path: str) -> list[Cause]:
    found = validate_lifecycle(container.get("lifecycle") or {}, pod.grace_period, f"{path}.lifecycle")
    for kind in ("livenessProbe", "readinessProbe", "startupProbe"):
        if kind in container:
            found += validate_probe(container[kind], kind, f"{path}.{kind}")
    return found


def _validate_ports(ports: Sequence[Object], path: str) -> list[Cause]:
    found: list[Cause] = []
    seen: set[str] = set()
    for position, port in enumerate(ports):
        at = causes.index(path, position)
        if name := port.get("name"):
            if sentences := names.port_name(name):
                found += causes.each(f"{at}.name", name, sentences)
            elif name in seen:
                found.append(causes.duplicate(f"{at}.name", name))
            seen.add(name)
        number = port.get("containerPort", 0)
        if not number:
            found.append(causes.required(f"{at}.containerPort"))
        else:
            found += causes.each(f"{at}.containerPort", number, names.port_number(number))
        if host_port := port.get("hostPort"):
            found += causes.each(f"{at}.hostPort", host_port, names.port_number(host_port))
        protocol = port.get("protocol", "")
        if not protocol:
            found.append(causes.required(f"{at}.protocol"))
        elif protocol not in PROTOCOLS:
            found.append(causes.unsupported(f"{at}.protocol", protocol, PROTOCOLS))
    return found


def _validate_host_ports(containers: Sequence[Object], path: str) -> list[Cause]:
    """No (protocol, address, port) of the host may be claimed twice."""
    found: list[Cause] = []
    seen: set[str] = set()
    for position, container in enumerate(containers):
        for number, port in enumerate(container.get("ports") or ()):
            if not port.get("hostPort"):
                continue
            claim = f"{port.get('protocol', '')}/{port.get('hostIP', '')}/{port['hostPort']}"
            if claim in seen:
                found.append(causes.duplicate(f"{path}[{position}].ports[{number}].hostPort", claim))
            seen.add(claim)
    return found


def _validate_resize_policy(policies: Sequence[Object], pod: PodContext, path: str) -> list[Cause]:
    found: list[Cause] = []
    seen: set[str] = set()
    for position, policy in enumerate(policies):
        resource, restart = policy.get("resourceName", ""), policy.get("restartPolicy", "")
        if resource in seen:
            found.append(causes.duplicate(causes.index(path, position), resource))
        seen.add(resource)
        for value, known in ((resource, ("cpu", "memory")), (restart, ("NotRequired", "RestartContainer"))):
            if not value:
                found.append(causes.required(path))
            elif value not in known:
                found.append(causes.unsupported(path, value, known))
        if pod.restart_policy == "Never" and restart != "NotRequired":
            found.append(causes.invalid(path, restart, "must be 'NotRequired' when `restartPolicy` is 'Never'"))
    return found

"""Validation of security contexts, of pods and of containers.

Source: validatePodSpecSecurityContext and ValidateSecurityContext in pkg/apis/core/validation of Kubernetes 1.36.
"""

from __future__ import annotations

import re

from controlplane.apiserver.strategies import causes
from controlplane.apiserver.strategies.descending_path import validate_descending_path
from mesh.errors import Cause
from mesh.objects import names
from mesh.objects.types import Object

LINUX_OPTIONS = frozenset(
    {
        "allowPrivilegeEscalation", "appArmorProfile", "capabilities", "fsGroup", "fsGroupChangePolicy", "privileged",
        "procMount", "readOnlyRootFilesystem", "runAsGroup", "runAsUser", "seLinuxOptions", "seccompProfile",
        "supplementalGroups", "supplementalGroupsPolicy", "sysctls",
    }
)  # fmt: skip
"""What means nothing to Windows, in the security context of a pod or of a container."""

_MAX_ID = 2**32 - 1
_PROFILE_TYPES = ("Localhost", "RuntimeDefault", "Unconfined")
_SYSCTL_SEGMENT = "[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
_SYSCTL_NAME = rf"^({_SYSCTL_SEGMENT}[\./])*{_SYSCTL_SEGMENT}$"
_SYSCTL_LENGTH = 253
_MAX_PROFILE_BYTES = 4095
_CHOICES = (
    ("supplementalGroupsPolicy", ("Merge", "Strict")),
    ("seLinuxChangePolicy", ("MountOption", "Recursive")),
)


def _validate_ids(context: Object, fields: tuple[str, ...], path: str) -> list[Cause]:
    found: list[Cause] = []
    for field in fields:
        value = context.get(field)
        if value is not None and not 0 <= value <= _MAX_ID:
            found.append(causes.invalid(f"{path}.{field}", value, names.between(0, _MAX_ID)))
    return found


def _validate_seccomp(profile: Object | None, path: str) -> list[Cause]:
    if profile is None:
        return []
    kind, local = profile.get("type", ""), profile.get("localhostProfile")
    if not kind:
        return [causes.required(f"{path}.type", "type is required when seccompProfile is set")]
    if kind not in _PROFILE_TYPES:
        return [causes.unsupported(f"{path}.type", kind, _PROFILE_TYPES)]
    if kind != "Localhost":
        if local is None:
            return []
        return [causes.invalid(f"{path}.localhostProfile", local, "can only be set when seccomp type is Localhost")]
    if local is None:
        return [causes.required(f"{path}.localhostProfile", "must be set when seccomp type is Localhost")]
    return validate_descending_path(local, f"{path}.localhostProfile")


def _validate_app_armor(profile: Object | None, path: str) -> list[Cause]:
    if profile is None:
        return []
    kind, local = profile.get("type", ""), profile.get("localhostProfile")
    at = f"{path}.localhostProfile"
    if not kind:
        return [causes.required(f"{path}.type", "type is required when appArmorProfile is set")]
    if kind not in _PROFILE_TYPES:
        return [causes.unsupported(f"{path}.type", kind, _PROFILE_TYPES)]
    if kind != "Localhost":
        return [] if local is None else [causes.invalid(at, local, "can only be set when AppArmor type is Localhost")]
    if not local:
        return [causes.required(at, "must be set when AppArmor type is Localhost")]
    found = [] if local == local.strip() else [causes.invalid(at, local, "must not be padded with whitespace")]
    if len(local.encode()) > _MAX_PROFILE_BYTES:
        found.append(causes.too_long(at, _MAX_PROFILE_BYTES))
    return found


def _validate_sysctls(spec: Object, context: Object, path: str) -> list[Cause]:
    """Names in order, each once, and none of a namespace that the pod shares with its node."""
    found: list[Cause] = []
    seen: set[str] = set()
    for position, sysctl in enumerate(context.get("sysctls") or ()):
        at, name = f"{causes.index(path, position)}.name", sysctl.get("name", "")
        if not name:
            found.append(causes.required(at))
        elif len(name) > _SYSCTL_LENGTH or not re.fullmatch(_SYSCTL_NAME, name):
            sentence = f"must have at most {_SYSCTL_LENGTH} characters and match regex {_SYSCTL_NAME}"
            found.append(causes.invalid(at, name, sentence))
        elif name in seen:
            found.append(causes.duplicate(at, name))
        seen.add(name)
        dotted = name.replace("/", ".")
        if spec.get("hostNetwork") and dotted.startswith("net."):
            found.append(causes.invalid(at, name, "may not be specified when 'hostNetwork' is true"))
        if spec.get("hostIPC") and dotted.startswith(("kernel.shm", "kernel.msg", "kernel.sem", "fs.mqueue.")):
            found.append(causes.invalid(at, name, "may not be specified when 'hostIPC' is true"))
    return found


def validate_pod_security(spec: Object, path: str) -> list[Cause]:
    """The security context of a pod, at `path`, and what of the pod's spec bears on it."""
    context = spec.get("securityContext") or {}
    found = _validate_ids(context, ("fsGroup", "runAsUser", "runAsGroup"), path)
    for position, group in enumerate(context.get("supplementalGroups") or ()):
        if not 0 <= group <= _MAX_ID:
            at = causes.index(f"{path}.supplementalGroups", position)
            found.append(causes.invalid(at, group, names.between(0, _MAX_ID)))
    if spec.get("shareProcessNamespace") and spec.get("hostPID"):
        # Kubernetes' internal version keeps the field in the security context, and names it so.
        sentence = "ShareProcessNamespace and HostPID cannot both be enabled"
        found.append(causes.invalid(f"{path}.shareProcessNamespace", True, sentence))
    found += _validate_sysctls(spec, context, f"{path}.sysctls")
    policy = context.get("fsGroupChangePolicy")
    if policy is not None and policy not in {"Always", "OnRootMismatch"}:
        found.append(causes.unsupported(f"{path}.fsGroupChangePolicy", policy, ("Always", "OnRootMismatch")))
    found += _validate_seccomp(context.get("seccompProfile"), f"{path}.seccompProfile")
    found += _validate_app_armor(context.get("appArmorProfile"), f"{path}.appArmorProfile")
    return found + [
        causes.unsupported(f"{path}.{field}", context[field], known)
        for field, known in _CHOICES
        if field in context and context[field] not in known
    ]


def validate_container_security(context: Object | None, path: str) -> list[Cause]:
    """The security context of a container."""
    if context is None:
        return []
    found = _validate_ids(context, ("runAsUser", "runAsGroup"), path)
    mount = context.get("procMount")
    if mount is not None and mount not in {"Default", "Unmasked"}:
        found.append(causes.unsupported(f"{path}.procMount", mount, ("Default", "Unmasked")))
    found += _validate_seccomp(context.get("seccompProfile"), f"{path}.seccompProfile")
    if context.get("allowPrivilegeEscalation") is False:
        if context.get("privileged"):
            sentence = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"
            found.append(causes.invalid(path, context, sentence))
        if "CAP_SYS_ADMIN" in ((context.get("capabilities") or {}).get("add") or ()):
            sentence = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN"
            found.append(causes.invalid(path, context, sentence))
    return found + _validate_app_armor(context.get("appArmorProfile"), f"{path}.appArmorProfile")

"""Validation of security contexts, of pods and of containers."""

from __future__ import annotations

import re
from collections.abc import Sequence

from controlplane.apiserver.strategies import causes
from mesh.errors import Cause
from mesh.objects import names
from mesh.objects.types import Object

_MAX_ID = 2**32 - 1
_IDS = ("runAsUser", "runAsGroup", "fsGroup")
_SYSCTL = re.compile(r"^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$")
_SYSCTL_LENGTH = 253
_SYSCTLS_OF_IPC = ("kernel.shm", "kernel.msg", "kernel.sem", "fs.mqueue.")
_PROFILE_TYPES = ("Localhost", "RuntimeDefault", "Unconfined")


def _validate_ids(context: Object, path: str) -> list[Cause]:
    found: list[Cause] = []
    for field in _IDS:
        value = context.get(field)
        if value is not None and not 0 <= value <= _MAX_ID:
            found.append(causes.invalid(f"{path}.{field}", value, names.between(0, _MAX_ID)))
    return found


def _validate_profile(profile: Object | None, path: str) -> list[Cause]:
    if profile is None:
        return []
    kind, local = profile.get("type", ""), profile.get("localhostProfile")
    if not kind:
        return [causes.required(f"{path}.type", "type is required when seccompProfile is set")]
    if kind not in _PROFILE_TYPES:
        return [causes.unsupported(f"{path}.type", kind, _PROFILE_TYPES)]
    if kind == "Localhost" and local is None:
        return [causes.required(f"{path}.localhostProfile", "must be set when seccomp type is Localhost")]
    if kind != "Localhost" and local is not None:
        return [causes.invalid(f"{path}.localhostProfile", local, "can only be set when seccomp type is Localhost")]
    return []


def _validate_sysctls(sysctls: Sequence[Object], spec: Object, path: str) -> list[Cause]:
    """Names are paths below /proc/sys, separated by "." or "/"; where the namespace is the host's, they would be too."""
    found: list[Cause] = []
    seen: set[str] = set()
    for position, sysctl in enumerate(sysctls):
        at = f"{causes.index(path, position)}.name"
        name = sysctl.get("name", "")
        if not name:
            found.append(causes.required(at))
        elif len(name) > _SYSCTL_LENGTH or not _SYSCTL.match(name):
            sentence = f"must have at most {_SYSCTL_LENGTH} characters and match regex {_SYSCTL.pattern}"
            found.append(causes.invalid(at, name, sentence))
        elif name in seen:
            found.append(causes.duplicate(at, name))
        seen.add(name)
        plain = name.replace("/", ".")
        if plain.startswith("net.") and spec.get("hostNetwork"):
            found.append(causes.invalid(at, name, "may not be specified when 'hostNetwork' is true"))
        if plain.startswith(_SYSCTLS_OF_IPC) and spec.get("hostIPC"):
            found.append(causes.invalid(at, name, "may not be specified when 'hostIPC' is true"))
    return found


def validate_pod_security(spec: Object, path: str) -> list[Cause]:
    """The security context of a pod."""
    context = spec.get("securityContext")
    if context is None:
        return []
    found = _validate_ids(context, path)
    for position, group in enumerate(context.get("supplementalGroups") or ()):
        if not 0 <= group <= _MAX_ID:
            at = causes.index(f"{path}.supplementalGroups", position)
            found.append(causes.invalid(at, group, names.between(0, _MAX_ID)))
    found += _validate_sysctls(context.get("sysctls") or (), spec, f"{path}.sysctls")
    policy = context.get("fsGroupChangePolicy")
    if policy is not None and policy not in {"Always", "OnRootMismatch"}:
        found.append(causes.unsupported(f"{path}.fsGroupChangePolicy", policy, ("Always", "OnRootMismatch")))
    return found + _validate_profile(context.get("seccompProfile"), f"{path}.seccompProfile")


def validate_container_security(context: Object | None, path: str) -> list[Cause]:
    """The security context of a container."""
    if context is None:
        return []
    found = _validate_ids(context, path)
    if context.get("allowPrivilegeEscalation") is False:
        if context.get("privileged"):
            sentence = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"
            found.append(causes.invalid(path, context, sentence))
        if "CAP_SYS_ADMIN" in ((context.get("capabilities") or {}).get("add") or ()):
            sentence = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN"
            found.append(causes.invalid(path, context, sentence))
    mount = context.get("procMount")
    if mount is not None and mount not in {"Default", "Unmasked"}:
        found.append(causes.unsupported(f"{path}.procMount", mount, ("Default", "Unmasked")))
    return found + _validate_profile(context.get("seccompProfile"), f"{path}.seccompProfile")

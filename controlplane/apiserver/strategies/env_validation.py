"""Validation of a container's environment: variables, and ConfigMaps and Secrets as sources of them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from controlplane.apiserver.strategies import causes
from mesh.errors import Cause
from mesh.objects import names
from mesh.objects.types import Object

FIELD_PATHS = (
    "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName",
    "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs",
)  # fmt: skip
"""The fields of a pod that a variable can show; volumes have fewer."""
VOLUME_FIELD_PATHS = ("metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid")
RESOURCES = (
    "limits.cpu", "limits.ephemeral-storage", "limits.memory", "requests.cpu", "requests.ephemeral-storage",
    "requests.memory",
)  # fmt: skip

_SUBSCRIPT = re.compile(r"(metadata\.(?:annotations|labels))\['(.*)'\]")
_SIZES = "1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei"
_DIVISORS = {
    "cpu": ("1m, 1", "only divisor's values 1m and 1 are supported with the cpu resource"),
    "memory": (_SIZES, f"only divisor's values {_SIZES} are supported with the memory resource"),
    "ephemeral-storage": (
        _SIZES,
        f"only divisor's values {_SIZES} are supported with the local ephemeral storage resource",
    ),
}


def validate_env(variables: Sequence[Object], path: str) -> list[Cause]:
    """Each variable has a name and either a value or exactly one source."""
    found: list[Cause] = []
    for position, variable in enumerate(variables):
        at = causes.index(path, position)
        name = variable.get("name", "")
        if not name:
            found.append(causes.required(f"{at}.name"))
        else:
            found += causes.each(f"{at}.name", name, names.variable_name(name))
        if "valueFrom" in variable:
            found += _validate_source(variable["valueFrom"], variable.get("value", ""), f"{at}.valueFrom")
    return found


def _validate_source(source: Object, value: str, path: str) -> list[Cause]:
    found: list[Cause] = []
    kinds = [kind for kind in ("fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef") if kind in source]
    if "fieldRef" in source:
        found += validate_field_ref(source["fieldRef"], FIELD_PATHS, f"{path}.fieldRef")
    if "resourceFieldRef" in source:
        found += validate_resource_ref(source["resourceFieldRef"], f"{path}.resourceFieldRef")
    for kind in ("configMapKeyRef", "secretKeyRef"):
        if kind in source:
            found += _validate_key_ref(source[kind], f"{path}.{kind}")
    if not kinds:
        sentence = (
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
        )
        found.append(causes.invalid(path, "", sentence))
    elif value:
        found.append(causes.invalid(path, "", "may not be specified when `value` is not empty"))
    elif len(kinds) > 1:
        found.append(causes.invalid(path, "", "may not have more than one field specified at a time"))
    return found


def validate_field_ref(reference: Object, known: Sequence[str], path: str) -> list[Cause]:
    """A reference to a field of the pod itself (downward API)."""
    if not reference.get("apiVersion"):
        return [causes.required(f"{path}.apiVersion")]
    field = reference.get("fieldPath", "")
    if not field:
        return [causes.required(f"{path}.fieldPath")]
    if match := _SUBSCRIPT.fullmatch(field):
        key = match[2] if match[1] == "metadata.labels" else match[2].lower()
        return causes.each(path, match[2], names.qualified_name(key))
    if field.endswith("]"):
        return [
            causes.invalid(
                f"{path}.fieldPath", field, f"error converting fieldPath: field label not supported: {field}"
            )
        ]
    if field not in known:
        return [causes.unsupported(f"{path}.fieldPath", field, sorted(known))]
    return []


def validate_resource_ref(reference: Object, path: str, *, volume: bool = False) -> list[Cause]:
    """A reference to a container's limits or requests (downward API)."""
    if volume and not reference.get("containerName"):
        return [causes.required(f"{path}.containerName")]
    resource = reference.get("resource", "")
    if not resource:
        return [causes.required(f"{path}.resource")]
    if resource.partition(".")[2].startswith("hugepages-"):
        return []
    if resource not in RESOURCES:
        return [causes.unsupported(f"{path}.resource", resource, RESOURCES)]
    divisor = reference.get("divisor", "0")
    allowed, sentence = _DIVISORS[resource.partition(".")[2]]
    if divisor != "0" and divisor not in allowed.split(", "):
        return [causes.invalid(f"{path}.divisor", resource, sentence)]
    return []


def _validate_key_ref(reference: Object, path: str) -> list[Cause]:
    name, key = reference.get("name", ""), reference.get("key", "")
    found = causes.each(f"{path}.name", name, names.dns1123_subdomain(name))
    if not key:
        found.append(causes.required(f"{path}.key"))
    return found + (causes.each(f"{path}.key", key, names.config_key(key)) if key else [])


def validate_env_from(sources: Sequence[Object], path: str) -> list[Cause]:
    """Each source is one ConfigMap or one Secret, with an optional prefix."""
    found: list[Cause] = []
    for position, source in enumerate(sources):
        at = causes.index(path, position)
        if prefix := source.get("prefix"):
            found += causes.each(f"{at}.prefix", prefix, names.variable_name(prefix))
        kinds = [kind for kind in ("configMapRef", "secretRef") if kind in source]
        for kind in kinds:
            name = source[kind].get("name", "")
            if not name:
                found.append(causes.required(f"{at}.{kind}.name"))
            else:
                found += causes.each(f"{at}.{kind}.name", name, names.prefix(names.dns1123_subdomain)(name))
        if not kinds:
            found.append(causes.invalid(path, "", "must specify one of: `configMapRef` or `secretRef`"))
        elif len(kinds) > 1:
            found.append(causes.invalid(path, "", "may not have more than one field specified at a time"))
    return found

"""Validation of a pod's volumes: one source each, and that source in order.

Sources that only a storage driver would read are checked for shape alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from controlplane.apiserver.strategies import causes
from controlplane.apiserver.strategies.container_validation import PULL_POLICIES
from controlplane.apiserver.strategies.descending_path import validate_descending_path
from controlplane.apiserver.strategies.env_validation import (
    VOLUME_FIELD_PATHS,
    validate_field_ref,
    validate_resource_ref,
)
from mesh.errors import Cause
from mesh.objects import names, quantity
from mesh.objects.types import Object

_HOST_PATH_TYPES = (
    "", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket",
)  # fmt: skip
_MODE = "must be a number between 0 and 0777 (octal), both inclusive"
_PROJECTIONS = (
    "secret", "configMap", "downwardAPI", "serviceAccountToken", "clusterTrustBundle", "podCertificate",
)  # fmt: skip


def validate_volumes(volumes: Sequence[Object], path: str) -> list[Cause]:
    """All volumes of a pod; names are unique DNS labels."""
    found: list[Cause] = []
    seen: set[str] = set()
    for position, volume in enumerate(volumes):
        at = causes.index(path, position)
        name = volume.get("name", "")
        if not name:
            found.append(causes.required(f"{at}.name"))
        else:
            found += causes.each(f"{at}.name", name, names.dns1123_label(name))
        if name in seen:
            found.append(causes.duplicate(f"{at}.name", name))
        seen.add(name)
        found += _validate_sources(volume, at)
    return found


def _validate_sources(volume: Object, path: str) -> list[Cause]:
    sources = [field for field in volume if field != "name"]
    if not sources:
        return [causes.required(path, "must specify a volume type")]
    found = _validate_source(sources[0], volume[sources[0]], f"{path}.{sources[0]}")
    return found + [
        causes.forbidden(f"{path}.{extra}", "may not specify more than 1 volume type") for extra in sources[1:]
    ]


def _validate_source(kind: str, source: Object, path: str) -> list[Cause]:
    match kind:
        case "emptyDir":
            limit = source.get("sizeLimit")
            if limit is not None and quantity.parse(limit).nanos < 0:
                return [causes.forbidden(f"{path}.sizeLimit", "SizeLimit field must be a valid resource quantity")]
            return []
        case "hostPath":
            return _validate_host_path(source, path)
        case "secret":
            return _validate_files(source, "secretName", path)
        case "configMap":
            return _validate_files(source, "name", path)
        case "downwardAPI":
            return _validate_mode(source, "defaultMode", path) + _validate_downward_items(source, path)
        case "projected":
            return _validate_projected(source, path)
        case "persistentVolumeClaim":
            return [] if source.get("claimName") else [causes.required(f"{path}.claimName")]
        case "nfs":
            return _validate_nfs(source, path)
        case "image":
            return _validate_image(source, path)
        case _:
            return []


def _validate_host_path(source: Object, path: str) -> list[Cause]:
    where = source.get("path", "")
    if not where:
        return [causes.required(f"{path}.path")]
    found: list[Cause] = []
    if ".." in where.split("/"):
        found.append(causes.invalid(f"{path}.path", where, "must not contain '..'"))
    kind = source.get("type", "")
    if kind not in _HOST_PATH_TYPES:
        found.append(causes.unsupported(f"{path}.type", kind, _HOST_PATH_TYPES))
    return found


def _validate_mode(source: Object, field: str, path: str) -> list[Cause]:
    mode = source.get(field)
    if mode is not None and not 0 <= mode <= 0o777:
        return [causes.invalid(f"{path}.{field}", mode, _MODE)]
    return []


def _validate_files(source: Object, name_field: str, path: str) -> list[Cause]:
    """A ConfigMap or Secret as files, whole or some of its keys."""
    found: list[Cause] = []
    if not source.get(name_field):
        found.append(causes.required(f"{path}.{name_field}"))
    found += _validate_mode(source, "defaultMode", path)
    return found + _validate_items(source, path)


def _validate_items(source: Object, path: str) -> list[Cause]:
    found: list[Cause] = []
    for position, item in enumerate(source.get("items") or ()):
        at = causes.index(f"{path}.items", position)
        if not item.get("key"):
            found.append(causes.required(f"{at}.key"))
        found += _validate_item_path(item, at)
        found += _validate_mode(item, "mode", at)
    return found


def _validate_item_path(item: Object, path: str) -> list[Cause]:
    where = item.get("path", "")
    if not where:
        return [causes.required(f"{path}.path")]
    found = validate_descending_path(where, f"{path}.path")
    if where.startswith("..") and not where.startswith("../"):
        found.append(causes.invalid(f"{path}.path", where, "must not start with '..'"))
    return found


def _validate_downward_items(source: Object, path: str) -> list[Cause]:
    found: list[Cause] = []
    for position, item in enumerate(source.get("items") or ()):
        at = causes.index(f"{path}.items", position)
        found += _validate_item_path(item, at)
        if "fieldRef" in item:
            found += validate_field_ref(item["fieldRef"], VOLUME_FIELD_PATHS, f"{at}.fieldRef")
            if "resourceFieldRef" in item:
                found.append(
                    causes.invalid(at, "resource", "fieldRef and resourceFieldRef can not be specified simultaneously")
                )
        elif "resourceFieldRef" in item:
            found += validate_resource_ref(item["resourceFieldRef"], f"{at}.resourceFieldRef", volume=True)
        else:
            found.append(causes.required(at, "one of fieldRef and resourceFieldRef is required"))
        found += _validate_mode(item, "mode", at)
    return found


def _validate_projected(source: Object, path: str) -> list[Cause]:
    found = _validate_mode(source, "defaultMode", path)
    for position, projection in enumerate(source.get("sources") or ()):
        at = causes.index(f"{path}.sources", position)
        given = [kind for kind in _PROJECTIONS if kind in projection]
        if not given:
            found.append(causes.required(at, "must specify a projection type"))  # one of the kinds above
        found += [causes.forbidden(f"{path}.{kind}", "may not specify more than 1 volume type") for kind in given[1:]]
        for kind in given[:1]:
            found += _validate_projection(kind, projection[kind], f"{at}.{kind}")
    return found


def _validate_projection(kind: str, projection: Object, path: str) -> list[Cause]:
    if kind in {"secret", "configMap"}:
        missing = [] if projection.get("name") else [causes.required(f"{path}.name")]
        return missing + _validate_items(projection, path)
    if kind == "downwardAPI":
        return _validate_downward_items(projection, path)
    if kind == "serviceAccountToken":
        found: list[Cause] = []
        seconds = projection.get("expirationSeconds", 3600)
        if seconds < 600:
            found.append(
                causes.invalid(f"{path}.expirationSeconds", seconds, "may not specify a duration less than 10 minutes")
            )
        if seconds > 1 << 32:
            found.append(
                causes.invalid(
                    f"{path}.expirationSeconds", seconds, "may not specify a duration larger than 2^32 seconds"
                )
            )
        return found + _validate_item_path(projection, path)
    return []


def _validate_nfs(source: Object, path: str) -> list[Cause]:
    found = [causes.required(f"{path}.{field}") for field in ("server", "path") if not source.get(field)]
    where = source.get("path", "")
    if where and not where.startswith("/"):
        found.append(causes.invalid(f"{path}.path", where, "must be an absolute path"))
    return found


def _validate_image(source: Object, path: str) -> list[Cause]:
    found = [] if source.get("reference") else [causes.required(f"{path}.reference")]
    policy = source.get("pullPolicy", "")
    if policy not in PULL_POLICIES:
        found.append(causes.unsupported(f"{path}.pullPolicy", policy, PULL_POLICIES))
    return found

"""Validation of what a container mounts: volumes as directories, volumes as block devices, never one as both.

Source: ValidateVolumeMounts and ValidateVolumeDevices in pkg/apis/core/validation/validation.go of Kubernetes 1.36.
"""

from __future__ import annotations

from collections.abc import Mapping

from controlplane.apiserver.strategies import causes
from controlplane.apiserver.strategies.descending_path import validate_descending_path
from mesh.errors import Cause
from mesh.objects.types import Object

_PROPAGATIONS = ("Bidirectional", "HostToContainer", "None")
_RECURSIVE_READ_ONLY = ("Disabled", "Enabled", "IfPossible")


def validate_mounts(container: Object, volumes: Mapping[str, Object], path: str) -> list[Cause]:
    """The volumes that a container sees as files; each path once."""
    found: list[Cause] = []
    seen: set[str] = set()
    devices = container.get("volumeDevices") or ()
    device_names, device_paths = ({device.get(field) for device in devices} for field in ("name", "devicePath"))
    for position, mount in enumerate(container.get("volumeMounts") or ()):
        at = causes.index(path, position)
        name, where = mount.get("name", ""), mount.get("mountPath", "")
        if not name:
            found.append(causes.required(f"{at}.name"))
        if name not in volumes:
            found.append(causes.not_found(f"{at}.name", name))
        if not where:
            found.append(causes.required(f"{at}.mountPath"))
        if where in seen:
            found.append(causes.invalid(f"{at}.mountPath", where, "must be unique"))
        seen.add(where)
        if name in device_names:
            found.append(causes.invalid(f"{at}.name", name, "must not already exist in volumeDevices"))
        if where in device_paths:
            found.append(causes.invalid(f"{at}.mountPath", where, "must not already exist as a path in volumeDevices"))
        found += _validate_sub_paths(mount, path, at)
        found += _validate_propagation(mount, container, f"{path}.mountPropagation")
        found += _validate_recursive_read_only(mount, f"{path}.recursiveReadOnly")
    return found


def _validate_sub_paths(mount: Object, path: str, at: str) -> list[Cause]:
    """Kubernetes names the list, not the mount, where a sub path goes wrong."""
    found: list[Cause] = []
    if sub_path := mount.get("subPath"):
        found += validate_descending_path(sub_path, f"{path}.subPath")
    if expression := mount.get("subPathExpr"):
        if sub_path:
            sentence = "subPathExpr and subPath are mutually exclusive"
            found.append(causes.invalid(f"{at}.subPathExpr", expression, sentence))
        found += validate_descending_path(expression, f"{path}.subPathExpr")
    return found


def _validate_propagation(mount: Object, container: Object, path: str) -> list[Cause]:
    propagation = mount.get("mountPropagation")
    if propagation is None:
        return []
    if propagation not in _PROPAGATIONS:
        return [causes.unsupported(path, propagation, _PROPAGATIONS)]
    privileged = (container.get("securityContext") or {}).get("privileged")
    if propagation == "Bidirectional" and not privileged:
        return [causes.forbidden(path, "Bidirectional mount propagation is available only to privileged containers")]
    return []


def _validate_recursive_read_only(mount: Object, path: str) -> list[Cause]:
    mode = mount.get("recursiveReadOnly")
    if mode in {None, "Disabled"}:
        return []
    if mode not in _RECURSIVE_READ_ONLY:
        return [causes.unsupported(path, mode, _RECURSIVE_READ_ONLY)]
    found = [] if mount.get("readOnly") else [causes.forbidden(path, "may only be specified when readOnly is true")]
    if mount.get("mountPropagation") not in {None, "None"}:
        sentence = "may only be specified when mountPropagation is None or not specified"
        found.append(causes.forbidden(path, sentence))
    return found


def validate_devices(container: Object, volumes: Mapping[str, Object], path: str) -> list[Cause]:
    """The volumes that a container sees as block devices; each volume and each path once."""
    found: list[Cause] = []
    mounts = container.get("volumeMounts") or ()
    mount_names, mount_paths = ({mount.get(field) for mount in mounts} for field in ("name", "mountPath"))
    names: set[str] = set()
    paths: set[str] = set()
    for position, device in enumerate(container.get("volumeDevices") or ()):
        at = causes.index(path, position)
        name, where = device.get("name", ""), device.get("devicePath", "")
        if not name:
            found.append(causes.required(f"{at}.name"))
        if name in names:
            found.append(causes.invalid(f"{at}.name", name, "must be unique"))
        if name not in volumes:
            found.append(causes.not_found(f"{at}.name", name))
        elif not volumes[name].keys() & {"persistentVolumeClaim", "ephemeral"}:
            sentence = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode"
            found.append(causes.invalid(f"{at}.name", name, sentence))
        if not where:
            found.append(causes.required(f"{at}.devicePath"))
        if where in paths:
            found.append(causes.invalid(f"{at}.devicePath", where, "must be unique"))
        if ".." in where.split("/"):
            found.append(causes.invalid(f"{at}.devicePath", where, "can not contain backsteps ('..')"))
        if name in mount_names:
            found.append(causes.invalid(f"{at}.name", name, "must not already exist in volumeMounts"))
        if where in mount_paths:
            found.append(causes.invalid(f"{at}.devicePath", where, "must not already exist as a path in volumeMounts"))
        names.add(name)
        paths.add(where)
    return found

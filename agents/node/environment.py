"""A container's environment: Services, envFrom, env, the downward API. Objects it needs come in as a mapping.

https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#environment-variables. Pure.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias

from agents.node.expansion import expand
from agents.node.podspec import place_of, places
from agents.node.resources import amounts
from agents.node.security import ConfigError
from mesh.objects.meta import annotations_of, labels_of, name_of, namespace_of, uid_of
from mesh.objects.quantity import parse
from mesh.objects.types import Object

Lookup: TypeAlias = Callable[[str, str], Object | None]
"""(kind, name) to the ConfigMap or Secret of the pod's namespace, or None when there is none."""

_NAME = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*")
_SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['(.+)'\]")


def text_of(kind: str, obj: Object, key: str) -> str | None:
    """One value of a ConfigMap or (decoded) of a Secret; None when the key is absent."""
    data = bytes_of(kind, obj).get(key)
    return None if data is None else data.decode(errors="replace")


def bytes_of(kind: str, obj: Object) -> dict[str, bytes]:
    """All values of a ConfigMap or Secret, decoded."""
    if kind == "Secret":
        return {k: _decode(v) for k, v in (obj.get("data") or {}).items()}
    plain = {k: str(v).encode() for k, v in (obj.get("data") or {}).items()}
    return plain | {k: _decode(v) for k, v in (obj.get("binaryData") or {}).items()}


def _decode(text: str | None) -> bytes:
    try:
        return base64.b64decode(text or "")
    except binascii.Error:
        return b""  # the API server validates base64: only an old checkpoint could hold this


def references(pod: Object) -> set[tuple[str, str]]:
    """The (kind, name) of all ConfigMaps and Secrets that the pod's environment names."""
    found: set[tuple[str, str]] = set()
    for place in places(pod):
        for source in place.container.get("envFrom") or ():
            for field, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
                if field in source:
                    found.add((kind, source[field]["name"]))
        for entry in place.container.get("env") or ():
            for field, kind in (("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")):
                if field in (entry.get("valueFrom") or {}):
                    found.add((kind, entry["valueFrom"][field]["name"]))
    return found


def environment(
    pod: Object,
    container: Object,
    lookup: Lookup,
    services: Iterable[Object],
    *,
    status: Object,
    allocatable: Mapping[str, str],
) -> tuple[tuple[str, str], ...]:
    """The container's variables in order. `status` gives addresses, `services` those of the pod's namespace (and
    `kubernetes`), `allocatable` stands in for limits that are not set. Raises `ConfigError` in kubelet's words."""
    result: dict[str, str] = {}
    for source in container.get("envFrom") or ():
        result |= _from_source(source, lookup)
    inherited = service_environment(pod, services)
    for entry in container.get("env") or ():
        name = entry["name"]
        if "valueFrom" in entry:
            value = _from_reference(pod, container, entry["valueFrom"], lookup, status=status, allocatable=allocatable)
            if value is not None:
                result[name] = value
        else:
            result[name] = expand(entry.get("value") or "", inherited | result)
    return tuple((inherited | result).items())


def _from_source(source: Object, lookup: Lookup) -> dict[str, str]:
    kind, reference = (
        ("ConfigMap", source["configMapRef"]) if "configMapRef" in source else ("Secret", source["secretRef"])
    )
    obj = lookup(kind, reference["name"])
    if obj is None:
        if reference.get("optional"):
            return {}
        raise ConfigError(f'{kind.lower()} "{reference["name"]}" not found')
    prefix = source.get("prefix") or ""
    return {
        prefix + key: data.decode(errors="replace")
        for key, data in bytes_of(kind, obj).items()
        if _NAME.fullmatch(prefix + key)
    }


def _from_reference(
    pod: Object,
    container: Object,
    source: Object,
    lookup: Lookup,
    *,
    status: Object,
    allocatable: Mapping[str, str],
) -> str | None:
    if "fieldRef" in source:
        return field_value(pod, source["fieldRef"]["fieldPath"], status)
    if "resourceFieldRef" in source:
        return resource_value(pod, container, source["resourceFieldRef"], allocatable)
    kind, reference = (
        ("ConfigMap", source["configMapKeyRef"]) if "configMapKeyRef" in source else ("Secret", source["secretKeyRef"])
    )
    obj = lookup(kind, reference["name"])
    if obj is None:
        if reference.get("optional"):
            return None
        raise ConfigError(f'{kind.lower()} "{reference["name"]}" not found')
    value = text_of(kind, obj, reference["key"])
    if value is None and not reference.get("optional"):
        where = f"{namespace_of(pod)}/{reference['name']}"
        raise ConfigError(f"couldn't find key {reference['key']} in {kind} {where}")
    return value


def field_value(pod: Object, path: str, status: Object) -> str:
    """A field of the downward API as text; raises `ConfigError` for one that it does not offer."""
    if match := _SUBSCRIPT.fullmatch(path):
        values = labels_of(pod) if match.group(1) == "labels" else annotations_of(pod)
        return values.get(match.group(2), "")
    spec = pod["spec"]
    simple = {
        "metadata.name": name_of(pod),
        "metadata.namespace": namespace_of(pod),
        "metadata.uid": uid_of(pod),
        "spec.nodeName": spec.get("nodeName", ""),
        "spec.serviceAccountName": spec.get("serviceAccountName", ""),
        "status.hostIP": status.get("hostIP", ""),
        "status.podIP": status.get("podIP", ""),
        "status.hostIPs": ",".join(e["ip"] for e in status.get("hostIPs") or ()),
        "status.podIPs": ",".join(e["ip"] for e in status.get("podIPs") or ()),
        "metadata.labels": _lines(labels_of(pod)),
        "metadata.annotations": _lines(annotations_of(pod)),
    }
    if path not in simple:
        raise ConfigError(f"unsupported fieldPath: {path}")
    return str(simple[path])


def _lines(values: Mapping[str, str]) -> str:
    """Labels or annotations as a downwardAPI file shows them: `key="value"`, sorted."""
    quoted = {k: v.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") for k, v in values.items()}
    return "\n".join(f'{k}="{quoted[k]}"' for k in sorted(quoted))


def resource_value(pod: Object, container: Object, reference: Object, allocatable: Mapping[str, str]) -> str:
    """A request or limit in units of its divisor, rounded up; the node's allocatable where no limit is set."""
    if name := reference.get("containerName"):
        place = place_of(pod, name)
        if place is None:
            raise ConfigError(f'container "{name}" not found')
        container = place.container
    which, _, resource = str(reference["resource"]).partition(".")
    text = amounts(container, which).get(resource)
    if text is None and which == "limits":
        text = allocatable.get(resource)
    divisor = parse(str(reference.get("divisor") or "0")).nanos or 10**9
    return str(-(-parse(str(text or "0")).nanos // divisor))


def service_environment(pod: Object, services: Iterable[Object]) -> dict[str, str]:
    """Variables for the Services that exist when the container starts; without enableServiceLinks only `kubernetes`.

    https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
    """
    links = pod["spec"].get("enableServiceLinks") is not False
    chosen: dict[str, Object] = {}
    for service in services:
        name, namespace = name_of(service), namespace_of(service)
        if (service["spec"].get("clusterIP") or "None") == "None":
            continue
        if links and namespace == namespace_of(pod):
            chosen[name] = service
        elif namespace == "default" and name == "kubernetes":
            chosen.setdefault(name, service)
    result: dict[str, str] = {}
    for name in sorted(chosen):
        result |= _variables(name, chosen[name]["spec"])
    return result


def _variables(name: str, spec: Object) -> dict[str, str]:
    prefix = name.upper().replace("-", "_")
    address, ports = spec["clusterIP"], spec.get("ports") or ()
    host = f"[{address}]" if ":" in address else address
    if not ports:
        return {}
    result = {f"{prefix}_SERVICE_HOST": address, f"{prefix}_SERVICE_PORT": str(ports[0]["port"])}
    for port in ports:
        if port.get("name"):
            result[f"{prefix}_SERVICE_PORT_{port['name'].upper().replace('-', '_')}"] = str(port["port"])
    for index, port in enumerate(ports):
        protocol, number = (port.get("protocol") or "TCP"), port["port"]
        url = f"{protocol.lower()}://{host}:{number}"
        if index == 0:
            result[f"{prefix}_PORT"] = url
        stem = f"{prefix}_PORT_{number}_{protocol.upper()}"
        result |= {
            stem: url,
            f"{stem}_PROTO": protocol.lower(),
            f"{stem}_PORT": str(number),
            f"{stem}_ADDR": address,
        }
    return result

"""Defaults of a pod's spec, the same for pods and for the templates of workloads.

Source: pkg/apis/core/v1/defaults.go of Kubernetes 1.36. What depends on the cluster (service account, tolerations,
priority) is admission, not a default.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from mesh.objects import quantity
from mesh.objects.types import Object

CONTAINER_LISTS = ("initContainers", "containers", "ephemeralContainers")

_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_IMAGE_TAG = re.compile(r"(?:.*/)?[^/:@]+(?::(?P<tag>[^/:@]+))?(?P<digest>@.+)?")
_FILE_MODE = 0o644


def containers_of(spec: Object) -> Iterator[Object]:
    """All containers of a pod spec: init, regular and ephemeral ones."""
    for field in CONTAINER_LISTS:
        yield from spec.get(field) or ()


def default_pod_spec(spec: Object) -> None:
    """Fill in what pods and pod templates have in common."""
    account = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if account:
        # The old name of the field is served beside the new one, for old clients.
        spec["serviceAccountName"] = spec["serviceAccount"] = account
    spec["dnsPolicy"] = spec.get("dnsPolicy") or "ClusterFirst"
    spec["restartPolicy"] = spec.get("restartPolicy") or "Always"
    spec.setdefault("securityContext", {})
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec["schedulerName"] = spec.get("schedulerName") or "default-scheduler"
    if spec.get("hostNetwork"):
        _default_host_ports(spec)
    for volume in spec.get("volumes") or ():
        _default_volume(volume)
    for container in containers_of(spec):
        _default_container(container)
    _round_resources(spec.get("resources"))
    _round_list(spec.get("overhead"))


def default_pod(pod: Object) -> None:
    """Fill in a pod: its spec, and what only pods (not templates) are given."""
    spec = pod.setdefault("spec", {})
    for field in ("containers", "initContainers"):
        for container in spec.get(field) or ():
            _default_requests(container)
    spec.setdefault("enableServiceLinks", True)
    default_pod_spec(spec)


def default_template(template: Object) -> None:
    """Fill in a pod template."""
    template.setdefault("metadata", {})
    default_pod_spec(template.setdefault("spec", {}))


def _default_requests(container: Object) -> None:
    """What has a limit but no request requests its limit."""
    resources = container.get("resources") or {}
    limits = resources.get("limits")
    if limits:
        requests = resources.setdefault("requests", {})
        for name, value in limits.items():
            requests.setdefault(name, value)


def _default_host_ports(spec: Object) -> None:
    for field in ("containers", "initContainers"):
        for container in spec.get(field) or ():
            for port in container.get("ports") or ():
                if not port.get("hostPort") and port.get("containerPort"):
                    port["hostPort"] = port["containerPort"]


def image_pull_policy(image: str) -> str:
    """Always for images whose tag is (or defaults to) "latest", else IfNotPresent."""
    match = _IMAGE_TAG.fullmatch(image)
    if not match:
        return "IfNotPresent"
    tag = match["tag"] or ("" if match["digest"] else "latest")
    return "Always" if tag == "latest" else "IfNotPresent"


def _default_container(container: Object) -> None:
    container["imagePullPolicy"] = container.get("imagePullPolicy") or image_pull_policy(container.get("image", ""))
    container["terminationMessagePath"] = container.get("terminationMessagePath") or "/dev/termination-log"
    container["terminationMessagePolicy"] = container.get("terminationMessagePolicy") or "File"
    _round_resources(container.setdefault("resources", {}))
    for port in container.get("ports") or ():
        port["protocol"] = port.get("protocol") or "TCP"
    for variable in container.get("env") or ():
        _default_field_ref((variable.get("valueFrom") or {}).get("fieldRef"))
    for name in _PROBES:
        if name in container:
            _default_probe(container[name])
    for handler in (container.get("lifecycle") or {}).values():
        if isinstance(handler, dict):
            _default_http_get(handler.get("httpGet"))


def _default_probe(probe: Object) -> None:
    for field, value in (
        ("timeoutSeconds", 1),
        ("periodSeconds", 10),
        ("successThreshold", 1),
        ("failureThreshold", 3),
    ):
        probe[field] = probe.get(field) or value
    _default_http_get(probe.get("httpGet"))
    if "grpc" in probe:
        probe["grpc"].setdefault("service", "")


def _default_http_get(action: Object | None) -> None:
    if action is not None:
        action["path"] = action.get("path") or "/"
        action["scheme"] = action.get("scheme") or "HTTP"


def _default_field_ref(reference: Object | None) -> None:
    if reference is not None:
        reference["apiVersion"] = reference.get("apiVersion") or "v1"


def _default_volume(volume: Object) -> None:
    if not any(field != "name" for field in volume):
        volume["emptyDir"] = {}
    for source in ("secret", "configMap", "downwardAPI", "projected"):
        if source in volume:
            volume[source].setdefault("defaultMode", _FILE_MODE)
    if "hostPath" in volume:
        volume["hostPath"].setdefault("type", "")
    if "image" in volume:
        image = volume["image"]
        image["pullPolicy"] = image.get("pullPolicy") or image_pull_policy(image.get("reference", ""))
    for item in (volume.get("downwardAPI") or {}).get("items") or ():
        _default_field_ref(item.get("fieldRef"))
    for projection in (volume.get("projected") or {}).get("sources") or ():
        for item in (projection.get("downwardAPI") or {}).get("items") or ():
            _default_field_ref(item.get("fieldRef"))
        if "serviceAccountToken" in projection:
            projection["serviceAccountToken"].setdefault("expirationSeconds", 3600)


def _round_resources(resources: Object | None) -> None:
    for field in ("limits", "requests"):
        _round_list((resources or {}).get(field))


def _round_list(amounts: Object | None) -> None:
    """Nothing finer than a thousandth is kept in a resource list."""
    for name, value in (amounts or {}).items():
        rounded = quantity.parse(value).rounded_to_milli()
        if rounded.nanos % 10**6 or str(rounded) != value:
            amounts[name] = str(rounded)  # type: ignore[index]

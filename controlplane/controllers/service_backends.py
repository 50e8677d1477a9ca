"""Which pods stand behind a Service, and on which of their ports. Pure; shared by EndpointSlices and Endpoints.

Behaviour: Kubernetes' staging/src/k8s.io/endpointslice/utils.go and pkg/api/v1/pod/util.go.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence

from controlplane.controllers import pods
from mesh.objects import labels
from mesh.objects.kinds import PODS, SERVICES
from mesh.objects.meta import Key, key_of, labels_of, namespace_of
from mesh.objects.types import Object
from mesh.plan.controller import Caches, Watch

BY_LABEL = "label"
BY_SELECTOR = "selector"

Port = tuple[str, int, str, str]
"""A backend's port: name, number, protocol, application protocol (may be "")."""


def _pod_labels(pod: Object) -> Iterable[str]:
    """Index: each label of a pod, with its namespace."""
    return (_mark(namespace_of(pod), pair) for pair in labels_of(pod).items())


def _service_selectors(service: Object) -> Iterable[str]:
    """Index: one pair of a Service's selector, which any pod behind it must have as a label."""
    selector = service["spec"].get("selector")
    return (_mark(namespace_of(service), min(selector.items())),) if selector else ()


def _mark(namespace: str, pair: tuple[str, str]) -> str:
    return f"{namespace}/{pair[0]}={pair[1]}"


def _wake_services(pod: Object, caches: Caches) -> Iterable[Key]:
    """The Services that select a pod."""
    found = labels_of(pod)
    for pair in found.items():
        for service in caches[SERVICES].index(BY_SELECTOR, _mark(namespace_of(pod), pair)):
            if service["spec"]["selector"].items() <= found.items():
                yield key_of(service)


def _itself(service: Object, _caches: Caches) -> Iterable[Key]:
    return (key_of(service),)


WATCH_SERVICES = Watch(SERVICES, _itself, {BY_SELECTOR: _service_selectors})
WATCH_PODS = Watch(PODS, _wake_services, {BY_LABEL: _pod_labels})


def has_backends(service: Object) -> bool:
    """Whether the Service's endpoints are ours to keep: it selects pods and is no mere alias."""
    return bool(service["spec"].get("selector")) and service["spec"].get("type") != "ExternalName"


def selected_pods(service: Object, caches: Caches, *, include_terminating: bool) -> list[Object]:
    """The pods that belong behind the Service, ready or not, in a stable order."""
    selector: dict[str, str] = service["spec"]["selector"]
    wanted = labels.equal_to(selector)
    candidates = caches[PODS].index(BY_LABEL, _mark(namespace_of(service), min(selector.items())))
    found = [
        pod
        for pod in candidates
        if wanted.matches(labels_of(pod))
        and not pods.is_terminal(pod)
        and pods.addresses(pod)
        and (include_terminating or "deletionTimestamp" not in pod["metadata"])
    ]
    return sorted(found, key=key_of)


def families(service: Object) -> list[str]:
    """The address families of the Service, "IPv4" or "IPv6", the primary one first."""
    declared = service["spec"].get("ipFamilies")
    if declared:
        return list(declared)
    address = service["spec"].get("clusterIP", "")
    return ["IPv6" if ":" in address else "IPv4"]


def address_of(pod: Object, family: str) -> str | None:
    """The pod's address of that family, or None."""
    version = 6 if family == "IPv6" else 4
    return next((ip for ip in pods.addresses(pod) if ipaddress.ip_address(ip).version == version), None)


def is_headless(service: Object) -> bool:
    """Whether it has no address of its own."""
    return str(service["spec"].get("clusterIP")) == "None"


def target_ports(service: Object, pod: Object) -> tuple[Port, ...]:
    """The pod's ports for the Service's ports; a named target port that the pod does not have is left out."""
    found = []
    for port in service["spec"].get("ports") or ():
        number = _target(port, pod)
        if number is not None:
            found.append((port.get("name", ""), number, port.get("protocol", "TCP"), port.get("appProtocol", "")))
    return tuple(found)


def _target(port: Object, pod: Object) -> int | None:
    target = port.get("targetPort") or port["port"]
    if isinstance(target, int):
        return target
    protocol = port.get("protocol", "TCP")
    sidecars = [c for c in pod["spec"].get("initContainers") or () if c.get("restartPolicy") == "Always"]
    for container in (*pod["spec"].get("containers", ()), *sidecars):
        for offered in container.get("ports") or ():
            if offered.get("name") == target and offered.get("protocol", "TCP") == protocol:
                return int(offered["containerPort"])
    return None


def hostname_of(service: Object, pod: Object) -> str:
    """The name under which DNS knows the pod behind this (headless) Service, or ""."""
    own = pod["spec"].get("subdomain") == service["metadata"]["name"]
    return str(pod["spec"].get("hostname", "")) if own else ""


def pod_reference(pod: Object) -> Object:
    """The `targetRef` of an endpoint."""
    meta = pod["metadata"]
    return {"kind": "Pod", "namespace": meta["namespace"], "name": meta["name"], "uid": meta["uid"]}


def port_object(port: Port) -> Object:
    """A port as EndpointSlices and Endpoints write it."""
    name, number, protocol, application = port
    made: Object = {"name": name, "port": number, "protocol": protocol}
    return made | ({"appProtocol": application} if application else {})


def service_labels(service: Object, *, headless: str) -> dict[str, str]:
    """The Service's labels as its endpoints carry them, with the mark `headless` if it is."""
    copied = {k: v for k, v in labels_of(service).items() if k != headless}
    return copied | ({headless: ""} if is_headless(service) else {})


def chunks(items: Sequence[Object], size: int) -> list[list[Object]]:
    """The items in lists of at most `size`."""
    return [list(items[start : start + size]) for start in range(0, len(items), size)]

"""What a pod asks of a node, compiled once: resource vectors, constraints, and the class of pods that ask the same.

Two pods of one `PodClass` are the same to every filter and score, so a pass computes them once for all. Pure.
Sources: kubernetes.io/docs "Resource Management for Pods and Containers" and "Pod Overhead" (effective requests), and
"Assigning Pods to Nodes".
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import orjson

from mesh.objects.meta import Key, controller_of, key_of, namespace_of, uid_of
from mesh.objects.quantity import to_int, to_milli
from mesh.objects.types import Object

CPU = "cpu"
MEMORY = "memory"
STORAGE = "ephemeral-storage"
PODS = "pods"

DEFAULT_CPU = 100.0
"""Milli-CPU that a container without a CPU request counts for in scores (not in filters), as in kube-scheduler."""
DEFAULT_MEMORY = 200.0 * 1024 * 1024
"""Bytes that a container without a memory request counts for in scores."""

Amounts = dict[str, float]
"""Resource name to amount: milli-CPU for cpu, whole units (bytes, counts) for everything else."""

HostPort = tuple[str, str, int]
"""(protocol, host address, port); the address "0.0.0.0" stands for all."""


@dataclass(frozen=True, slots=True)
class PodClass:
    """Everything about a pod that decides where it may and should run; equal classes fit equally.

    `requests` excludes the pod itself as a unit of "pods", which every pod takes one of. `scored` are (milli-CPU,
    bytes) as the scores see them. `owner` identifies the controller whose pods should spread ("" for bare pods).
    """

    requests: tuple[tuple[str, float], ...]
    scored: tuple[float, float]
    host_ports: tuple[HostPort, ...]
    node_name: str
    constraints: bytes
    """nodeSelector and required node affinity as canonical JSON, b"" when there are none."""
    preferences: bytes
    """Preferred node affinity as canonical JSON."""
    tolerations: bytes
    """Tolerations as canonical JSON."""
    owner: str
    images: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PodRequest:
    """A pod waiting for a node, or running on one."""

    key: Key
    uid: str
    priority: int
    created: str
    pod_class: PodClass


def pod_request(pod: Object) -> PodRequest:
    """Compile `pod`; the object is not kept."""
    spec = pod["spec"]
    containers = spec.get("containers") or ()
    owner = controller_of(pod)
    required, preferred = _affinity(spec)
    pod_class = PodClass(
        requests=tuple(sorted(effective_requests(spec).items())),
        scored=_scored(spec),
        host_ports=tuple(host_ports(containers)),
        node_name=spec.get("nodeName", ""),
        constraints=required,
        preferences=preferred,
        tolerations=_canonical(spec.get("tolerations")),
        owner=f"{namespace_of(pod)}/{owner['uid']}" if owner else "",
        images=tuple(c.get("image", "") for c in containers),
    )
    meta = pod["metadata"]
    return PodRequest(
        key_of(pod), uid_of(pod), int(spec.get("priority") or 0), meta.get("creationTimestamp", ""), pod_class
    )


def effective_requests(spec: Object) -> Amounts:
    """What the pod as a whole requests: the larger of its containers' sum and its hungriest moment of initialization,
    plus overhead. Sidecars (init containers that restart always) count from their start on, beside all that follow."""
    total: Amounts = {}
    for container in spec.get("containers") or ():
        _add(total, _requests(container))
    sidecars: Amounts = {}
    initializing: Amounts = {}
    for container in spec.get("initContainers") or ():
        needed = _requests(container)
        if container.get("restartPolicy") == "Always":
            _add(sidecars, needed)
            moment = dict(sidecars)
        else:
            moment = dict(sidecars)
            _add(moment, needed)
        for name, amount in moment.items():
            initializing[name] = max(initializing.get(name, 0.0), amount)
    _add(total, sidecars)
    for name, amount in initializing.items():
        total[name] = max(total.get(name, 0.0), amount)
    total.update(_amounts((spec.get("resources") or {}).get("requests") or {}))
    _add(total, _amounts(spec.get("overhead") or {}))
    return {name: amount for name, amount in total.items() if amount}


def host_ports(containers: Iterable[Object]) -> Iterable[HostPort]:
    """The host ports that containers claim, one row for each."""
    for container in containers:
        for port in container.get("ports") or ():
            if port.get("hostPort"):
                yield port.get("protocol", "TCP"), port.get("hostIP") or "0.0.0.0", int(port["hostPort"])


def parse_amounts(quantities: Object) -> Amounts:
    """Quantities by resource name as numbers: milli-CPU for cpu, whole units for everything else."""
    return _amounts(quantities)


def _amounts(quantities: Object) -> Amounts:
    return {name: float(to_milli(q) if name == CPU else to_int(q)) for name, q in quantities.items()}


def _requests(container: Object) -> Amounts:
    return _amounts((container.get("resources") or {}).get("requests") or {})


def _add(total: Amounts, more: Amounts) -> None:
    for name, amount in more.items():
        total[name] = total.get(name, 0.0) + amount


def _scored(spec: Object) -> tuple[float, float]:
    """Requests for the scores: a container that names none is taken to use something nevertheless."""
    cpu = memory = 0.0
    for container in spec.get("containers") or ():
        requests = _requests(container)
        cpu += requests.get(CPU) or DEFAULT_CPU
        memory += requests.get(MEMORY) or DEFAULT_MEMORY
    return cpu, memory


def _affinity(spec: Object) -> tuple[bytes, bytes]:
    node_affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = node_affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    selector = spec.get("nodeSelector")
    constraints = _canonical({"selector": selector, "required": required}) if selector or required else b""
    return constraints, _canonical(node_affinity.get("preferredDuringSchedulingIgnoredDuringExecution"))


def _canonical(value: object) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS) if value else b""

"""The Node object: what a node says of itself. https://kubernetes.io/docs/reference/node/node-status/. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from agents.node.machine import Machine, Pressure
from agents.node.ports import Image, RuntimeInfo
from mesh.config import AgentConfig
from mesh.objects.meta import format_time
from mesh.objects.quantity import canonical
from mesh.objects.types import Object

VERSION = "v1.36.0"
"""The Kubernetes version whose behaviour the node shows."""

MEMORY_LEAST = 100 << 20
"""Available bytes below which a node is under memory pressure (kubelet's memory.available<100Mi)."""
DISK_LEAST = 0.10
"""Free part of the file system below which it is under disk pressure (nodefs.available<10%)."""
MOST_IMAGES = 50

IDENTITY = "covey.dev/identity"


@dataclass(frozen=True, slots=True)
class Condition:
    """One line of Node health, before timestamps."""

    kind: str
    holds: bool
    reason: str
    message: str


def capacity(config: AgentConfig, machine: Machine) -> dict[str, str]:
    """What the machine has, with the configuration's overrides, in canonical form: the API shows no other, and a
    status that differs in form alone would be written again and again."""
    found = {
        "cpu": str(machine.cpus),
        "memory": f"{machine.memory >> 10}Ki",
        "ephemeral-storage": f"{machine.disk >> 10}Ki",
        "pods": str(config.max_pods),
    }
    return {name: canonical(amount) for name, amount in (found | config.capacity).items()}


def new_node(config: AgentConfig, machine: Machine, identity: str) -> Object:
    """The Node as the agent registers it."""
    labels = {
        "kubernetes.io/hostname": config.node,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": machine.architecture,
        "beta.kubernetes.io/os": "linux",
        "beta.kubernetes.io/arch": machine.architecture,
    }
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": config.node,
            "labels": labels | config.labels,
            "annotations": {IDENTITY: identity} if identity else {},
        },
        "spec": {},
    }


def conditions_of(pressure: Pressure, *, runtime_error: str, network_ready: bool) -> list[Condition]:
    """The node's health in kubelet's reasons and words."""
    memory = pressure.memory_available < MEMORY_LEAST
    disk = pressure.disk_free < pressure.disk_total * DISK_LEAST
    pids = pressure.pids > pressure.pids_max * 0.9
    problems = []
    if runtime_error:
        problems.append(f"container runtime is down: {runtime_error}")
    if not network_ready:
        problems.append(
            "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady "
            "message:the node has no pod CIDR yet"
        )
    ready = (
        Condition("Ready", False, "KubeletNotReady", f"[{', '.join(problems)}]")
        if problems
        else Condition("Ready", True, "KubeletReady", "kubelet is posting ready status")
    )
    return [
        Condition(
            "MemoryPressure",
            memory,
            "KubeletHasInsufficientMemory" if memory else "KubeletHasSufficientMemory",
            f"kubelet has {'insufficient' if memory else 'sufficient'} memory available",
        ),
        Condition(
            "DiskPressure",
            disk,
            "KubeletHasDiskPressure" if disk else "KubeletHasNoDiskPressure",
            f"kubelet has {'disk pressure' if disk else 'no disk pressure'}",
        ),
        Condition(
            "PIDPressure",
            pids,
            "KubeletHasInsufficientPID" if pids else "KubeletHasSufficientPID",
            f"kubelet has {'insufficient' if pids else 'sufficient'} PID available",
        ),
        ready,
    ]


def node_status(
    config: AgentConfig,
    machine: Machine,
    conditions: Sequence[Condition],
    images: Sequence[Image],
    runtime: RuntimeInfo | None,
    *,
    old: Object,
    now: datetime,
) -> Object:
    """`status` of the Node. A condition that did not change keeps its lastTransitionTime."""
    amounts = capacity(config, machine)
    name = runtime.name if runtime else "unknown"
    version = runtime.version if runtime else ""
    return {
        "addresses": [
            *({"type": "InternalIP", "address": a} for a in config.addresses),
            {"type": "Hostname", "address": config.node},
        ],
        "capacity": amounts,
        "allocatable": amounts,
        "conditions": [_stamped(c, old, now) for c in conditions],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": 0}},
        "nodeInfo": {
            "architecture": machine.architecture,
            "bootID": machine.boot_id,
            "containerRuntimeVersion": f"{name}://{version}",
            "kernelVersion": machine.kernel,
            "kubeProxyVersion": "",
            "kubeletVersion": VERSION,
            "machineID": machine.machine_id,
            "operatingSystem": "linux",
            "osImage": machine.os_image,
            "systemUUID": machine.system_uuid,
        },
        "images": _images(images),
    }


def _stamped(condition: Condition, old: Object, now: datetime) -> Object:
    status = "True" if condition.holds else "False"
    known: Object = next((c for c in old.get("conditions") or () if c["type"] == condition.kind), {})
    same = known.get("status") == status and known.get("lastTransitionTime")
    return {
        "type": condition.kind,
        "status": status,
        "lastHeartbeatTime": format_time(now),
        "lastTransitionTime": known["lastTransitionTime"] if same else format_time(now),
        "reason": condition.reason,
        "message": condition.message,
    }


def _images(images: Sequence[Image]) -> list[Object]:
    largest = sorted(images, key=lambda i: i.size_bytes, reverse=True)[:MOST_IMAGES]
    return [
        {"names": [*image.digests, *image.tags], "sizeBytes": image.size_bytes}
        for image in largest
        if image.digests or image.tags
    ]


def differs(new: Object, old: Object) -> bool:
    """Whether a status says anything new, heartbeat times apart."""
    return _essence(new) != _essence({key: old.get(key) for key in new})


def _essence(status: Object) -> Object:
    plain = dict(status)
    plain["conditions"] = {
        c["type"]: (c["status"], c.get("reason"), c.get("message")) for c in status.get("conditions") or ()
    }
    plain["images"] = status.get("images") or []
    return plain

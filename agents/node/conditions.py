"""`status.conditions` of a pod, with kubelet's reasons and messages.

https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-conditions. Pure.
"""

from __future__ import annotations

from datetime import datetime

from agents.node.podspec import app_containers, init_containers, is_sidecar
from mesh.objects.meta import format_time
from mesh.objects.types import Object

OURS = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")
"""The conditions that the node writes; all others belong to someone else."""


def conditions(pod: Object, status: Object, old: Object, now: datetime, *, sandbox_ready: bool) -> list[Object]:
    """The node's own conditions for `status` (phase and container statuses filled in). `old` is the status before:
    a condition whose value did not change keeps its lastTransitionTime."""
    containers_ready = _containers_ready(pod, status)
    fresh = [
        _condition("PodReadyToStartContainers", holds=sandbox_ready),
        _initialized(pod, status),
        _ready(pod, old, containers_ready),
        containers_ready,
        _condition("PodScheduled", holds=True),
    ]
    before = {c["type"]: c for c in old.get("conditions") or ()}
    generation = pod["metadata"].get("generation")
    for condition in fresh:
        known = before.get(condition["type"], {})
        same = known.get("status") == condition["status"] and known.get("lastTransitionTime")
        condition["lastProbeTime"] = None
        condition["lastTransitionTime"] = known["lastTransitionTime"] if same else format_time(now)
        if generation is not None:
            condition["observedGeneration"] = generation
    return fresh


def _condition(kind: str, *, holds: bool, reason: str = "", message: str = "") -> Object:
    condition: Object = {"type": kind, "status": "True" if holds else "False"}
    if reason:
        condition["reason"] = reason
    if message:
        condition["message"] = message
    return condition


def _words(names: list[str]) -> str:
    return f"[{' '.join(names)}]"


def _initialized(pod: Object, status: Object) -> Object:
    known = {s["name"]: s for s in status.get("initContainerStatuses") or ()}
    if status["phase"] == "Succeeded":
        return _condition("Initialized", holds=True, reason="PodCompleted")
    if any("running" in s["state"] or s.get("containerID") for s in status.get("containerStatuses") or ()):
        return _condition("Initialized", holds=True)
    incomplete = [c["name"] for c in init_containers(pod) if not _init_complete(c, known.get(c["name"]))]
    if incomplete:
        message = f"containers with incomplete status: {_words(incomplete)}"
        return _condition("Initialized", holds=False, reason="ContainersNotInitialized", message=message)
    return _condition("Initialized", holds=True)


def _init_complete(container: Object, status: Object | None) -> bool:
    if status is None:
        return False
    return bool(status["started"] if is_sidecar(container) else status["ready"])


def _containers_ready(pod: Object, status: Object) -> Object:
    if status["phase"] == "Succeeded":
        return _condition("ContainersReady", holds=False, reason="PodCompleted")
    if status["phase"] == "Failed":
        return _condition("ContainersReady", holds=False, reason="PodFailed")
    ready = {
        s["name"]
        for s in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ()))
        if s["ready"]
    }
    needed = [c["name"] for c in init_containers(pod) if is_sidecar(c)] + [c["name"] for c in app_containers(pod)]
    unready = [name for name in needed if name not in ready]
    if unready:
        message = f"containers with unready status: {_words(unready)}"
        return _condition("ContainersReady", holds=False, reason="ContainersNotReady", message=message)
    return _condition("ContainersReady", holds=True)


def _ready(pod: Object, old: Object, containers_ready: Object) -> Object:
    """Ready when all containers are, and every readiness gate of the pod is True."""
    if containers_ready["status"] != "True":
        return containers_ready | {"type": "Ready"}
    values = {c["type"]: c["status"] for c in (pod.get("status") or old).get("conditions") or ()}
    missing = []
    for gate in pod["spec"].get("readinessGates") or ():
        kind = gate["conditionType"]
        if kind not in values:
            missing.append(f'corresponding condition of pod readiness gate "{kind}" does not exist.')
        elif values[kind] != "True":
            missing.append(f'the status of pod readiness gate "{kind}" is not "True", but {values[kind]}')
    if missing:
        return _condition("Ready", holds=False, reason="ReadinessGatesNotReady", message=", ".join(missing))
    return _condition("Ready", holds=True)

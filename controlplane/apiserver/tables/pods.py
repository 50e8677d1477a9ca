"""How pods are printed: above all, one word for the state of all their containers.

Source: printPod in pkg/printers/internalversion/printers.go of Kubernetes 1.36.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from controlplane.apiserver.tables.columns import AGE, NAME, NONE, Cells, Column, Printer, age
from mesh.objects.duration import since
from mesh.objects.types import Object

COLUMNS = (
    NAME,
    Column("Ready", description="The aggregate readiness state of this pod for accepting traffic."),
    Column("Status", description="The aggregate status of the containers in this pod."),
    Column(
        "Restarts",
        description="The number of times the containers in this pod have been restarted and when the last container "
        "in this pod has restarted.",
    ),
    AGE,
    Column("IP", priority=1, description="podIP address allocated to the pod."),
    Column("Node", priority=1, description="The node on which the pod runs, or is to run."),
    Column("Nominated Node", priority=1, description="The node that is being freed for this pod by preemption."),
    Column("Readiness Gates", priority=1, description="How many of the pod's readiness gates are open."),
)


def _statuses(pod: Object, field: str) -> list[Object]:
    return (pod.get("status") or {}).get(field) or []


def _state(status: Object, kind: str) -> Object | None:
    state: Object | None = (status.get("state") or {}).get(kind)
    return state


def _sidecars(pod: Object) -> set[str]:
    """Init containers that run as long as the pod does."""
    containers = pod["spec"].get("initContainers") or ()
    return {container.get("name") for container in containers if container.get("restartPolicy") == "Always"}


def _condition(pod: Object, kind: str) -> bool:
    return any(c.get("type") == kind and c.get("status") == "True" for c in _statuses(pod, "conditions"))


def _ended(terminated: Object) -> str:
    """Why a container ended, in one word."""
    if reason := terminated.get("reason"):
        return str(reason)
    if signal := terminated.get("signal"):
        return f"Signal:{signal}"
    return f"ExitCode:{terminated.get('exitCode', 0)}"


def _initialization(pod: Object) -> tuple[str, int]:
    """What initialization still waits for ("" when nothing), and how many sidecars are ready."""
    sidecars, ready = _sidecars(pod), 0
    total = len(pod["spec"].get("initContainers") or ())
    for position, status in enumerate(_statuses(pod, "initContainerStatuses")):
        terminated, waiting = _state(status, "terminated"), _state(status, "waiting") or {}
        if terminated is not None and terminated.get("exitCode", 0) == 0:
            continue
        if status.get("name") in sidecars and status.get("started"):
            ready += bool(status.get("ready"))
            continue
        if terminated is not None:
            return f"Init:{_ended(terminated)}", ready
        if waiting.get("reason") and waiting["reason"] != "PodInitializing":
            return f"Init:{waiting['reason']}", ready
        return f"Init:{position}/{total}", ready
    return "", ready


def _running(pod: Object, reason: str) -> tuple[str, int]:
    """The word for the regular containers, and how many of them are ready."""
    ready, running = 0, False
    for status in reversed(_statuses(pod, "containerStatuses")):
        terminated, waiting = _state(status, "terminated"), _state(status, "waiting")
        if waiting is not None and waiting.get("reason"):
            reason = waiting["reason"]
        elif terminated is not None:
            reason = _ended(terminated)
        elif status.get("ready") and _state(status, "running") is not None:
            running = True
            ready += 1
    if reason == "Completed" and running:
        reason = "Running" if _condition(pod, "Ready") else "NotReady"
    return reason, ready


def _word(pod: Object) -> tuple[str, int, bool]:
    """The pod's status in one word, how many containers are ready, and whether it is still initializing."""
    status = pod.get("status") or {}
    phase = status.get("phase", "")
    reason = status.get("reason") or phase
    if any(
        c.get("type") == "PodScheduled" and c.get("reason") == "SchedulingGated" for c in status.get("conditions") or ()
    ):
        reason = "SchedulingGated"
    waiting_for, ready = _initialization(pod)
    initializing = bool(waiting_for) and not _condition(pod, "Initialized")
    reason = waiting_for or reason
    if not initializing:
        reason, more = _running(pod, reason)
        ready += more
    if "deletionTimestamp" in pod["metadata"]:
        if status.get("reason") == "NodeLost":
            reason = "Unknown"
        elif phase not in {"Failed", "Succeeded"}:
            reason = "Terminating"
    return reason, ready, initializing


def _restarts(pod: Object, now: datetime, *, initializing: bool) -> str:
    """ "3 (2m ago)": of the init containers while they run, else of sidecars and regular containers."""
    sidecars = _sidecars(pod)
    counted: Iterable[Object] = _statuses(pod, "initContainerStatuses")
    if not initializing:
        sidecar_statuses = [status for status in counted if status.get("name") in sidecars]
        counted = [*sidecar_statuses, *_statuses(pod, "containerStatuses")]
    counted = list(counted)
    total = sum(status.get("restartCount", 0) for status in counted)
    ends = [
        finished
        for status in counted
        if (finished := ((status.get("lastState") or {}).get("terminated") or {}).get("finishedAt"))
    ]
    return f"{total} ({since(max(ends), now)} ago)" if total and ends else str(total)


def _gates(pod: Object) -> str:
    gates = pod["spec"].get("readinessGates") or ()
    if not gates:
        return NONE
    return f"{sum(_condition(pod, gate.get('conditionType', '')) for gate in gates)}/{len(gates)}"


def _cells(pod: Object, now: datetime) -> Cells:
    spec, status = pod["spec"], pod.get("status") or {}
    reason, ready, initializing = _word(pod)
    total = len(spec.get("containers") or ()) + len(_sidecars(pod))
    addresses = status.get("podIPs") or [{"ip": status.get("podIP", "")}]
    return [
        pod["metadata"]["name"],
        f"{ready}/{total}",
        reason,
        _restarts(pod, now, initializing=initializing),
        age(pod, now),
        addresses[0].get("ip") or NONE,
        spec.get("nodeName") or NONE,
        status.get("nominatedNodeName") or NONE,
        _gates(pod),
    ]


def _conditions(pod: Object) -> list[Object]:
    sentences = {"Succeeded": "The pod has completed successfully.", "Failed": "The pod failed."}
    phase = (pod.get("status") or {}).get("phase", "")
    if phase not in sentences:
        return []
    return [{"type": "Completed", "status": "True", "reason": phase, "message": sentences[phase]}]


PRINTER = Printer(COLUMNS, _cells, _conditions)

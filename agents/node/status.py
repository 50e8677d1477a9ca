"""`status` of a pod, computed from what was observed: phase, conditions, container statuses, addresses.

https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-phase. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from agents.node.conditions import OURS, conditions
from agents.node.container_status import container_status
from agents.node.observed import Observed
from agents.node.plan_termination import must_end, reported_terminal, verdict_of
from agents.node.podspec import (
    app_containers,
    ephemeral_containers,
    host_network,
    init_containers,
    is_sidecar,
    place_of,
    restarts_after,
)
from agents.node.resources import qos_class
from mesh.objects.meta import format_time, is_deleting, uid_of
from mesh.objects.types import Json, Object


@dataclass(frozen=True, slots=True)
class Host:
    """What a pod's status says of its node: addresses, primary family first, and the runtime's scheme."""

    addresses: tuple[str, ...]
    runtime: str = "docker"


def pod_status(pod: Object, observed: Observed, now: datetime, host: Host, old: Object | None = None) -> Object:
    """The whole status as the node sees it. `old` is the one reported last (by default the pod's own)."""
    before: Object = old if old is not None else pod.get("status") or {}
    ending = must_end(pod, observed, now, gone=False)
    apps = [container_status(pod, c, observed, now, runtime=host.runtime, ending=ending) for c in app_containers(pod)]
    inits = [container_status(pod, c, observed, now, runtime=host.runtime, ending=ending) for c in init_containers(pod)]
    others = [
        container_status(pod, c, observed, now, runtime=host.runtime, ending=ending) for c in ephemeral_containers(pod)
    ]
    verdict = verdict_of(pod, observed, now)
    status: Object = {"phase": _phase(pod, observed, apps, inits, before, failed=verdict is not None)}
    if status["phase"] in {"Succeeded", "Failed"}:
        _settle(apps)
    status["containerStatuses"] = apps
    if inits:
        status["initContainerStatuses"] = inits
    if others:
        status["ephemeralContainerStatuses"] = others
    sandbox = observed.sandbox
    wired = sandbox is not None and (bool(observed.addresses) or host_network(pod))
    status["conditions"] = conditions(pod, status, before, now, sandbox_ready=wired)
    if verdict is not None:
        status |= {"reason": verdict.reason, "message": verdict.message}
    elif before.get("phase") == "Failed" and before.get("reason"):
        status |= {"reason": before["reason"], "message": before.get("message", "")}
    status |= _addresses(pod, observed, before, host)
    status["startTime"] = format_time(observed.started_at) if observed.started_at else before.get("startTime")
    status["qosClass"] = before.get("qosClass") or qos_class(pod)
    if (generation := pod["metadata"].get("generation")) is not None:
        status["observedGeneration"] = generation
    return status


def _phase(
    pod: Object, observed: Observed, apps: list[Object], inits: list[Object], before: Object, *, failed: bool
) -> str:
    """Succeeded and Failed are final, and reported only when nothing of the pod runs any more."""
    if reported_terminal(pod) or before.get("phase") in {"Succeeded", "Failed"}:
        return str(before.get("phase") if before.get("phase") in {"Succeeded", "Failed"} else pod["status"]["phase"])
    phase = _phase_of_containers(pod, apps, inits)
    if failed and not observed.running:
        return "Failed"
    if is_deleting(pod) and not observed.running and phase == "Running":
        ended = [s["state"].get("terminated") for s in apps]
        if all(ended):
            return "Succeeded" if all(t["exitCode"] == 0 for t in ended if t) else "Failed"
    if phase in {"Succeeded", "Failed"} and observed.running:
        return "Running" if any(s.get("containerID") for s in apps) else "Pending"
    return phase


def _phase_of_containers(pod: Object, apps: list[Object], inits: list[Object]) -> str:
    started = any(s.get("containerID") for s in apps)
    if not started and any(_failed(s) and not _restarts(pod, s) for s in inits if not _belongs_to_sidecar(pod, s)):
        return "Failed"
    if not started and not all(s["started"] if _belongs_to_sidecar(pod, s) else s["ready"] for s in inits):
        return "Pending"
    running = [s for s in apps if "running" in s["state"]]
    stopped = [s for s in apps if "terminated" in s["state"] or ("waiting" in s["state"] and s["lastState"])]
    if len(running) + len(stopped) < len(apps):
        return "Pending"
    if running or any(_restarts(pod, s) for s in stopped):
        return "Running"
    return "Succeeded" if all(_code(s) == 0 for s in stopped) else "Failed"


def _restarts(pod: Object, status: Object) -> bool:
    """Whether a container that has ended as its status says is started again."""
    place = place_of(pod, status["name"])
    return place is not None and restarts_after(pod, place.container, _code(status))


def _belongs_to_sidecar(pod: Object, status: Object) -> bool:
    return any(is_sidecar(c) for c in init_containers(pod) if c["name"] == status["name"])


def _code(status: Object) -> int:
    ended = status["state"].get("terminated") or status["lastState"].get("terminated") or {}
    return int(ended.get("exitCode", 0))


def _failed(status: Object) -> bool:
    return "terminated" in status["state"] and _code(status) != 0


def _settle(apps: list[Object]) -> None:
    """In a pod that is over, a container that never ran is not waiting for anything any more."""
    for status in apps:
        if "waiting" in status["state"]:
            status["state"] = {
                "terminated": {
                    "exitCode": 137,
                    "reason": "ContainerStatusUnknown",
                    "message": "The container could not be located when the pod was terminated",
                    "startedAt": None,
                    "finishedAt": None,
                }
            }


def _addresses(pod: Object, observed: Observed, before: Object, host: Host) -> Object:
    part: Object = {}
    if host.addresses:
        part["hostIP"] = host.addresses[0]
        part["hostIPs"] = [{"ip": a} for a in host.addresses]
    pod_addresses = list(host.addresses if host_network(pod) and observed.sandbox else observed.addresses)
    if not pod_addresses:
        pod_addresses = [entry["ip"] for entry in before.get("podIPs") or ()]
    if pod_addresses:
        part["podIP"] = pod_addresses[0]
        part["podIPs"] = [{"ip": a} for a in pod_addresses]
    return part


def status_patch(pod: Object, status: Object, reported: Object) -> Json | None:
    """The strategic merge patch that makes the API show `status`, or None when `reported` shows it already.

    Conditions of others are left alone; lists that merge by key are replaced as a whole; the UID guards against a pod
    of the same name that came later.
    """
    body: Object = {
        key: None
        for key in ("reason", "message", "podIP", "podIPs", "initContainerStatuses")
        if key in reported and key not in status
    }
    for key, value in status.items():
        if key not in {"conditions", "podIPs"} and reported.get(key) != value:
            body[key] = value
    known = {c["type"]: c for c in reported.get("conditions") or ()}
    changed = [
        {"reason": None, "message": None} | c  # a merge keeps what is not named: say what has gone
        for c in status["conditions"]
        if c["type"] in OURS and _differs(c, known.get(c["type"]))
    ]
    if changed:
        body["conditions"] = changed
    if "podIPs" in status and reported.get("podIPs") != status["podIPs"]:
        body["podIPs"] = [{"$patch": "replace"}, *status["podIPs"]]
    if not body:
        return None
    return {"metadata": {"uid": uid_of(pod)}, "status": body}


def _differs(condition: Object, known: Object | None) -> bool:
    """PodScheduled is the scheduler's own: the node writes it only where it is missing."""
    if known is None:
        return True
    if condition["type"] == "PodScheduled":
        return False
    keys = ("status", "reason", "message", "observedGeneration")
    return any(condition.get(key) != known.get(key) for key in keys)

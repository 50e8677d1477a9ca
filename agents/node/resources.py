"""Requests and limits as cgroups count them, the pod's quality of service, and whether a pod fits the node.

Numbers as kubelet computes them (pkg/kubelet/cm/helpers_linux.go, pkg/kubelet/qos/policy.go);
https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from agents.node.observed import Verdict
from agents.node.podspec import app_containers, init_containers, is_sidecar
from agents.node.ports import Resources
from mesh.objects.quantity import to_int, to_milli
from mesh.objects.types import Object

SHARES_PER_CPU = 1024
MIN_SHARES = 2
MAX_SHARES = 262_144
PERIOD_US = 100_000
MIN_QUOTA_US = 1_000
GUARANTEED_OOM = -997
BEST_EFFORT_OOM = 1000


def shares(milli_cpu: int) -> int:
    """`cpu.shares` for a CPU request in thousandths."""
    return min(max(milli_cpu * SHARES_PER_CPU // 1000, MIN_SHARES), MAX_SHARES)


def quota(milli_cpu: int) -> int | None:
    """`cpu.cfs_quota_us` for a CPU limit in thousandths; None without a limit."""
    return max(milli_cpu * PERIOD_US // 1000, MIN_QUOTA_US) if milli_cpu else None


def amounts(container: Object, which: str) -> dict[str, str]:
    """`requests` or `limits` of a container."""
    found: dict[str, str] = (container.get("resources") or {}).get(which) or {}
    return found


def requests_of(container: Object) -> dict[str, str]:
    """What a container asks for: its requests, and its limits where it names no request."""
    return amounts(container, "limits") | amounts(container, "requests")


def qos_class(pod: Object) -> str:
    """`Guaranteed`, `Burstable` or `BestEffort`."""
    containers = [*init_containers(pod), *app_containers(pod)]
    named = [set(requests_of(c)) & {"cpu", "memory"} for c in containers]
    if not any(named):
        return "BestEffort"
    for container in containers:
        limits, requests = amounts(container, "limits"), requests_of(container)
        for resource in ("cpu", "memory"):
            if resource not in limits or to_milli(requests[resource]) != to_milli(limits[resource]):
                return "Burstable"
    return "Guaranteed"


def oom_score_adj(pod: Object, container: Object, node_memory: int) -> int:
    """How readily the kernel kills the container when memory runs out: the less it asked for, the sooner."""
    qos = qos_class(pod)
    if (pod["spec"].get("priority") or 0) >= 2_000_000_000 or qos == "Guaranteed":
        return GUARANTEED_OOM
    if qos == "BestEffort":
        return BEST_EFFORT_OOM
    memory = to_int(requests_of(container).get("memory", "0"))
    score = 1000 - (1000 * memory) // max(node_memory, 1)
    # Never as safe as Guaranteed, never quite as exposed as BestEffort.
    return min(max(score, 1000 + GUARANTEED_OOM), BEST_EFFORT_OOM - 1)


def container_resources(pod: Object, container: Object, node_memory: int) -> Resources:
    """The cgroup numbers of one container."""
    limits, requests = amounts(container, "limits"), requests_of(container)
    memory = to_int(limits.get("memory", "0"))
    return Resources(
        cpu_shares=shares(to_milli(requests.get("cpu", "0"))),
        cpu_quota_us=quota(to_milli(limits.get("cpu", "0"))),
        memory_bytes=memory or None,
        oom_score_adj=oom_score_adj(pod, container, node_memory),
    )


def pod_resources(pod: Object) -> Resources:
    """The cgroup numbers of a whole pod. A limit holds for the pod only where each of its containers has one
    (kubelet's ResourceConfigForPod)."""
    qos = qos_class(pod)
    if qos == "BestEffort":
        return Resources(cpu_shares=MIN_SHARES)
    containers = [*init_containers(pod), *app_containers(pod)]
    limited = {r for r in ("cpu", "memory") if all(to_milli(amounts(c, "limits").get(r, "0")) for c in containers)}
    return Resources(
        cpu_shares=shares(effective_request(pod, "cpu")),
        cpu_quota_us=quota(effective_limit(pod, "cpu")) if "cpu" in limited else None,
        memory_bytes=effective_limit(pod, "memory") if "memory" in limited else None,
    )


def class_resources(pods: Iterable[Object]) -> Resources:
    """The weight of the class Burstable: what its pods ask for in all."""
    return Resources(cpu_shares=shares(sum(effective_request(p, "cpu") for p in pods if qos_class(p) == "Burstable")))


def node_resources(allocatable: Mapping[str, str]) -> Resources:
    """What all pods of the node may use together (kubelet's enforceNodeAllocatable)."""
    return Resources(
        cpu_shares=shares(to_milli(allocatable["cpu"])),
        memory_bytes=to_int(allocatable["memory"]),
    )


def effective_request(pod: Object, resource: str) -> int:
    """What the scheduler counted for the pod: thousandths for cpu, whole units for all else."""
    return _effective(pod, resource, requests_of)


def effective_limit(pod: Object, resource: str) -> int:
    """What the pod's containers may use together, where each has a limit; in the same units."""
    return _effective(pod, resource, lambda container: amounts(container, "limits"))


def _effective(pod: Object, resource: str, amounts_of: Callable[[Object], Mapping[str, str]]) -> int:
    """Init containers run one by one beside the sidecars started before them: the highest such sum counts if it is more
    than what app containers and sidecars need together (KEP-753)."""
    read = to_milli if resource == "cpu" else to_int
    total = sum(read(amounts_of(c).get(resource, "0")) for c in app_containers(pod))
    beside = peak = 0
    for container in init_containers(pod):
        amount = read(amounts_of(container).get(resource, "0"))
        if is_sidecar(container):
            beside += amount
            peak = max(peak, beside)
        else:
            peak = max(peak, beside + amount)
    overhead = read((pod["spec"].get("overhead") or {}).get(resource, "0"))
    return max(total + beside, peak) + overhead


def refuse(pod: Object, others: Iterable[Object], allocatable: Mapping[str, str]) -> Verdict | None:
    """Why the node cannot take the pod beside `others`, in kubelet's words, or None when it fits."""
    running = list(others)
    if len(running) + 1 > to_int(allocatable.get("pods", "110")):
        return _out_of("pods", 1, len(running), to_int(allocatable.get("pods", "110")))
    wanted = sorted({name for c in (*init_containers(pod), *app_containers(pod)) for name in requests_of(c)})
    for resource in wanted:
        need = effective_request(pod, resource)
        read = to_milli if resource == "cpu" else to_int
        capacity = read(allocatable.get(resource, "0"))
        used = sum(effective_request(other, resource) for other in running)
        if need and used + need > capacity:
            return _out_of(resource, need, used, capacity)
    return None


def _out_of(resource: str, requested: int, used: int, capacity: int) -> Verdict:
    sentence = (
        f"Node didn't have enough resource: {resource}, requested: {requested}, used: {used}, capacity: {capacity}"
    )
    return Verdict(f"OutOf{resource}", f"Pod was rejected: {sentence}")

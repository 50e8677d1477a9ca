"""One function for each kind that has a description of its own; others show their fields as they are. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from cli.describe import common
from cli.describe.layout import NONE, UNSET, Page, local_time
from cli.printing import to_yaml
from mesh.objects.duration import since
from mesh.objects.kinds import CONFIGMAPS, DEPLOYMENTS, NODES, PODS, REPLICASETS, SECRETS, SERVICES, Resource
from mesh.objects.labels import equal_to, from_object
from mesh.objects.meta import labels_of, name_of, namespace_of
from mesh.objects.quantity import to_int, to_milli
from mesh.objects.types import Object


@dataclass(frozen=True, slots=True)
class Related:
    """What a description shows beside the object: its events, and for some kinds other objects."""

    events: Sequence[Object] = ()
    pods: Sequence[Object] = ()
    slices: Sequence[Object] = ()
    replica_sets: Sequence[Object] = field(default_factory=tuple)


def describe(resource: Resource, obj: Object, related: Related, now: datetime) -> str:
    """The whole description of one object."""
    page = Page()
    _KINDS.get(resource, _anything)(page, obj, related, now)
    common.events(page, related.events, now)
    return str(page)


def _pod(page: Page, pod: Object, _related: Related, _now: datetime) -> None:
    spec, status = pod["spec"], pod.get("status") or {}
    page.field("Name", name_of(pod))
    page.field("Namespace", namespace_of(pod))
    page.field("Priority", spec.get("priority", 0))
    page.field("Service Account", spec.get("serviceAccountName", "default"))
    node = spec.get("nodeName")
    page.field("Node", f"{node}/{status.get('hostIP', '')}" if node else NONE)
    if status.get("startTime"):
        page.field("Start Time", local_time(status["startTime"]))
    page.pairs("Labels", labels_of(pod))
    shown = {k: v for k, v in (pod["metadata"].get("annotations") or {}).items() if "last-applied" not in k}
    page.pairs("Annotations", shown, joint=": ")
    deleted = pod["metadata"].get("deletionTimestamp")
    page.field("Status", f"Terminating (lasts {since(deleted, _now)})" if deleted else status.get("phase", "Pending"))
    for name in ("reason", "message"):
        if status.get(name):
            page.field(name.capitalize(), status[name])
    page.field("IP", status.get("podIP", ""))
    page.heading("IPs") if status.get("podIPs") else page.field("IPs", NONE)
    for address in status.get("podIPs") or ():
        page.field("IP", address["ip"], indent=2)
    common.controlled_by(page, pod)
    if spec.get("initContainers"):
        common.containers(page, "Init Containers", spec["initContainers"], status.get("initContainerStatuses") or ())
    common.containers(page, "Containers", spec["containers"], status.get("containerStatuses") or ())
    if debug := spec.get("ephemeralContainers"):
        common.containers(page, "Ephemeral Containers", debug, status.get("ephemeralContainerStatuses") or ())
    common.conditions(page, pod, reasons=False)
    common.volumes(page, spec.get("volumes") or ())
    page.field("QoS Class", status.get("qosClass", ""))
    common.placement(page, spec)


def _deployment(page: Page, found: Object, related: Related, _now: datetime) -> None:
    spec, status = found["spec"], found.get("status") or {}
    _workload_head(page, found)
    page.field("Replicas", f"{spec.get('replicas', 1)} desired | {status.get('updatedReplicas', 0)} updated | "
               f"{status.get('replicas', 0)} total | {status.get('availableReplicas', 0)} available | "
               f"{status.get('unavailableReplicas', 0)} unavailable")  # fmt: skip
    strategy = spec.get("strategy") or {}
    page.field("StrategyType", strategy.get("type", ""))
    page.field("MinReadySeconds", spec.get("minReadySeconds", 0))
    rolling = strategy.get("rollingUpdate")
    if rolling:
        text = f"{rolling.get('maxUnavailable')} max unavailable, {rolling.get('maxSurge')} max surge"
        page.field("RollingUpdateStrategy", text)
    common.template(page, spec["template"])
    common.conditions(page, found, reasons=True)
    page.listed("ReplicaSets", [_replica_set_line(rs) for rs in related.replica_sets])


def _replica_set_line(found: Object) -> str:
    status = found.get("status") or {}
    return f"{name_of(found)} ({status.get('replicas', 0)}/{found['spec'].get('replicas', 0)} replicas created)"


def _replica_set(page: Page, found: Object, related: Related, _now: datetime) -> None:
    spec, status = found["spec"], found.get("status") or {}
    _workload_head(page, found)
    common.controlled_by(page, found)
    page.field("Replicas", f"{status.get('replicas', 0)} current / {spec.get('replicas', 1)} desired")
    phases = [(p.get("status") or {}).get("phase", "Unknown") for p in related.pods]
    names = ("Running", "Waiting", "Succeeded", "Failed")
    counted = [phases.count("Pending" if n == "Waiting" else n) for n in names]
    page.field("Pods Status", " / ".join(f"{c} {n}" for c, n in zip(counted, names, strict=True)))
    common.template(page, spec["template"])
    common.conditions(page, found, reasons=True)


def _workload_head(page: Page, found: Object) -> None:
    page.field("Name", name_of(found))
    page.field("Namespace", namespace_of(found))
    page.field("CreationTimestamp", local_time(found["metadata"].get("creationTimestamp")))
    page.field("Selector", str(from_object(found["spec"]["selector"])) or NONE)
    page.pairs("Labels", labels_of(found))
    shown = {k: v for k, v in (found["metadata"].get("annotations") or {}).items() if "last-applied" not in k}
    page.pairs("Annotations", shown, joint=": ")


def _service(page: Page, found: Object, related: Related, _now: datetime) -> None:
    spec = found["spec"]
    common.metadata(page, found)
    page.field("Selector", str(equal_to(spec.get("selector"))) or NONE)
    page.field("Type", spec.get("type", "ClusterIP"))
    page.field("IP Family Policy", spec.get("ipFamilyPolicy", UNSET))
    page.field("IP Families", ",".join(spec.get("ipFamilies") or ()) or UNSET)
    page.field("IP", spec.get("clusterIP", ""))
    page.field("IPs", ",".join(spec.get("clusterIPs") or ()) or NONE)
    if spec.get("externalName"):
        page.field("External Name", spec["externalName"])
    for port in spec.get("ports") or ():
        name, protocol = port.get("name") or UNSET, port.get("protocol", "TCP")
        page.field("Port", f"{name}  {port['port']}/{protocol}")
        page.field("TargetPort", f"{port.get('targetPort', port['port'])}/{protocol}")
        if port.get("nodePort"):
            page.field("NodePort", f"{name}  {port['nodePort']}/{protocol}")
        page.field("Endpoints", ",".join(_endpoints(related.slices, port)) or NONE)
    page.field("Session Affinity", spec.get("sessionAffinity", "None"))
    if spec.get("externalTrafficPolicy"):
        page.field("External Traffic Policy", spec["externalTrafficPolicy"])
    page.field("Internal Traffic Policy", spec.get("internalTrafficPolicy", "Cluster"))


def _endpoints(slices: Sequence[Object], port: Object) -> list[str]:
    found = []
    for piece in slices:
        numbers = [p["port"] for p in piece.get("ports") or () if (p.get("name") or "") == (port.get("name") or "")]
        for endpoint in piece.get("endpoints") or ():
            if (endpoint.get("conditions") or {}).get("ready", True):
                found += [f"{address}:{number}" for address in endpoint["addresses"] for number in numbers]
    return sorted(found)


def _node(page: Page, node: Object, related: Related, now: datetime) -> None:
    spec, status = node.get("spec") or {}, node.get("status") or {}
    page.field("Name", name_of(node))
    roles = [
        k.removeprefix("node-role.kubernetes.io/") for k in labels_of(node) if k.startswith("node-role.kubernetes.io/")
    ]
    page.field("Roles", ",".join(sorted(roles)) or NONE)
    page.pairs("Labels", labels_of(node))
    page.pairs("Annotations", node["metadata"].get("annotations"), joint=": ")
    page.field("CreationTimestamp", local_time(node["metadata"].get("creationTimestamp")))
    taints = [f"{t['key']}{'=' + t['value'] if t.get('value') else ''}:{t['effect']}" for t in spec.get("taints") or ()]
    page.listed("Taints", taints)
    page.field("Unschedulable", str(bool(spec.get("unschedulable"))).lower())
    rows = [
        (c["type"], c["status"], local_time(c.get("lastHeartbeatTime")), local_time(c.get("lastTransitionTime")),
         c.get("reason", ""), c.get("message", "")) for c in status.get("conditions") or ()
    ]  # fmt: skip
    page.heading("Conditions")
    page.table(["Type", "Status", "LastHeartbeatTime", "LastTransitionTime", "Reason", "Message"], rows)
    page.heading("Addresses")
    for address in status.get("addresses") or ():
        page.field(address["type"], address["address"], indent=2)
    for title in ("capacity", "allocatable"):
        page.heading(title.capitalize())
        for name, amount in sorted((status.get(title) or {}).items()):
            page.field(name, amount, indent=2)
    page.heading("System Info")
    for name, value in (status.get("nodeInfo") or {}).items():
        page.field(name[0].upper() + name[1:], value, indent=2)
    page.field("PodCIDR", spec.get("podCIDR", ""))
    page.field("PodCIDRs", ",".join(spec.get("podCIDRs") or ()))
    _node_pods(page, node, related, now)


def _node_pods(page: Page, node: Object, related: Related, now: datetime) -> None:
    running = [p for p in related.pods if (p.get("status") or {}).get("phase") not in {"Succeeded", "Failed"}]
    page.line("Non-terminated Pods:", f"({len(running)} in total)")
    rows, total_cpu, total_memory = [], 0, 0
    for pod in sorted(running, key=lambda p: (namespace_of(p), name_of(p))):
        requests = [(c.get("resources") or {}).get("requests") or {} for c in pod["spec"]["containers"]]
        cpu = sum(to_milli(r.get("cpu", 0)) for r in requests)
        memory = sum(to_int(r.get("memory", 0)) for r in requests)
        total_cpu, total_memory = total_cpu + cpu, total_memory + memory
        born = since(pod["metadata"].get("creationTimestamp"), now)
        rows.append((namespace_of(pod), name_of(pod), f"{cpu}m", f"{memory // 1024 // 1024}Mi", born))
    page.table(["Namespace", "Name", "CPU Requests", "Memory Requests", "Age"], rows)
    allocatable = (node.get("status") or {}).get("allocatable") or {}
    page.heading("Allocated resources")
    have_cpu, have_memory = to_milli(allocatable.get("cpu", 0)), to_int(allocatable.get("memory", 0))
    page.table(["Resource", "Requests"], [
        ("cpu", f"{total_cpu}m ({100 * total_cpu // max(1, have_cpu)}%)"),
        ("memory", f"{total_memory // 1024 // 1024}Mi ({100 * total_memory // max(1, have_memory)}%)"),
    ])  # fmt: skip


def _config_map(page: Page, found: Object, _related: Related, _now: datetime) -> None:
    common.metadata(page, found)
    page.line("")
    page.line("Data")
    page.line("====")
    for key, value in sorted((found.get("data") or {}).items()):
        page.line(f"{key}:")
        page.line("----")
        for line in str(value).splitlines():
            page.line(line)
        page.line("")


def _secret(page: Page, found: Object, _related: Related, _now: datetime) -> None:
    import base64

    common.metadata(page, found)
    page.field("Type", found.get("type", "Opaque"))
    page.line("Data")
    page.line("====")
    for key, value in sorted((found.get("data") or {}).items()):
        page.field(key, f"{len(base64.b64decode(value))} bytes")


def _anything(page: Page, found: Object, _related: Related, _now: datetime) -> None:
    common.metadata(page, found, namespaced="namespace" in found["metadata"])
    rest = {k: v for k, v in found.items() if k not in {"metadata", "status"}}
    if found.get("status"):
        rest["status"] = found["status"]
    for line in to_yaml(rest).splitlines():
        page.line(line)


_KINDS: dict[Resource, Callable[[Page, Object, Related, datetime], None]] = {
    PODS: _pod,
    DEPLOYMENTS: _deployment,
    REPLICASETS: _replica_set,
    SERVICES: _service,
    NODES: _node,
    CONFIGMAPS: _config_map,
    SECRETS: _secret,
}

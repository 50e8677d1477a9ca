"""What must be true some time after the last fault: the cluster is as its users asked for, and at rest."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from controlplane.controllers import pods
from mesh.objects.kinds import DEPLOYMENTS, ENDPOINTSLICES, NODES, PODS, REPLICASETS, SERVICES
from mesh.objects.labels import equal_to
from mesh.objects.meta import controller_of, is_deleting, key_of, labels_of, name_of, namespace_of, uid_of
from tests.simulation.virtual import MachineClock

if TYPE_CHECKING:
    from mesh.objects.types import Object
    from tests.simulation.world import World

SETTLED = "Once faults have stopped, everything converges."
WITHIN = 240.0
"""Virtual seconds. The longest wait in it: a node's agent backs off from a container that crashed several times."""


def unsettled(world: World) -> list[str]:
    """Everything that is not yet as it should be, in words; nothing once all is well."""
    return [
        *_deployments(world),
        *_left_over(world),
        *_pods(world),
        *_services(world),
        *_nodes(world),
        *_machines(world),
        *_controllers(world),
    ]


def _deployments(world: World) -> Iterator[str]:
    """Every Deployment has as many pods as it wants, all of its present template, available, on Ready nodes. A pod that has
    to stay ready for a while (`minReadySeconds`), and became ready while its node's clock was fast, is available when that
    time comes, as in Kubernetes: such a one need not be counted yet."""
    now = MachineClock().now()
    for deployment in world.history.objects(DEPLOYMENTS):
        name, wanted, status = name_of(deployment), deployment["spec"]["replicas"], deployment.get("status") or {}
        counts = {k: status.get(k, 0) for k in ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")}
        early = _ready_in_future(world, deployment, now) if deployment["spec"].get("minReadySeconds") else 0
        available = counts.pop("availableReplicas")
        if set(counts.values()) != {wanted} or not wanted - early <= available <= wanted:
            counts["availableReplicas"] = available
            yield f"Deployment {name} wants {wanted} and shows {counts}"
        if status.get("observedGeneration") != deployment["metadata"]["generation"]:
            yield f"Deployment {name} has not observed its last change"
        if is_deleting(deployment):
            yield f"Deployment {name} is still being deleted"


def _ready_in_future(world: World, deployment: Object, now: datetime) -> int:
    """How many of a Deployment's pods say that they became ready at a time that is still to come."""
    mine = {uid_of(r) for r in world.history.objects(REPLICASETS) if _owner(r) == uid_of(deployment)}
    ready = [pods.ready_since(pod) for pod in world.history.objects(PODS) if _owner(pod) in mine]
    return sum(since > now for since in ready if since is not None)


def _owner(obj: Object) -> str:
    owner = controller_of(obj)
    return str(owner["uid"]) if owner is not None else ""


def _left_over(world: World) -> Iterator[str]:
    """Nothing is left of owners that are gone."""
    uids = {uid_of(obj) for resource in (DEPLOYMENTS, REPLICASETS) for obj in world.history.objects(resource)}
    for resource in (REPLICASETS, PODS):
        for obj in world.history.objects(resource):
            owner = controller_of(obj)
            if owner is not None and owner["uid"] not in uids:
                yield f"{resource.singular} {name_of(obj)} has outlived its owner"


def _pods(world: World) -> Iterator[str]:
    """Every pod that has not ended runs, is ready, and its containers are on the node that it names."""
    ready_nodes = {name_of(node) for node in world.history.objects(NODES) if _is_ready(node)}
    running = {uid: node.name for node in world.nodes for uid in node.runtime.running().values()}
    for pod in world.history.objects(PODS):
        name, node = key_of(pod), pod["spec"].get("nodeName", "")
        if is_deleting(pod):
            yield f"Pod {name} is still being deleted"
        elif pods.is_terminal(pod):
            if controller_of(pod) is not None and node not in ready_nodes:
                yield f"Pod {name} has ended on {node}, which is gone"
        elif not pods.is_ready(pod) or node not in ready_nodes:
            yield f"Pod {name} on {node!r} is not ready: {pod.get('status', {}).get('phase')}"
        elif running.get(uid_of(pod)) != node:
            yield f"Pod {name} should run on {node}, and runs on {running.get(uid_of(pod))}"


def _is_ready(node: Object) -> bool:
    conditions = (node.get("status") or {}).get("conditions") or ()
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def _services(world: World) -> Iterator[str]:
    """Every Service's endpoints are exactly its ready pods."""
    slices = world.history.objects(ENDPOINTSLICES)
    for service in world.history.objects(SERVICES):
        selector = service["spec"].get("selector")
        if not selector:
            continue
        chosen = equal_to(selector)
        wanted = {
            pods.addresses(pod)[0]
            for pod in world.history.objects(PODS)
            if namespace_of(pod) == namespace_of(service) and chosen.matches(labels_of(pod)) and pods.is_ready(pod)
        }
        mine = [s for s in slices if labels_of(s).get("kubernetes.io/service-name") == name_of(service)]
        named = {e["addresses"][0] for s in mine for e in s.get("endpoints") or () if e["conditions"].get("ready")}
        if wanted != named:
            yield f"Service {name_of(service)} names {sorted(named)}, and {sorted(wanted)} are ready"


def _nodes(world: World) -> Iterator[str]:
    """Every node is registered, Ready and without taints."""
    nodes = {name_of(node): node for node in world.history.objects(NODES)}
    for machine in world.nodes:
        node = nodes.get(machine.name)
        if node is None or not _is_ready(node):
            yield f"Node {machine.name} is not Ready"
        elif node["spec"].get("taints"):
            yield f"Node {machine.name} is tainted: {[t['key'] for t in node['spec']['taints']]}"


def _machines(world: World) -> Iterator[str]:
    """Nothing runs, is kept or holds an address for a pod that is gone."""
    there = {uid_of(pod) for pod in world.history.objects(PODS)}
    for node in world.nodes:
        for uid in sorted(node.runtime.present() - there):
            yield f"{node.name} still has something of pod {_name(world, uid)}"
        sandboxes = node.runtime.sandbox_ids()
        for sandbox in node.network.ledger.holders:
            if sandbox not in sandboxes:
                yield f"{node.name} keeps an address for {sandbox}, which is gone"


def _name(world: World, uid: str) -> str:
    pod = world.pods_ever.get(uid)
    return uid if pod is None else str(key_of(pod))


def _controllers(world: World) -> Iterator[str]:
    """One server leads, its controllers have nothing to do, and nobody writes."""
    leading = [server.manager for server in world.servers if server.manager is not None and server.manager.leading]
    if len(leading) != 1:
        yield f"{len(leading)} servers lead"
    if any(not manager._runtime.idle for manager in leading):
        yield "controllers are at work"
    if world.now - world.written_at < 5.0:
        yield "objects are being written"

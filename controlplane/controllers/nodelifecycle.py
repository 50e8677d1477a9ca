"""The node lifecycle controller: notices that a node has gone, tells everybody, and moves its pods.

Pure. A node that falls silent gets conditions Unknown, its pods are taken out of their Services, it is tainted, and
pods go when they no longer tolerate the taints. Three rules make haste safe: a pod with an exclusive identity on a silent
node is removed only when the node has certainly fenced itself; while most nodes are silent nobody is evicted, for
then it is the broker or the leader that is ill; and nobody is evicted from a node whose proxy is heard, for it lacks only
its agent, which will be started again. Conditions, taints and events: Kubernetes' pkg/controller/nodelifecycle
and pkg/controller/tainteviction.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from controlplane.controllers import conditions, pods, taints
from controlplane.controllers.node_health import HealthSource, NodeHealth
from mesh.objects.kinds import NODES, PODS
from mesh.objects.meta import Key, format_time, is_deleting, key_of, name_of, thaw, uid_of
from mesh.objects.types import Object
from mesh.plan.actions import NOTHING, Action, Delete, Plan, Record, Update
from mesh.plan.controller import Cache, Caches, Observed, Watch, itself

BY_NODE = "node"
_REPORTED = ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")
_MOST_PER_PASS = 500
_LOOK_AGAIN = timedelta(seconds=1)
"""While nobody is to be evicted yet."""


def node_names(pod: Object) -> Iterable[str]:
    """Index: the node a pod is assigned to."""
    name = pod["spec"].get("nodeName")
    return (name,) if name else ()


def _wake_node(pod: Object, caches: Caches) -> Iterable[Key]:
    """Its node, unless that is well and bears no taint: then nothing is to be done for its pods, however they change."""
    for name in node_names(pod):
        node = caches[NODES].get(Key("", name))
        if node is not None and (taints.of(node) or taints.ready_status(node) != "True"):
            yield Key("", name)


class NodeLifecycleController:
    """Declares nodes unreachable, taints them, evicts. `health` tells who has been heard."""

    name = "node-controller"
    watches: Sequence[Watch] = (Watch(NODES, itself), Watch(PODS, _wake_node, {BY_NODE: node_names}))

    def __init__(self, health: HealthSource) -> None:
        self._health = health

    def plan(self, key: Key, observed: Observed) -> Plan:
        """One step: conditions, then taints, then pods. Each is seen by the next pass."""
        node = observed.caches[NODES].get(key)
        if node is None:
            return NOTHING
        health = self._health()
        ready = taints.ready_status(node)
        if health.is_silent(key.name):
            if told := _declare_unknown(node, observed.now):
                return Plan(told)
            held = health.lacks_only_its_agent(key.name) or _most_are_silent(observed.caches[NODES], health)
            marked = taints.has(node, taints.UNREACHABLE, "NoExecute")
            return _taint(node, observed.now, execute=marked or not held) or (
                Plan(again_after=_LOOK_AGAIN) if held else _move_pods(node, observed, health)
            )
        if ready == "Unknown" and not health.is_heard(key.name):
            # This leader has not listened for long enough to know better than the one before it.
            return NOTHING
        # Only the agent can take Unknown back; but who speaks is not to lose its pods for having been silent.
        return _taint(node, observed.now, execute=ready == "False") or _move_pods(node, observed, None)


def _taint(node: Object, now: datetime, *, execute: bool) -> Plan | None:
    """The write that gives the node the taints it should have, if it has not."""
    wanted = taints.wanted(node, now, execute=execute)
    if wanted == taints.of(node):
        return None
    new = thaw(node)
    new.setdefault("spec", {})["taints"] = wanted
    return Plan((Update(NODES, new),))


def _declare_unknown(node: Object, now: datetime) -> tuple[Action, ...]:
    """Conditions Unknown, and an Event; nothing once they are."""
    status = node.get("status") or {}
    found = status.get("conditions") or []
    missing = [kind for kind in _REPORTED if _state(found, kind) != "Unknown"]
    if not missing:
        return ()
    was_ready = _state(found, "Ready") == "True"
    for kind in missing:
        old = conditions.find(found, kind)
        reason, message = "NodeStatusUnknown", "Kubelet stopped posting node status."
        if old is None:
            reason, message = "NodeStatusNeverUpdated", "Kubelet never posted node status."
        made = conditions.make(old, kind, "Unknown", reason=reason, message=message, now=now)
        beat = (old or {}).get("lastHeartbeatTime") or node["metadata"].get("creationTimestamp") or format_time(now)
        found = [*conditions.without(found, kind), {**made, "lastHeartbeatTime": beat}]
    actions: list[Action] = [Update(NODES, {**node, "status": {**status, "conditions": found}}, "status")]
    if was_ready:
        message = f"Node {name_of(node)} status is now: NodeNotReady"
        actions.append(Record(node, "Normal", "NodeNotReady", message))
    return tuple(actions)


def _state(found: Sequence[Object], kind: str) -> str:
    condition = conditions.find(found, kind)
    return "" if condition is None else str(condition["status"])


def _most_are_silent(nodes: Cache, health: NodeHealth) -> bool:
    """Whether more nodes have fallen silent than can be heard, not counting those declared dead one by one before."""
    silent = [node for node in nodes.list() if health.is_silent(name_of(node))]
    suspects = sum(not taints.has(node, taints.UNREACHABLE, "NoExecute") for node in silent)
    return suspects > len(nodes.list()) - len(silent)


def _move_pods(node: Object, observed: Observed, silent: NodeHealth | None) -> Plan:
    """Take the pods of a silent node out of service, and evict those whose time is up. `silent` is given when the node
    cannot be heard: then exclusive pods have to wait for its fence."""
    noexecute = [taint for taint in taints.of(node) if taint["effect"] == "NoExecute"]
    found = [pod for pod in observed.caches[PODS].index(BY_NODE, name_of(node)) if not pods.is_terminal(pod)]
    found.sort(key=key_of)
    unready = [pod for pod in found if pods.is_ready(pod)] if silent is not None else []
    due: list[Object] = []
    waits: list[timedelta] = []
    for pod in found:
        wait = taints.until_eviction(pod, noexecute, observed.now) if noexecute else None
        by_force = silent is not None and pods.is_exclusive(pod)
        if wait is None or (is_deleting(pod) and not by_force):
            continue
        if silent is not None and by_force:
            wait = max(wait, silent.until_fenced(name_of(node)))
        if wait:
            waits.append(wait)
        else:
            due.append(pod)
    due = due[:_MOST_PER_PASS]
    actions: list[Action] = [_not_ready(pod, observed.now) for pod in unready[:_MOST_PER_PASS]]
    actions += [_marking(pod) for pod in due]
    actions += [_evict(pod, force=silent is not None and pods.is_exclusive(pod)) for pod in due]
    return Plan(tuple(actions), min(waits, default=None), parallel=True)


def _not_ready(pod: Object, now: datetime) -> Update:
    """Nobody can say that the pod is ready, so Services stop sending to it. Its agent puts that right when it can."""
    new = thaw(pod)
    for condition in new["status"]["conditions"]:
        if condition["type"] == "Ready":
            condition |= {"status": "False", "lastTransitionTime": format_time(now)}
    return Update(PODS, new, "status")


def _marking(pod: Object) -> Record:
    return Record(pod, "Normal", "TaintManagerEviction", f"Marking for deletion Pod {key_of(pod)}")


def _evict(pod: Object, *, force: bool) -> Delete:
    """Delete a pod; by force when its node can no longer end it and has certainly done so by itself."""
    return Delete(PODS, key_of(pod), uid_of(pod), grace_period_seconds=0 if force else None)

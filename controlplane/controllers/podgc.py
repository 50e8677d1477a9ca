"""The pod collector: removes pods that no agent will ever remove.

Pure. That is: pods of a node that no longer exists, once it has certainly fenced itself, and pods deleted before they
had a node. Behaviour: Kubernetes' pkg/controller/podgc (its quarantine of 40 s is the fence time here).
Not done: the limit on the number of ended pods.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from controlplane.controllers import conditions, pods
from controlplane.controllers.node_health import HealthSource
from controlplane.controllers.nodelifecycle import BY_NODE, node_names
from mesh.objects.kinds import NODES, PODS
from mesh.objects.meta import Key, is_deleting, key_of, name_of, thaw, uid_of
from mesh.objects.types import Object
from mesh.plan.actions import NOTHING, Action, Delete, Plan, Read, Update
from mesh.plan.controller import Caches, Observed, Watch


def _wake_lost(pod: Object, caches: Caches) -> Iterable[Key]:
    """A pod whose node is unknown, or that is deleted without having one."""
    node = pod["spec"].get("nodeName")
    lost = is_deleting(pod) if not node else caches[NODES].get(Key("", node)) is None
    return (key_of(pod),) if lost else ()


def _wake_pods(node: Object, caches: Caches) -> Iterable[Key]:
    """The pods of a node that is gone."""
    if caches[NODES].get(key_of(node)) is not None:
        return ()
    return (key_of(pod) for pod in caches[PODS].index(BY_NODE, name_of(node)))


class PodCollector:
    """Deletes lost pods by force. `health` tells when a vanished node has certainly fenced itself."""

    name = "pod-garbage-collector"
    watches: Sequence[Watch] = (Watch(PODS, _wake_lost, {BY_NODE: node_names}), Watch(NODES, _wake_pods))

    def __init__(self, health: HealthSource) -> None:
        self._health = health

    def plan(self, key: Key, observed: Observed) -> Plan:
        """For the pod `key`."""
        pod = observed.caches[PODS].get(key)
        if pod is None or not _wake_lost(pod, observed.caches):
            return NOTHING
        delete = Delete(PODS, key, uid_of(pod), grace_period_seconds=0)
        node = pod["spec"].get("nodeName")
        if not node:
            return Plan((delete,))
        read = Read(NODES, name=node)
        if read not in observed.answers:
            return Plan(reads=(read,))
        if observed.answers[read]:
            return NOTHING
        wait = self._health().until_fenced(node)
        if wait:
            return Plan(again_after=wait)
        first: tuple[Action, ...] = () if pods.is_terminal(pod) else (_failed(pod, observed),)
        return Plan((*first, delete))


def _failed(pod: Object, observed: Observed) -> Update:
    """A pod that vanishes with its node has failed, for whoever counts such things."""
    new = thaw(pod)
    status = new.setdefault("status", {})
    status["phase"] = "Failed"
    status["conditions"] = conditions.put(
        status.get("conditions") or [],
        "DisruptionTarget",
        "True",
        reason="DeletionByPodGC",
        message="PodGC: node no longer exists",
        now=observed.now,
    )
    return Update(PODS, new, "status")

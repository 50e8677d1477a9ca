"""The ReplicaSet controller: as many active pods of one template as `spec.replicas` says.

Pure. Behaviour, event reasons and status fields: Kubernetes' pkg/controller/replicaset.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta

from controlplane.controllers import conditions, pods
from controlplane.controllers.ownership import BY_CONTROLLER, OWNED_INDEXES, claim, controller_uids, wake_owner
from mesh.objects.kinds import PODS, REPLICASETS
from mesh.objects.meta import (
    Key,
    controller_of,
    is_deleting,
    key_of,
    labels_of,
    name_of,
    namespace_of,
    owner_reference,
    thaw,
    uid_of,
)
from mesh.objects.types import Object
from mesh.plan.actions import NOTHING, Action, Create, Delete, Plan, Update
from mesh.plan.controller import Caches, Failure, Observed, Watch, itself

_MOST_PER_PASS = 500


class ReplicaSetController:
    """Creates and deletes pods until their number is right, and reports how they are."""

    name = "replicaset-controller"
    watches: Sequence[Watch] = (
        Watch(REPLICASETS, itself, {BY_CONTROLLER: controller_uids}),
        Watch(PODS, wake_owner(REPLICASETS), OWNED_INDEXES),
    )

    def plan(self, key: Key, observed: Observed) -> Plan:
        """Adopt and release first; then status, then one bounded step towards the right number."""
        rs = observed.caches[REPLICASETS].get(key)
        if rs is None:
            return NOTHING
        claimed = claim(rs, REPLICASETS, PODS, observed)
        if claimed.first is not None:
            return claimed.first
        active = [pod for pod in claimed.owned if pods.is_active(pod)]
        terminating = [pod for pod in claimed.owned if is_deleting(pod) and not pods.is_terminal(pod)]
        actions: list[Action] = []
        status = _status(rs, active, terminating, observed)
        if status != rs.get("status"):
            actions.append(Update(REPLICASETS, {**thaw(rs), "status": status}, "status"))
        if not is_deleting(rs):
            actions += _manage(rs, active, terminating, observed)
        return Plan(tuple(actions), _next_available(rs, active, observed.now), parallel=True)


def _manage(rs: Object, active: Sequence[Object], terminating: Sequence[Object], observed: Observed) -> list[Action]:
    """The creations or deletions of one pass. A pod that must never run twice is replaced only once it is gone."""
    missing = _replicas(rs) - len(active)
    if missing > 0:
        missing = max(missing - sum(pods.is_exclusive(pod) for pod in terminating), 0)
        return [Create(PODS, new_pod(rs), about=rs) for _ in range(min(missing, _MOST_PER_PASS))]
    surplus = min(-missing, _MOST_PER_PASS)
    victims = _victims(rs, active, observed)[:surplus] if surplus else []
    return [Delete(PODS, key_of(pod), uid_of(pod), about=rs) for pod in victims]


def new_pod(rs: Object) -> Object:
    """A pod of the ReplicaSet's template, owned by it, its name left to the API."""
    template = rs["spec"]["template"]
    given = template.get("metadata") or {}
    meta: Object = {"generateName": f"{name_of(rs)}-", "namespace": namespace_of(rs)}
    for part in ("labels", "annotations", "finalizers"):
        if given.get(part):
            meta[part] = thaw(given[part])
    meta["ownerReferences"] = [owner_reference(rs)]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": thaw(template["spec"])}


def _victims(rs: Object, active: Sequence[Object], observed: Observed) -> list[Object]:
    """The active pods, those to be deleted first in front."""
    crowd = Counter(pod["spec"].get("nodeName", "") for pod in _related(rs, observed.caches) if pods.is_active(pod))
    return sorted(active, key=lambda pod: pods.victim_order(pod, crowd[pod["spec"].get("nodeName", "")], observed.now))


def _related(rs: Object, caches: Caches) -> list[Object]:
    """The pods of all ReplicaSets of the same Deployment, or of this one alone."""
    owner = controller_of(rs)
    family = [rs] if owner is None else caches[REPLICASETS].index(BY_CONTROLLER, owner["uid"])
    return [pod for member in family for pod in caches[PODS].index(BY_CONTROLLER, uid_of(member))]


def _status(rs: Object, active: Sequence[Object], terminating: Sequence[Object], observed: Observed) -> Object:
    """`ReplicaSetStatus` as observed."""
    template_labels = (rs["spec"]["template"].get("metadata") or {}).get("labels") or {}
    waits = [pods.until_available(pod, _min_ready(rs), observed.now) for pod in active]
    counts = {
        "fullyLabeledReplicas": sum(template_labels.items() <= labels_of(pod).items() for pod in active),
        "readyReplicas": sum(wait is not None for wait in waits),
        "availableReplicas": sum(wait == timedelta() for wait in waits),
    }
    status: Object = {"replicas": len(active)} | {name: count for name, count in counts.items() if count}
    status["terminatingReplicas"] = len(terminating)
    status["observedGeneration"] = rs["metadata"].get("generation", 0)
    found = _conditions(rs, observed.failure, observed.now)
    if found:
        status["conditions"] = found
    return status


def _conditions(rs: Object, failure: Failure | None, now: datetime) -> list[Object]:
    """The conditions, with ReplicaFailure while pods cannot be created or deleted."""
    old = (rs.get("status") or {}).get("conditions") or []
    if failure is None or not isinstance(failure.action, Create | Delete):
        return conditions.without(old, "ReplicaFailure")
    reason = "FailedCreate" if isinstance(failure.action, Create) else "FailedDelete"
    return conditions.put(old, "ReplicaFailure", "True", reason=reason, message=failure.message, now=now)


def _next_available(rs: Object, active: Sequence[Object], now: datetime) -> timedelta | None:
    """When the next ready pod becomes available."""
    waits = [pods.until_available(pod, _min_ready(rs), now) for pod in active]
    return min((wait for wait in waits if wait), default=None)


def _replicas(rs: Object) -> int:
    return int(rs["spec"].get("replicas", 1))


def _min_ready(rs: Object) -> int:
    return int(rs["spec"].get("minReadySeconds") or 0)

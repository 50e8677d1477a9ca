"""What must hold at every moment, whatever breaks: each invariant is the first sentence of a check's docstring.

A check returns what is wrong, or "" when nothing is. Some look at every write to the store, some whenever a container
starts or ends anywhere, the costly ones several times a second.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TypeAlias

from controlplane.controllers import deployment_sizes as sizes
from controlplane.controllers import pods
from controlplane.controllers.deployment_templates import DESIRED_REPLICAS
from mesh.objects.kinds import DEPLOYMENTS, ENDPOINTSLICES, PODS, REPLICASETS
from mesh.objects.meta import Key, annotations_of, controller_of, name_of, namespace_of, uid_of
from mesh.objects.types import Object
from tests.simulation import invariants_caches, invariants_nodes
from tests.simulation.history import Version

if TYPE_CHECKING:
    from tests.simulation.world import World

Checks: TypeAlias = Iterable[Callable[..., str]]

STALE = 30.0
"""Seconds by which a decision may lag behind the store: no fault that holds up a server's cache lasts longer."""


def revisions_increase(world: World, new: Version, old: Version | None) -> str:
    """Revisions strictly increase, over all objects."""
    before = world.history.at(new.revision - 1)
    if new.revision > 1 and (before is None or before.revision != new.revision - 1):
        return f"{new.path} got revision {new.revision} after {before and before.revision}"
    return f"{new.path} went from {old.revision} to {new.revision}" if old and old.revision >= new.revision else ""


def promises_are_kept(world: World, new: Version, old: Version | None) -> str:
    """No acknowledged write is missing."""
    return world.ledger.written(new, old)


def pods_never_move(world: World, new: Version, old: Version | None) -> str:
    """A pod is bound once and never moves."""
    before = _before(new, old)
    if not new.of(PODS) or new.object is None or before is None:
        return ""
    was, now = before["spec"].get("nodeName", ""), new.object["spec"].get("nodeName", "")
    return f"{new.path} was on {was} and is on {now!r}" if was and was != now else ""


def ended_pods_stay_ended(world: World, new: Version, old: Version | None) -> str:
    """A pod that has succeeded or failed has done so for good."""
    before = _before(new, old)
    if not new.of(PODS) or new.object is None or before is None:
        return ""
    was, now = pods.phase(before), pods.phase(new.object)
    return f"{new.path} was {was} and is {now}" if was in {"Succeeded", "Failed"} and was != now else ""


def _before(new: Version, old: Version | None) -> Object | None:
    """The same object as it was before; None when it is new, or gone."""
    if new.object is None or old is None or old.object is None or uid_of(new.object) != uid_of(old.object):
        return None
    return old.object


def rollouts_keep_their_bounds(world: World, new: Version, old: Version | None) -> str:
    """A rollout makes no more pods than maxSurge allows, and takes none away that maxUnavailable wants to stay.

    Judged at each change of a ReplicaSet's size, by all that the Deployment has lately asked for: what nodes and users
    do to availability is not the rollout's doing. A ReplicaSet that shrinks because a user has scaled the Deployment in
    the middle of a rollout takes its share whatever is available, as in Kubernetes.
    """
    if not new.of(REPLICASETS) or new.object is None:
        return ""
    owner, earlier = controller_of(new.object), _before(new, old)
    before, after = 0 if earlier is None else sizes.size(earlier), sizes.size(new.object)
    if owner is None or after == before:
        return ""
    namespace = namespace_of(new.object)
    wanted = world.history.recent(DEPLOYMENTS, Key(namespace, owner["name"]), STALE)
    bounds = [sizes.bounds_of(deployment) for deployment in wanted if uid_of(deployment) == owner["uid"]]
    if not bounds:
        return ""
    siblings = [rs for rs in world.history.objects(REPLICASETS) if (controller_of(rs) or {}).get("uid") == owner["uid"]]
    total, most = sizes.total(siblings), max(b.most for b in bounds)
    if after > before and total > most:
        return f"{new.path} grew from {before} to {after}: {total} pods in all, where at most {most} are allowed"
    available = sizes.available(new.object)
    staying = sum(min(sizes.size(rs), sizes.available(rs)) for rs in siblings)
    least = min(b.least_available for b in bounds)
    if earlier is not None and _made_for(earlier) != _made_for(new.object):
        least = 0
    if any(deployment["spec"]["strategy"]["type"] == "Recreate" for deployment in wanted):
        least = 0
    if after < before and after < available and staying < least:
        return f"{new.path} shrank from {before} to {after}: {staying} stay available, where {least} have to"
    return ""


def _made_for(rs: Object) -> str | None:
    """For which size of its Deployment a ReplicaSet was sized."""
    return annotations_of(rs).get(DESIRED_REPLICAS)


def endpoints_are_ready(world: World, new: Version, old: Version | None) -> str:
    """A Service's ready endpoints are pods that were ready, under the addresses they had."""
    if not new.of(ENDPOINTSLICES) or new.object is None:
        return ""
    for endpoint in new.object.get("endpoints") or ():
        target = endpoint.get("targetRef")
        if target is None or not endpoint["conditions"].get("ready"):
            continue
        key = Key(namespace_of(new.object), target["name"])
        seen = [pod for pod in world.history.recent(PODS, key, STALE) if uid_of(pod) == target["uid"]]
        if not any(pods.is_ready(pod) and endpoint["addresses"][0] in pods.addresses(pod) for pod in seen):
            return f"{new.path} names {name_of(seen[0]) if seen else key} at {endpoint['addresses']} as ready"
    return ""


ON_WRITE: Checks = (
    revisions_increase,
    promises_are_kept,
    pods_never_move,
    ended_pods_stay_ended,
    rollouts_keep_their_bounds,
    endpoints_are_ready,
)
ON_CONTAINERS: Checks = (invariants_nodes.exclusive_pods_run_once,)
ON_LOOK: Checks = (
    invariants_nodes.addresses_are_unique,
    invariants_nodes.deleted_pods_end,
    invariants_caches.caches_hold_what_was_written,
    invariants_caches.cached_objects_are_not_changed,
)

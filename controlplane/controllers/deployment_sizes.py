"""How many replicas each ReplicaSet of a Deployment should have: the arithmetic of rollouts. Pure.

Each function takes the ReplicaSets as they are and returns the sizes that should change, by name. The sums are those
of Kubernetes' pkg/controller/deployment (rolling.go, recreate.go, sync.go, util/deployment_util.go).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from controlplane.controllers.deployment_templates import DESIRED_REPLICAS, MAX_REPLICAS, by_age
from mesh.objects.meta import annotations_of, name_of
from mesh.objects.types import Json, Object

Sizes = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Bounds:
    """A Deployment's size, and by how much a rollout may exceed it and fall short of it."""

    replicas: int
    surge: int
    unavailable: int

    @property
    def most(self) -> int:
        """Never more pods than this; none at all when the Deployment is scaled to zero."""
        return self.replicas + self.surge

    @property
    def least_available(self) -> int:
        """Never fewer available pods than this, as far as it is the rollout's doing."""
        return self.replicas - self.unavailable


def bounds_of(deployment: Object) -> Bounds:
    """The Deployment's bounds: surge is rounded up, unavailability down, and both zero would never move."""
    replicas = int(deployment["spec"].get("replicas", 1))
    strategy = deployment["spec"].get("strategy") or {}
    if strategy.get("type") == "Recreate":
        return Bounds(replicas, 0, 0)
    rolling = strategy.get("rollingUpdate") or {}
    surge = _scaled(rolling.get("maxSurge", "25%"), replicas, up=True)
    unavailable = _scaled(rolling.get("maxUnavailable", "25%"), replicas, up=False)
    if surge == 0 and unavailable == 0:
        unavailable = 1
    return Bounds(replicas, surge, min(unavailable, replicas))


def _scaled(value: Json, total: int, *, up: bool) -> int:
    """An IntOrString: a number as it is, a percentage of `total`."""
    if isinstance(value, int):
        return value
    hundredfold = int(str(value).removesuffix("%")) * total
    return -(-hundredfold // 100) if up else hundredfold // 100


def size(rs: Object) -> int:
    """`spec.replicas`."""
    return int(rs["spec"].get("replicas", 1))


def available(rs: Object) -> int:
    """`status.availableReplicas`."""
    return int((rs.get("status") or {}).get("availableReplicas") or 0)


def _staying(rs: Object) -> int:
    """How many available pods will stay at most: those beyond `spec.replicas` are on their way out, whatever status
    says."""
    return min(available(rs), size(rs))


def _surely_staying(rs: Object) -> int:
    """How many available pods stay at least, while the ReplicaSet has still to end pods: those that are not ready go
    first, but of ready ones an available one may go before one that became ready a moment ago."""
    ready = int((rs.get("status") or {}).get("readyReplicas") or 0)
    leaving = max(ready - size(rs), 0)
    return max(min(size(rs), available(rs) - leaving), 0)


def is_observed(rs: Object) -> bool:
    """Whether its status was written in knowledge of its present size."""
    seen = (rs.get("status") or {}).get("observedGeneration", 0)
    return bool(seen >= rs["metadata"].get("generation", 0))


def total(sets: Iterable[Object]) -> int:
    """The sum of `spec.replicas`."""
    return sum(size(rs) for rs in sets)


def active(sets: Iterable[Object]) -> list[Object]:
    """Those that want pods."""
    return [rs for rs in sets if size(rs) > 0]


def is_scaling(deployment: Object, sets: Sequence[Object]) -> bool:
    """Whether `spec.replicas` changed since the ReplicaSets were sized."""
    wanted = str(deployment["spec"].get("replicas", 1))
    marks = [annotations_of(rs).get(DESIRED_REPLICAS) for rs in active(sets)]
    return any(mark is not None and mark != wanted for mark in marks)


def new_set_size(bounds: Bounds, new_set: Object | None, all_sets: Sequence[Object], *, recreate: bool) -> int:
    """The size of the new ReplicaSet: as large as the surge allows (rolling), or all at once."""
    now = 0 if new_set is None else size(new_set)
    if recreate or now > bounds.replicas:
        return bounds.replicas
    room = bounds.most - total(all_sets)
    return now if room <= 0 else now + min(room, bounds.replicas - now)


def old_set_sizes(bounds: Bounds, new_set: Object, old_sets: Sequence[Object]) -> Sizes:
    """The smaller sizes of old ReplicaSets in a rolling update: unhealthy pods first, then as availability allows.

    New pods that are not yet available count as if they were missing, since they may never come up. Stricter than
    Kubernetes in one thing: nothing shrinks on the word of a status that does not know of the last change of size, or
    counts pods as available of which that change will end some.
    """
    if not all(is_observed(rs) for rs in (new_set, *old_sets)):
        return {}
    unavailable_new = size(new_set) - _surely_staying(new_set)
    removable = total(old_sets) + size(new_set) - bounds.least_available - unavailable_new
    if removable <= 0:
        return {}
    sizes = {name_of(rs): size(rs) for rs in old_sets}
    for rs in by_age(old_sets):
        unhealthy = min(removable, size(rs) - _staying(rs))
        if unhealthy > 0:
            sizes[name_of(rs)] -= unhealthy
            removable -= unhealthy
    spare = sum(_surely_staying(rs) for rs in (new_set, *old_sets)) - bounds.least_available
    for rs in by_age(old_sets):
        step = min(sizes[name_of(rs)], max(spare, 0))
        sizes[name_of(rs)] -= step
        spare -= step
    return {name_of(rs): sizes[name_of(rs)] for rs in old_sets if sizes[name_of(rs)] != size(rs)}


def scaled_sizes(
    bounds: Bounds, deployment: Object, new_set: Object | None, old_sets: Sequence[Object], *, rolling: bool
) -> Sizes:
    """The sizes after `spec.replicas` changed (or while the rollout is paused): one ReplicaSet follows it, several in
    the middle of a rollout share the difference in proportion, so that no half of it is risked."""
    alone = _only_active_or_latest(new_set, old_sets)
    if alone is not None:
        return {name_of(alone): bounds.replicas} if size(alone) != bounds.replicas else {}
    if new_set is not None and _is_saturated(bounds, new_set):
        return {name_of(rs): 0 for rs in active(old_sets)}
    if not rolling:
        return {}
    sets = active([*old_sets, *([new_set] if new_set is not None else [])])
    allowed = bounds.most if bounds.replicas > 0 else 0
    return _shared_out(allowed - total(sets), bounds, deployment, sets)


def _only_active_or_latest(new_set: Object | None, old_sets: Sequence[Object]) -> Object | None:
    """The one ReplicaSet with pods; with none the new or else the youngest one; None when several have pods."""
    wanted = active([*old_sets, *([new_set] if new_set is not None else [])])
    if len(wanted) == 1:
        return wanted[0]
    if wanted:
        return None
    if new_set is not None:
        return new_set
    return by_age(old_sets)[-1] if old_sets else None


def _is_saturated(bounds: Bounds, new_set: Object) -> bool:
    """Whether the new ReplicaSet is all there, and the old ones only have to go."""
    mark = annotations_of(new_set).get(DESIRED_REPLICAS, "")
    return size(new_set) == bounds.replicas == available(new_set) and mark == str(bounds.replicas)


def _shared_out(to_add: int, bounds: Bounds, deployment: Object, sets: Sequence[Object]) -> Sizes:
    """`to_add` replicas (fewer if negative) over the ReplicaSets in proportion; the largest takes what is left over.

    Of equal ones the newer comes first when growing, the older when shrinking.
    """
    ordered = by_age(sets)
    if to_add > 0:
        ordered.reverse()
    ordered.sort(key=size, reverse=True)
    sizes: dict[str, int] = {}
    added = 0
    for rs in ordered:
        share = _share(rs, bounds, deployment) if to_add else 0
        left = to_add - added
        share = min(share, left) if to_add > 0 else max(share, left)
        sizes[name_of(rs)] = size(rs) + share
        added += share
    if ordered and to_add:
        largest = name_of(ordered[0])
        sizes[largest] = max(sizes[largest] + to_add - added, 0)
    return {name_of(rs): sizes[name_of(rs)] for rs in sets if sizes[name_of(rs)] != size(rs)}


def _share(rs: Object, bounds: Bounds, deployment: Object) -> int:
    """By how much one ReplicaSet grows if the whole Deployment grows from its size before to its size now."""
    if bounds.replicas == 0:
        return -size(rs)
    mark = annotations_of(rs).get(MAX_REPLICAS, "")
    before = int(mark) if mark.isascii() and mark.isdigit() else (deployment.get("status") or {}).get("replicas", 0)
    if before == 0:
        return 0
    # Rounded half up, in whole numbers.
    return (2 * size(rs) * bounds.most + before) // (2 * before) - size(rs)

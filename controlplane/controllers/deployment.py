"""The Deployment controller: rolls ReplicaSets from one pod template to the next.

Pure. Each pass takes one step (bring the new ReplicaSet about, make it larger, make the old ones smaller, tidy up) and
the change that it causes rings for the next. Rolling back is a client's business: it restores an old template, and the
ReplicaSet of that template becomes the newest again. Behaviour: Kubernetes' pkg/controller/deployment.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from controlplane.controllers import conditions, pods
from controlplane.controllers import deployment_sizes as sizes
from controlplane.controllers import deployment_status as statuses
from controlplane.controllers import deployment_templates as templates
from controlplane.controllers.ownership import BY_CONTROLLER, OWNED_INDEXES, claim, controller_uids, wake_owner
from mesh.objects.kinds import DEPLOYMENTS, PODS, REPLICASETS
from mesh.objects.meta import (
    Key,
    annotations_of,
    controller_of,
    is_deleting,
    key_of,
    name_of,
    namespace_of,
    thaw,
    uid_of,
)
from mesh.objects.types import Object
from mesh.plan.actions import NOTHING, Action, Create, Delete, Patch, Plan, Record, Update
from mesh.plan.controller import Caches, Observed, Watch, itself


def _wake_recreating(pod: Object, caches: Caches) -> Iterable[Key]:
    """A pod's Deployment, if it waits for its old pods to end."""
    ref = controller_of(pod)
    rs = None if ref is None else caches[REPLICASETS].get(Key(namespace_of(pod), ref["name"]))
    owner = None if rs is None else controller_of(rs)
    if owner is None:
        return
    key = Key(namespace_of(pod), owner["name"])
    deployment = caches[DEPLOYMENTS].get(key)
    if deployment is not None and _recreates(deployment):
        yield key


@dataclass(frozen=True, slots=True)
class _State:
    """One Deployment with its ReplicaSets, as observed in one pass."""

    deployment: Object
    new_set: Object | None
    old_sets: tuple[Object, ...]
    bounds: sizes.Bounds
    observed: Observed

    @property
    def all_sets(self) -> tuple[Object, ...]:
        return self.old_sets if self.new_set is None else (*self.old_sets, self.new_set)


class DeploymentController:
    """Sizes a Deployment's ReplicaSets and reports the rollout."""

    name = "deployment-controller"
    watches: Sequence[Watch] = (
        Watch(DEPLOYMENTS, itself),
        Watch(REPLICASETS, wake_owner(DEPLOYMENTS), OWNED_INDEXES),
        Watch(PODS, _wake_recreating, {BY_CONTROLLER: controller_uids}),
    )

    def plan(self, key: Key, observed: Observed) -> Plan:
        """Status first, so that it is told even when the step that follows is refused; then the step."""
        deployment = observed.caches[DEPLOYMENTS].get(key)
        if deployment is None:
            return NOTHING
        if not any(deployment["spec"]["selector"].get(part) for part in ("matchLabels", "matchExpressions")):
            return _selects_everything(deployment)
        claimed = claim(deployment, DEPLOYMENTS, REPLICASETS, observed)
        if claimed.first is not None:
            return claimed.first
        state = _state(deployment, claimed.owned, observed)
        if is_deleting(deployment):
            return Plan(
                _status_actions(state, statuses.counts(deployment, state.new_set, state.all_sets, observed.now))
            )
        if _paused_condition_due(deployment):
            return _mark_paused(state)
        if deployment["spec"].get("paused") or sizes.is_scaling(deployment, state.all_sets):
            return _scale(state)
        return _roll(state)


def _state(deployment: Object, owned: Sequence[Object], observed: Observed) -> _State:
    new_set = templates.find_new(deployment, owned)
    old_sets = tuple(rs for rs in templates.by_age(owned) if rs is not new_set)
    return _State(deployment, new_set, old_sets, sizes.bounds_of(deployment), observed)


def _scale(state: _State) -> Plan:
    """Follow a change of `spec.replicas`, or stand still because the rollout is paused."""
    deployment = state.deployment
    wanted = sizes.scaled_sizes(
        state.bounds, deployment, state.new_set, state.old_sets, rolling=not _recreates(deployment)
    )
    actions = list(
        _status_actions(state, statuses.counts(deployment, state.new_set, state.all_sets, state.observed.now))
    )
    actions += _resize(state, wanted, mark=sizes.active(state.all_sets))
    if deployment["spec"].get("paused"):
        actions += _tidy(state)
    return Plan(tuple(actions))


def _roll(state: _State) -> Plan:
    """One step of a rollout."""
    deployment, now = state.deployment, state.observed.now
    recreate = _recreates(deployment)
    status = statuses.rollout(deployment, state.new_set, state.all_sets, now)
    actions = list(_status_actions(state, status))
    again = statuses.until_deadline(deployment, status, now)
    if recreate and (leaving := _leave_old(state)) is not None:
        return Plan((*actions, *leaving), again)
    if state.new_set is None:
        return Plan((*_bring_about(state, status),), again)
    if (refresh := _refresh(state, state.new_set)) is not None:
        return Plan((*actions, *refresh), again)
    size = sizes.new_set_size(state.bounds, state.new_set, state.all_sets, recreate=recreate)
    steps = _resize(state, {name_of(state.new_set): size}, mark=[state.new_set])
    if not steps and not recreate:
        steps = _resize(state, sizes.old_set_sizes(state.bounds, state.new_set, state.old_sets))
    if not steps and statuses.is_complete(deployment, status):
        steps = _tidy(state)
    return Plan((*actions, *steps), again)


def _leave_old(state: _State) -> tuple[Action, ...] | None:
    """Recreate: bring the old ReplicaSets to zero, and wait (an empty step) until their last pod has ended."""
    down = _resize(state, {name_of(rs): 0 for rs in sizes.active(state.old_sets)})
    if down:
        return down
    cache = state.observed.caches[PODS]
    lingering = (pod for rs in state.old_sets for pod in cache.index(BY_CONTROLLER, uid_of(rs)))
    return () if any(not pods.is_terminal(pod) for pod in lingering) else None


def _bring_about(state: _State, status: Object) -> tuple[Action, ...]:
    """Create the new ReplicaSet, or find another name for it when its name is taken."""
    deployment, now = state.deployment, state.observed.now
    recreate = _recreates(deployment)
    size = sizes.new_set_size(state.bounds, None, state.all_sets, recreate=recreate)
    new_set = templates.new_replica_set(deployment, size, state.bounds.most, _next_revision(state))
    if state.observed.caches[REPLICASETS].get(key_of(new_set)) is not None:
        status = {**status, "collisionCount": int(status.get("collisionCount", 0)) + 1}
        return _status_actions(state, status)
    if statuses.has_deadline(deployment):
        message = f'Created new replica set "{name_of(new_set)}"'
        status = statuses.with_progress(status, "True", reason="NewReplicaSetCreated", message=message, now=now)
        status = statuses.with_creation_failure(status, state.observed.failure, now)
    actions: list[Action] = [Create(REPLICASETS, new_set)]
    if size > 0:
        actions.append(_scaling_event(deployment, name_of(new_set), 0, size))
    told = _status_actions(state, status)
    # A failure to create is told before it is tried again; success is told after it.
    actions = [*told, *actions] if state.observed.failure is not None else [*actions, *told]
    return (*actions, *_number(deployment, annotations_of(new_set)[templates.REVISION]))


def _refresh(state: _State, new_set: Object) -> tuple[Action, ...] | None:
    """Give the new ReplicaSet the highest revision and the Deployment's annotations, and the Deployment the revision;
    None when they have them."""
    changed = templates.brought_up_to_date(new_set, state.deployment, _next_revision(state))
    if changed is not None:
        return (Update(REPLICASETS, changed),)
    return _number(state.deployment, annotations_of(new_set).get(templates.REVISION, "0")) or None


def _number(deployment: Object, revision: str) -> tuple[Action, ...]:
    """Write the rollout's revision on the Deployment."""
    if annotations_of(deployment).get(templates.REVISION) == revision:
        return ()
    patch = {"metadata": {"annotations": {templates.REVISION: revision}}}
    return (Patch(DEPLOYMENTS, key_of(deployment), patch, uid_of(deployment)),)


def _next_revision(state: _State) -> int:
    return max((templates.revision_of(rs) for rs in state.old_sets), default=0) + 1


def _resize(state: _State, wanted: sizes.Sizes, mark: Sequence[Object] = ()) -> tuple[Action, ...]:
    """Give ReplicaSets other sizes, and to those in `mark` the annotations that tell for which size of the Deployment
    they were made. What shrinks comes before what grows."""
    marks = templates.size_annotations(state.deployment, state.bounds.most)
    found: list[tuple[int, Object, Object]] = []
    for rs in state.all_sets:
        size = wanted.get(name_of(rs), sizes.size(rs))
        stale = any(rs is m for m in mark) and not marks.items() <= annotations_of(rs).items()
        if size != sizes.size(rs) or stale:
            new = thaw(rs)
            new["spec"]["replicas"] = size
            new["metadata"]["annotations"] = {**annotations_of(rs), **marks}
            found.append((size - sizes.size(rs), rs, new))
    actions: list[Action] = []
    for change, rs, new in sorted(found, key=lambda entry: entry[0]):
        actions.append(Update(REPLICASETS, new))
        if change:
            actions.append(_scaling_event(state.deployment, name_of(rs), sizes.size(rs), sizes.size(rs) + change))
    return tuple(actions)


def _tidy(state: _State) -> tuple[Action, ...]:
    """Delete the oldest revisions beyond the history limit, once they have no pods."""
    limit = state.deployment["spec"].get("revisionHistoryLimit")
    if limit is None:
        return ()
    candidates = sorted((rs for rs in state.old_sets if not is_deleting(rs)), key=templates.revision_of)
    surplus = candidates[: max(len(candidates) - int(limit), 0)]
    return tuple(Delete(REPLICASETS, key_of(rs), uid_of(rs)) for rs in surplus if _is_spent(rs))


def _is_spent(rs: Object) -> bool:
    return sizes.size(rs) == 0 and not (rs.get("status") or {}).get("replicas") and sizes.is_observed(rs)


def _status_actions(state: _State, status: Object) -> tuple[Action, ...]:
    if status == state.deployment.get("status"):
        return ()
    return (Update(DEPLOYMENTS, {**thaw(state.deployment), "status": status}, "status"),)


def _paused_condition_due(deployment: Object) -> bool:
    """Whether the condition Progressing has yet to say that the rollout was paused, or resumed."""
    if not statuses.has_deadline(deployment):
        return False
    found = conditions.find((deployment.get("status") or {}).get("conditions") or [], "Progressing")
    reason = "" if found is None else found["reason"]
    if reason == "ProgressDeadlineExceeded":
        return False
    return bool(deployment["spec"].get("paused")) != (reason == "DeploymentPaused")


def _mark_paused(state: _State) -> Plan:
    paused = bool(state.deployment["spec"].get("paused"))
    reason = "DeploymentPaused" if paused else "DeploymentResumed"
    message = f"Deployment is {'paused' if paused else 'resumed'}"
    status = state.deployment.get("status") or {}
    status = statuses.with_progress(status, "Unknown", reason=reason, message=message, now=state.observed.now)
    return Plan(_status_actions(state, status))


def _selects_everything(deployment: Object) -> Plan:
    message = "This deployment is selecting all pods. A non-empty selector is required."
    actions: list[Action] = [Record(deployment, "Warning", "SelectingAll", message)]
    status = deployment.get("status") or {}
    generation = deployment["metadata"].get("generation", 0)
    if status.get("observedGeneration", 0) < generation:
        new = {**thaw(deployment), "status": {**status, "observedGeneration": generation}}
        actions.append(Update(DEPLOYMENTS, new, "status"))
    return Plan(tuple(actions))


def _scaling_event(deployment: Object, name: str, before: int, after: int) -> Record:
    direction = "up" if after > before else "down"
    message = f"Scaled {direction} replica set {name} from {before} to {after}"
    return Record(deployment, "Normal", "ScalingReplicaSet", message)


def _recreates(deployment: Object) -> bool:
    return (deployment["spec"].get("strategy") or {}).get("type") == "Recreate"

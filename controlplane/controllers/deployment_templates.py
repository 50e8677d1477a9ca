"""Which ReplicaSet is a Deployment's new one, and how ReplicaSets are named, numbered and described. Pure.

Behaviour and annotations: Kubernetes' pkg/controller/deployment/util/deployment_util.go and sync.go.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import orjson

from mesh.objects.meta import annotations_of, name_of, namespace_of, owner_reference, thaw
from mesh.objects.types import Object

HASH_LABEL = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"
REVISION_HISTORY = "deployment.kubernetes.io/revision-history"
DESIRED_REPLICAS = "deployment.kubernetes.io/desired-replicas"
MAX_REPLICAS = "deployment.kubernetes.io/max-replicas"
_OWN_ANNOTATIONS = frozenset(
    {
        "kubectl.kubernetes.io/last-applied-configuration",
        REVISION,
        REVISION_HISTORY,
        DESIRED_REPLICAS,
        MAX_REPLICAS,
        "deprecated.deployment.rollback.to",
    }
)
"""Annotations that a Deployment does not hand down to its ReplicaSets."""

_SAFE = "bcdfghjklmnpqrstvwxz2456789"
"""Letters and digits that form no words and are not mistaken for each other."""


def template_hash(template: Object, collisions: int) -> str:
    """A short stable name for a pod template; `collisions` makes another one when that name is taken."""
    data = orjson.dumps([template, collisions], option=orjson.OPT_SORT_KEYS)
    number = int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big")
    text = ""
    for _ in range(10):
        number, digit = divmod(number, len(_SAFE))
        text += _SAFE[digit]
    return text


def same_template(one: Object, other: Object) -> bool:
    """Whether two pod templates are equal but for the hash label."""
    return _unhashed(one) == _unhashed(other)


def _unhashed(template: Object) -> Object:
    meta = template.get("metadata") or {}
    labels = {k: v for k, v in (meta.get("labels") or {}).items() if k != HASH_LABEL}
    rest = {k: v for k, v in meta.items() if k not in {"labels", "creationTimestamp"} and v is not None}
    return {**template, "metadata": {**rest, "labels": labels}}


def by_age(sets: Iterable[Object]) -> list[Object]:
    """Oldest first; equal ages by name."""
    return sorted(sets, key=lambda rs: (rs["metadata"].get("creationTimestamp", ""), name_of(rs)))


def find_new(deployment: Object, sets: Sequence[Object]) -> Object | None:
    """The ReplicaSet of the Deployment's current template: the oldest one that has it."""
    template = deployment["spec"]["template"]
    return next((rs for rs in by_age(sets) if same_template(rs["spec"]["template"], template)), None)


def revision_of(obj: Object) -> int:
    """The revision number in the annotation; 0 without a readable one."""
    text = annotations_of(obj).get(REVISION, "0")
    return int(text) if text.isascii() and text.isdigit() else 0


def new_replica_set(deployment: Object, replicas: int, most: int, revision: int) -> Object:
    """The ReplicaSet for the current template. `most` is the number of pods allowed with surge."""
    collisions = (deployment.get("status") or {}).get("collisionCount") or 0
    template = thaw(deployment["spec"]["template"])
    digest = template_hash(template, collisions)
    meta = template.setdefault("metadata", {})
    meta["labels"] = {**(meta.get("labels") or {}), HASH_LABEL: digest}
    selector = thaw(deployment["spec"]["selector"])
    selector["matchLabels"] = {**(selector.get("matchLabels") or {}), HASH_LABEL: digest}
    spec: Object = {"replicas": replicas, "selector": selector, "template": template}
    if deployment["spec"].get("minReadySeconds"):
        spec["minReadySeconds"] = deployment["spec"]["minReadySeconds"]
    annotations = handed_down(deployment) | {REVISION: str(revision)} | size_annotations(deployment, most)
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": f"{name_of(deployment)}-{digest}",
            "namespace": namespace_of(deployment),
            "labels": dict(meta["labels"]),
            "annotations": annotations,
            "ownerReferences": [owner_reference(deployment)],
        },
        "spec": spec,
    }


def handed_down(deployment: Object) -> dict[str, str]:
    """The annotations that a Deployment's new ReplicaSet carries too."""
    return {k: v for k, v in annotations_of(deployment).items() if k not in _OWN_ANNOTATIONS}


def size_annotations(deployment: Object, most: int) -> dict[str, str]:
    """What scaling leaves on a ReplicaSet, so that a later change of `spec.replicas` can be told and shared out."""
    return {DESIRED_REPLICAS: str(deployment["spec"].get("replicas", 1)), MAX_REPLICAS: str(most)}


def brought_up_to_date(new_set: Object, deployment: Object, revision: int) -> Object | None:
    """`new_set` with the Deployment's annotations, the highest revision and minReadySeconds; None if it has them.

    A ReplicaSet that becomes the newest again (a rollback) keeps its former revisions in the history annotation.
    """
    old = annotations_of(new_set)
    annotations = {**old, **handed_down(deployment)}
    before = revision_of(new_set)
    if before < revision:
        annotations[REVISION] = str(revision)
        if REVISION in old:
            history = old.get(REVISION_HISTORY, "")
            annotations[REVISION_HISTORY] = f"{history},{before}" if history else str(before)
    wait = deployment["spec"].get("minReadySeconds") or 0
    if annotations == old and (new_set["spec"].get("minReadySeconds") or 0) == wait:
        return None
    changed: Object = thaw(new_set)
    changed["metadata"]["annotations"] = annotations
    changed["spec"]["minReadySeconds"] = wait
    return changed

"""Scores: which of the nodes left is best? Each score is a vector over rows, 0 to 100, added up by weight.

Weights are kube-scheduler's defaults. Two kinds, as with filters: standing scores depend on the nodes' own fields only;
moving scores (free resources, balance, spreading) are computed from one row's own numbers, so that placing a pod
changes the total of one row and of no other. That is why spreading is `100 / (1 + pods of the same controller)`
instead of being normalized over all nodes.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import orjson

from controlplane.scheduler.nodes import Floats, NodeTable, Rows
from controlplane.scheduler.request import PodClass
from controlplane.scheduler.terms import term_matches, tolerates
from mesh.objects.types import Object

_MEBIBYTE = 1024.0 * 1024.0
_IMAGE_FLOOR = 23 * _MEBIBYTE
_IMAGE_CEILING = 1000 * _MEBIBYTE


class Strategy(enum.Enum):
    """How free resources count: spread load over all nodes, or pack few of them full."""

    LEAST_ALLOCATED = "LeastAllocated"
    MOST_ALLOCATED = "MostAllocated"


@dataclass(frozen=True, slots=True)
class Scoring:
    """The scheduler's taste: strategy and weights (kube-scheduler's defaults)."""

    strategy: Strategy = Strategy.LEAST_ALLOCATED
    resources: float = 1.0
    balance: float = 1.0
    spread: float = 2.0
    taints: float = 3.0
    affinity: float = 2.0
    images: float = 1.0


def standing(table: NodeTable, pod: PodClass, scoring: Scoring) -> Floats:
    """The weighted sum of the scores that depend only on the nodes' own fields."""
    total = np.zeros(table.size)
    tolerations: Sequence[Object] = orjson.loads(pod.tolerations) if pod.tolerations else ()
    avoided = _avoided(table, tolerations)
    if avoided.any():
        total += scoring.taints * (100.0 - _normalized(avoided))
    else:
        total += scoring.taints * 100.0
    if pod.preferences:
        total += scoring.affinity * _normalized(_preferred(table, orjson.loads(pod.preferences)))
    total += scoring.images * _image_locality(table, pod.images)
    return total


def moving(table: NodeTable, pod: PodClass, rows: Rows, scoring: Scoring) -> Floats:
    """The weighted sum of the scores that change as pods are placed, for each of `rows`."""
    wanted = table.scored[rows] + pod.scored
    fractions = np.minimum(wanted / np.maximum(table.allocatable[rows, :2], 1.0), 1.0)
    cpu, memory = fractions[:, 0], fractions[:, 1]
    used = (cpu + memory) * 50.0
    total: Floats = used if scoring.strategy is Strategy.MOST_ALLOCATED else 100.0 - used
    total = scoring.resources * total + scoring.balance * (100.0 - np.abs(cpu - memory) * 50.0)
    if pod.owner:
        counts = np.array([row.owners[pod.owner] if (row := table.rows[i]) else 0 for i in rows], dtype=np.float64)
        total += scoring.spread * (100.0 / (1.0 + counts))
    return total


def _avoided(table: NodeTable, tolerations: Sequence[Object]) -> Floats:
    """How many PreferNoSchedule taints of each node the pod does not tolerate."""
    counts = np.zeros(table.size)
    for i, row in table.named_rows():
        counts[i] = sum(
            taint.get("effect") == "PreferNoSchedule" and not any(tolerates(t, taint) for t in tolerations)
            for taint in row.taints
        )
    return counts


def _preferred(table: NodeTable, preferences: Sequence[Object]) -> Floats:
    weights = np.zeros(table.size)
    for i, row in table.named_rows():
        weights[i] = sum(
            int(p.get("weight", 0))
            for p in preferences
            if term_matches(p.get("preference") or {}, row.name, row.labels)
        )
    return weights


def _image_locality(table: NodeTable, images: Sequence[str]) -> Floats:
    """Grows with the size of the pod's images that a node has, between 23 MiB and 1000 MiB for each container."""
    sizes = np.zeros(table.size)
    for i, row in table.named_rows():
        if row.images:
            sizes[i] = sum(row.images.get(image, 0.0) for image in images)
    ceiling = _IMAGE_CEILING * max(1, len(images))
    return ((sizes.clip(_IMAGE_FLOOR, ceiling) - _IMAGE_FLOOR) / (ceiling - _IMAGE_FLOOR)) * 100.0


def _normalized(values: Floats) -> Floats:
    top = values.max(initial=0.0)
    return values * (100.0 / top) if top > 0 else values

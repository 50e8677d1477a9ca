"""Placing a whole queue of pods in one pass: filter, score, choose the best, count the pod there, go on. Pure.

Pods of one class share masks and scores. A placement changes one row only, so each class repairs just the rows that
were filled since it was last asked: the cost of a further pod of a known class does not grow with the pods placed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from controlplane.scheduler import filters, scores
from controlplane.scheduler.filters import Standing
from controlplane.scheduler.nodes import Floats, NodeTable, Rows
from controlplane.scheduler.request import PodClass, PodRequest
from controlplane.scheduler.scores import Scoring

DEFAULT_SCORING = Scoring()


@dataclass(frozen=True, slots=True)
class Placement:
    """The decision about one pod: a node, or the sentence why there is none."""

    pod: PodRequest
    node: str
    message: str = ""

    def __str__(self) -> str:
        return f"{self.pod.key} -> {self.node}" if self.node else f"{self.pod.key}: {self.message}"


class Memory:
    """Standing masks and scores by class, kept from pass to pass until a node changes."""

    def __init__(self) -> None:
        self._generation = -1
        self._kept: dict[PodClass, tuple[Standing, Floats]] = {}

    def standing(self, table: NodeTable, pod: PodClass, scoring: Scoring) -> tuple[Standing, Floats]:
        """The standing verdict and score of a class."""
        if self._generation != table.generation or len(self._kept) > 1000:
            self._kept.clear()
            self._generation = table.generation
        found = self._kept.get(pod)
        if found is None:
            found = self._kept[pod] = (filters.standing(table, pod), scores.standing(table, pod, scoring))
        return found


class _Class:
    """One class's total scores in this pass; rows that cannot take another such pod hold minus infinity."""

    def __init__(self, table: NodeTable, pod: PodClass, scoring: Scoring, memory: Memory, filled: int) -> None:
        self._table, self._pod, self._scoring = table, pod, scoring
        self._need = filters.need_of(table, pod)
        self.standing, self._base = memory.standing(table, pod, scoring)
        self._total: Floats = np.full(table.size, -np.inf)
        self._compute(np.flatnonzero(self.standing.mask))
        self._seen = filled

    def best(self, filled: list[int]) -> int | None:
        """The best row now, after taking into account the rows filled since last time; None when there is none."""
        if self._seen < len(filled):
            changed = np.array(list(set(filled[self._seen :])), dtype=np.intp)
            self._compute(changed[self.standing.mask[changed]])
            self._seen = len(filled)
        if not self._total.size:
            return None
        row = int(self._total.argmax())
        return row if self._total[row] != -np.inf else None

    def _compute(self, rows: Rows) -> None:
        """Bring the totals of `rows` up to date."""
        table, pod = self._table, self._pod
        room = filters.fits(table, self._need, rows)
        if pod.host_ports:
            room &= filters.ports_mask(table, pod.host_ports, rows)
        total = self._base[rows] + scores.moving(table, pod, rows, self._scoring)
        self._total[rows] = np.where(room, total, -np.inf)


def place(
    table: NodeTable, pods: Iterable[PodRequest], memory: Memory, scoring: Scoring = DEFAULT_SCORING
) -> list[Placement]:
    """Decide about each pod in turn, counting each placed pod in `table` at once."""
    classes: dict[PodClass, _Class] = {}
    hopeless: dict[PodClass, str] = {}
    filled: list[int] = []
    placements = []
    for pod in pods:
        known = hopeless.get(pod.pod_class)
        if known is not None:  # space only shrinks within a pass
            placements.append(Placement(pod, "", known))
            continue
        ours = classes.get(pod.pod_class)
        if ours is None:
            ours = classes[pod.pod_class] = _Class(table, pod.pod_class, scoring, memory, len(filled))
        best = ours.best(filled)
        if best is None:
            message = hopeless[pod.pod_class] = _why_not(table, pod.pod_class, ours.standing)
            placements.append(Placement(pod, "", message))
            continue
        row = table.rows[best]
        assert row is not None
        table.put_pod(pod, row.name)
        filled.append(best)
        placements.append(Placement(pod, row.name))
    return placements


def _why_not(table: NodeTable, pod: PodClass, verdict: Standing) -> str:
    refusals = Counter(verdict.refusals)
    refusals.update(filters.moving_refusals(table, pod, verdict.mask))
    return filters.refusal_message(len(table), refusals)

"""Placing a whole queue of pods in one pass: filter, score, choose the best, count the pod there, go on. Pure.

Pods of one class share masks and scores, also from pass to pass. A placement changes one row only, so each class repairs
just the rows that were touched since it was last asked: the cost of a further pod of a known class does not grow with
the nodes, nor with the pods placed.
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
MOST_KEPT = 500
"""Classes that are remembered; each holds three numbers for every node."""
MOST_TOUCHED = 100_000


@dataclass(frozen=True, slots=True)
class Placement:
    """The decision about one pod: a node, or the sentence why there is none."""

    pod: PodRequest
    node: str
    message: str = ""

    def __str__(self) -> str:
        return f"{self.pod.key} -> {self.node}" if self.node else f"{self.pod.key}: {self.message}"


class _Class:
    """One class's total scores; rows that cannot take another such pod hold minus infinity."""

    def __init__(self, table: NodeTable, pod: PodClass, scoring: Scoring) -> None:
        self._table, self._pod, self._scoring = table, pod, scoring
        self._need = filters.need_of(table, pod)
        self.standing: Standing = filters.standing(table, pod)
        self._base = scores.standing(table, pod, scoring)
        self._total: Floats = np.full(table.size, -np.inf)
        self._compute(np.flatnonzero(self.standing.mask))
        self._seen = len(table.touched)

    def best(self) -> int | None:
        """The best row now, after taking into account the rows touched since last time; None when there is none."""
        touched = self._table.touched
        if self._seen < len(touched):
            changed = np.array(list(set(touched[self._seen :])), dtype=np.intp)
            self._compute(changed[self.standing.mask[changed]])
            self._seen = len(touched)
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


class Memory:
    """What is known of each class, kept from pass to pass until a node changes. One belongs to one table."""

    def __init__(self) -> None:
        self._generation = -1
        self._kept: dict[PodClass, _Class] = {}

    def recall(self, table: NodeTable, pod: PodClass, scoring: Scoring) -> _Class:
        """The class's scores, possibly still to be brought up to date."""
        found = self._kept.get(pod)
        if found is None:
            found = self._kept[pod] = _Class(table, pod, scoring)
        return found

    def refresh(self, table: NodeTable) -> None:
        """At the beginning of a pass: forget what is out of date, or more than is worth keeping."""
        if self._generation == table.generation and len(self._kept) <= MOST_KEPT and len(table.touched) <= MOST_TOUCHED:
            return
        self._generation = table.generation
        self._kept.clear()
        table.touched.clear()


def place(
    table: NodeTable, pods: Iterable[PodRequest], memory: Memory, scoring: Scoring = DEFAULT_SCORING
) -> list[Placement]:
    """Decide about each pod in turn, counting each placed pod in `table` at once."""
    memory.refresh(table)
    hopeless: dict[PodClass, str] = {}
    placements = []
    for pod in pods:
        known = hopeless.get(pod.pod_class)
        if known is not None:  # space only shrinks within a pass
            placements.append(Placement(pod, "", known))
            continue
        ours = memory.recall(table, pod.pod_class, scoring)
        best = ours.best()
        if best is None:
            message = hopeless[pod.pod_class] = _why_not(table, pod.pod_class, ours.standing)
            placements.append(Placement(pod, "", message))
            continue
        row = table.rows[best]
        assert row is not None
        table.put_pod(pod, row.name)
        placements.append(Placement(pod, row.name))
    return placements


def _why_not(table: NodeTable, pod: PodClass, verdict: Standing) -> str:
    refusals = Counter(verdict.refusals)
    refusals.update(filters.moving_refusals(table, pod, verdict.mask))
    return filters.refusal_message(len(table), refusals)

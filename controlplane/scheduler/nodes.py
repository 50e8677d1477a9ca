"""The nodes as columns: one row for each node, one numpy column for each thing that filters and scores compare.

Rows keep their place while a node lives, and are used again after it is gone. What is not a number (labels, taints,
host ports) is kept beside the columns, with a `generation` that changes whenever it does, so that masks computed from
it can be kept. Pure: fed by the loop, asked by the planner.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from controlplane.scheduler.request import CPU, MEMORY, PODS, STORAGE, HostPort, PodClass, PodRequest, parse_amounts
from mesh.objects.meta import labels_of, name_of
from mesh.objects.types import Object

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.intp]

_FIRST_ROWS = 64
_BASE = (CPU, MEMORY, STORAGE, PODS)


@dataclass(slots=True)
class Row:
    """What is kept of one node beside the columns."""

    name: str
    labels: Mapping[str, str]
    taints: Sequence[Object]
    images: Mapping[str, float]
    """Image name to size in bytes."""
    ports: Counter[HostPort] = field(default_factory=Counter)
    owners: Counter[str] = field(default_factory=Counter)
    """How many pods of each controller run here."""


class NodeTable:
    """All nodes and what their pods take. Amounts are milli-CPU, bytes or counts, as in `Amounts`."""

    def __init__(self) -> None:
        self._resources: dict[str, int] = {name: i for i, name in enumerate(_BASE)}
        self._row_of: dict[str, int] = {}
        self._free: list[int] = []
        self.rows: list[Row | None] = []
        self.allocatable: Floats = np.zeros((_FIRST_ROWS, len(_BASE)))
        self.used: Floats = np.zeros((_FIRST_ROWS, len(_BASE)))
        self.scored: Floats = np.zeros((_FIRST_ROWS, 2))
        self.present: Mask = np.zeros(_FIRST_ROWS, dtype=np.bool_)
        self.schedulable: Mask = np.zeros(_FIRST_ROWS, dtype=np.bool_)
        self.generation = 0
        """Changes with every change of a node's own fields (not with pods coming and going)."""
        self.touched: list[int] = []
        """Rows whose numbers have changed with pods coming and going, in that order. Whoever keeps what he computed from
        them looks here what to compute anew; he also forgets the list when it has grown long."""
        self._pods: dict[str, tuple[str, PodClass]] = {}
        """Pod UID to the node it is counted on; also for nodes that are not known (yet)."""
        self._waiting: dict[str, set[str]] = {}
        """Pods counted on a node that is not known, by the node's name."""

    def __len__(self) -> int:
        return len(self._row_of)

    @property
    def size(self) -> int:
        """Length of the part of the columns that is in use."""
        return len(self.rows)

    def index(self, node: str) -> int | None:
        """The node's row number, or None."""
        return self._row_of.get(node)

    def column(self, resource: str) -> int | None:
        """The resource's column number, or None when no node has any of it."""
        return self._resources.get(resource)

    @property
    def resources(self) -> Mapping[str, int]:
        """Every resource that has a column."""
        return self._resources

    def named_rows(self) -> Iterator[tuple[int, Row]]:
        """(row number, row) of every node."""
        for i, row in enumerate(self.rows):
            if row is not None:
                yield i, row

    def put_node(self, node: Object) -> None:
        """Add a node, or take over its present fields."""
        name = name_of(node)
        spec, status = node.get("spec") or {}, node.get("status") or {}
        row = self._row_of.get(name)
        if row is None:
            row = self._new_row()
            self._row_of[name] = row
            self.rows[row] = Row(name, {}, (), {})
        kept = self.rows[row]
        assert kept is not None
        labels, taints = dict(labels_of(node)), list(spec.get("taints") or ())
        amounts = parse_amounts(status.get("allocatable") or status.get("capacity") or {})
        columns = [self._column_for(resource) for resource in amounts]
        fresh = np.zeros(self.allocatable.shape[1])
        fresh[columns] = list(amounts.values())
        schedulable = not spec.get("unschedulable", False)
        images = {n: float(i.get("sizeBytes", 0)) for i in status.get("images") or () for n in i.get("names") or ()}
        changed = (
            not self.present[row]
            or kept.labels != labels
            or kept.taints != taints
            or kept.images != images
            or bool(self.schedulable[row]) != schedulable
            or not np.array_equal(self.allocatable[row], fresh)
        )
        if not changed:
            return
        kept.labels, kept.taints, kept.images = labels, taints, images
        self.allocatable[row] = fresh
        self.schedulable[row] = schedulable
        self.present[row] = True
        self.generation += 1
        for uid in self._waiting.pop(name, ()):
            self._count(row, self._pods[uid][1], +1)

    def remove_node(self, name: str) -> None:
        """Forget a node; the pods counted on it wait for it to come back."""
        row = self._row_of.pop(name, None)
        if row is None:
            return
        self.rows[row] = None
        for column in (self.allocatable, self.used, self.scored):
            column[row] = 0.0
        self.present[row] = self.schedulable[row] = False
        self._free.append(row)
        self.generation += 1
        waiting = {uid for uid, (node, _) in self._pods.items() if node == name}
        if waiting:
            self._waiting[name] = waiting

    def put_pod(self, pod: PodRequest, node: str) -> None:
        """Count a pod on a node: assumed there, or seen there. Again with the same arguments changes nothing."""
        before = self._pods.get(pod.uid)
        if before == (node, pod.pod_class):
            return
        if before is not None:
            self.remove_pod(pod.uid)
        self._pods[pod.uid] = (node, pod.pod_class)
        row = self._row_of.get(node)
        if row is None:
            self._waiting.setdefault(node, set()).add(pod.uid)
        else:
            self._count(row, pod.pod_class, +1)

    def remove_pod(self, uid: str) -> str:
        """Give back what a pod took; returns the node it was counted on, "" when it was on none."""
        found = self._pods.pop(uid, None)
        if found is None:
            return ""
        node, pod_class = found
        row = self._row_of.get(node)
        if row is None:
            self._waiting.get(node, set()).discard(uid)
        else:
            self._count(row, pod_class, -1)
        return node

    def _count(self, row: int, pod_class: PodClass, sign: int) -> None:
        self.touched.append(row)
        for resource, amount in pod_class.requests:
            column = self._column_for(resource)  # may replace the arrays by wider ones: index them after it
            self.used[row, column] += sign * amount
        self.used[row, self._resources[PODS]] += sign
        self.scored[row] += (sign * pod_class.scored[0], sign * pod_class.scored[1])
        kept = self.rows[row]
        assert kept is not None
        for port in pod_class.host_ports:
            kept.ports[port] += sign
            if not kept.ports[port]:
                del kept.ports[port]
        if pod_class.owner:
            kept.owners[pod_class.owner] += sign
            if not kept.owners[pod_class.owner]:
                del kept.owners[pod_class.owner]

    def _new_row(self) -> int:
        if self._free:
            return self._free.pop()
        row = len(self.rows)
        self.rows.append(None)
        if row == self.allocatable.shape[0]:
            self.allocatable = _grown(self.allocatable, rows=row)
            self.used = _grown(self.used, rows=row)
            self.scored = _grown(self.scored, rows=row)
            self.present = np.concatenate([self.present, np.zeros(row, dtype=np.bool_)])
            self.schedulable = np.concatenate([self.schedulable, np.zeros(row, dtype=np.bool_)])
        return row

    def _column_for(self, resource: str) -> int:
        column = self._resources.get(resource)
        if column is None:
            column = self._resources[resource] = len(self._resources)
            self.allocatable = _grown(self.allocatable, columns=1)
            self.used = _grown(self.used, columns=1)
        return column


def _grown(array: Floats, *, rows: int = 0, columns: int = 0) -> Floats:
    return np.pad(array, ((0, rows), (0, columns)))

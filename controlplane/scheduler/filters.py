"""Filters: where may this pod run? Each is a mask over the node table's rows, with the reason for those it excludes.

Reasons are kube-scheduler's own sentences, since users search for them. Two kinds: standing filters depend only on the
nodes' own fields and are kept until those change; moving filters (free resources, host ports) change with each pod.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import orjson

from controlplane.scheduler.nodes import Floats, Mask, NodeTable, Row, Rows
from controlplane.scheduler.request import CPU, MEMORY, PODS, STORAGE, HostPort, PodClass
from controlplane.scheduler.terms import affinity_matches, selector_matches, untolerated
from mesh.objects.types import Object

UNSCHEDULABLE = "node(s) were unschedulable"
WRONG_NAME = "node(s) didn't match the requested node name"
TAINTED = "node(s) had untolerated taint(s)"
WRONG_NODE = "node(s) didn't match Pod's node affinity/selector"
PORTS_TAKEN = "node(s) didn't have free ports for the requested pod ports"
TOO_MANY_PODS = "Too many pods"

_HARD = frozenset({"NoSchedule", "NoExecute"})
_CORDON: Object = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
_ALL_ADDRESSES = "0.0.0.0"

Test: TypeAlias = Callable[[Row], bool]


@dataclass(frozen=True, slots=True)
class Standing:
    """The standing filters' verdict for one class: the rows left, and why each other row was excluded."""

    mask: Mask
    refusals: Mapping[str, int]


def standing(table: NodeTable, pod: PodClass) -> Standing:
    """Apply the filters that depend only on the nodes' own fields, in kube-scheduler's order; the first one that
    excludes a node names its reason."""
    left = table.present[: table.size].copy()
    refusals: dict[str, int] = {}

    def exclude(mask: Mask, reason: str) -> None:
        nonlocal left
        count = int(np.count_nonzero(left & ~mask))
        if count:
            refusals[reason] = refusals.get(reason, 0) + count
            left = left & mask

    tolerations: Sequence[Object] = orjson.loads(pod.tolerations) if pod.tolerations else ()
    if untolerated((_CORDON,), tolerations, _HARD):
        exclude(table.schedulable[: table.size], UNSCHEDULABLE)
    if pod.node_name:
        exclude(_each(table, lambda row: row.name == pod.node_name), WRONG_NAME)
    exclude(_each(table, lambda row: untolerated(row.taints, tolerations, _HARD) is None), TAINTED)
    if pod.constraints:
        wanted = orjson.loads(pod.constraints)
        exclude(_each(table, _node_test(wanted)), WRONG_NODE)
    return Standing(left, refusals)


def _node_test(wanted: Object) -> Test:
    selector, required = wanted["selector"], wanted["required"]
    return lambda row: selector_matches(selector, row.labels) and affinity_matches(required, row.name, row.labels)


def _each(table: NodeTable, test: Test) -> Mask:
    mask = np.zeros(table.size, dtype=np.bool_)
    for i, row in table.named_rows():
        mask[i] = test(row)
    return mask


@dataclass(frozen=True, slots=True)
class Need:
    """A class's requests as a vector: which columns of the table, and how much of each."""

    columns: Rows
    amounts: Floats
    impossible: bool
    """It asks for a resource that no node has."""


def need_of(table: NodeTable, pod: PodClass) -> Need:
    """The requests, and one pod."""
    wanted = [(table.column(resource), amount) for resource, amount in (*pod.requests, (PODS, 1.0))]
    known = [(column, amount) for column, amount in wanted if column is not None]
    columns = np.array([column for column, _ in known], dtype=np.intp)
    return Need(columns, np.array([amount for _, amount in known]), len(known) < len(wanted))


def fits(table: NodeTable, need: Need, rows: Rows) -> Mask:
    """Which of `rows` have room for one more such pod."""
    if need.impossible:
        return np.zeros(len(rows), dtype=np.bool_)
    cells = (rows[:, None], need.columns)
    mask: Mask = np.all(table.used[cells] + need.amounts <= table.allocatable[cells], axis=1)
    return mask


def ports_free(row: Row | None, ports: Sequence[HostPort]) -> bool:
    """Whether none of the host ports is taken on this node; all addresses overlap each single one."""
    if row is None or not row.ports:
        return row is not None
    for protocol, address, port in ports:
        for taken_protocol, taken_address, taken in row.ports:
            if (
                port == taken
                and protocol == taken_protocol
                and (_ALL_ADDRESSES in (address, taken_address) or address == taken_address)
            ):
                return False
    return True


def ports_mask(table: NodeTable, ports: Sequence[HostPort], rows: Rows) -> Mask:
    """`ports_free` for each of `rows`."""
    return np.array([ports_free(table.rows[row], ports) for row in rows], dtype=np.bool_)


def shortages(table: NodeTable, pod: PodClass, row: int) -> list[str]:
    """What is short on this row: one reason for each resource."""
    reasons = []
    pods = table.column(PODS)
    if table.used[row, pods] + 1 > table.allocatable[row, pods]:
        reasons.append(TOO_MANY_PODS)
    for resource, amount in sorted(pod.requests, key=_kubernetes_order):
        column = table.column(resource)
        if column is None or table.used[row, column] + amount > table.allocatable[row, column]:
            reasons.append(f"Insufficient {resource}")
    return reasons


def _kubernetes_order(request: tuple[str, float]) -> tuple[int, str]:
    order = (CPU, MEMORY, STORAGE)
    return (order.index(request[0]) if request[0] in order else len(order)), request[0]


def refusal_message(nodes: int, refusals: Mapping[str, int]) -> str:
    """kube-scheduler's sentence: `0/3 nodes are available: 1 node(s) were unschedulable, 2 Insufficient cpu.`"""
    if not nodes:
        return "no nodes available to schedule pods"
    reasons = ", ".join(sorted(f"{count} {reason}" for reason, count in refusals.items()))
    return f"0/{nodes} nodes are available: {reasons}."


def moving_refusals(table: NodeTable, pod: PodClass, left: Mask) -> Counter[str]:
    """Why each of the rows in `left` cannot take the pod now."""
    refusals: Counter[str] = Counter()
    for row in np.flatnonzero(left):
        if pod.host_ports and not ports_free(table.rows[row], pod.host_ports):
            refusals[PORTS_TAKEN] += 1
            continue
        refusals.update(shortages(table, pod, int(row)))
    return refusals

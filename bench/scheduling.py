"""The scheduler: decisions by the pure plan, and pods bound end to end through API, store and watch.

Nodes are only objects here, and so are pods: nobody runs them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

from bench.cluster import client_of, cpu_seconds
from bench.controlplane import ControlPlane, running_control_plane
from bench.figures import Figure, at_least
from bench.load import IN_FLIGHT, timed
from bench.watching import watching
from controlplane.scheduler.nodes import NodeTable
from controlplane.scheduler.plan import Memory, place
from controlplane.scheduler.queue import LONGEST_BACK_OFF
from controlplane.scheduler.request import pod_request
from mesh.client.client import Client
from mesh.objects.kinds import NODES, PODS
from mesh.objects.types import Object

ROUNDS = 7
QUEUE = 5000
NODE_COUNTS = (1000, 5000)
BOUND = 2000
SIZES = 50
ROOMY = 100
"""Nodes that come to have room for the waiting pods."""
WAITING = {"bench": "wanted"}
"""Label that the pods of the second half ask for, and that no node has at first."""


def measure() -> Iterator[Figure]:
    """The plan alone, then everything."""
    for count in NODE_COUNTS:
        rates = [_decisions_per_second(count) for _ in range(ROUNDS)]
        yield Figure.of(f"decisions, {count} nodes", "pods/s", rates, at_least(5000))
    with running_control_plane() as plane:
        yield from asyncio.run(_bound(plane))


def _decisions_per_second(nodes: int) -> float:
    """A queue of pods of fifty Deployments, placed on empty nodes from a cold start."""
    table = NodeTable()
    for number in range(nodes):
        table.put_node(_node(number))
    requests = [pod_request(_pod(number)) for number in range(QUEUE)]
    began = time.perf_counter()
    placements = place(table, requests, Memory())
    elapsed = time.perf_counter() - began
    assert all(placement.node for placement in placements)
    return QUEUE / elapsed


async def _bound(plane: ControlPlane) -> list[Figure]:
    nodes = NODE_COUNTS[0]
    async with client_of(plane.home) as client, watching(client) as pods:
        await timed(range(nodes), lambda number: client.create(NODES, _node(number)), IN_FLIGHT)
        began, before = time.perf_counter(), cpu_seconds(plane.server_pid)
        created, _ = await timed(range(BOUND), lambda number: client.create(PODS, _pod(number)), IN_FLIGHT)
        await pods.until(lambda: len(pods.bound) >= BOUND, "pods bound while they are created")
        whole = max(pods.bound.values()) - began
        processor = cpu_seconds(plane.server_pid) - before
        waiting = [_pod(number, selector=WAITING) for number in range(BOUND, 2 * BOUND)]
        await timed(waiting, lambda pod: client.create(PODS, pod), IN_FLIGHT)
        await pods.until(lambda: sum(map(_is_refused, pods.pods.values())) >= BOUND, "pods found to have no place")
        await asyncio.sleep(LONGEST_BACK_OFF)  # then all of them are due as soon as there is room
        began = time.perf_counter()
        await timed(range(ROOMY), lambda number: _make_room(client, number), IN_FLIGHT)
        await pods.until(lambda: len(pods.bound) >= 2 * BOUND, "waiting pods bound")
        late = [pods.bound[pod["metadata"]["name"]] - began for pod in waiting]
    return [
        Figure.of(f"pods created, {IN_FLIGHT} in flight, and bound meanwhile", "pods/s", [BOUND / created]),
        Figure.of(f"first create to last bound, {nodes} nodes", "pods/s", [BOUND / whole]),
        Figure.of("server's processor time for each of them", "ms", [1000 * processor / BOUND]),
        Figure.of(f"{BOUND} waiting pods bound when room appears", "pods/s", [BOUND / max(late)], at_least(1000)),
        Figure.of("each of them: room to bound", "ms", [1000 * t for t in late]),
    ]


def _node(number: int) -> Object:
    amounts = {"cpu": "64", "memory": "256Gi", "pods": "110", "ephemeral-storage": "100Gi"}
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": ""}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": f"n{number}", "labels": {"kubernetes.io/hostname": f"n{number}"}},
        "status": {"allocatable": amounts, "capacity": amounts, "conditions": [ready]},
    }


def _pod(number: int, *, selector: dict[str, str] | None = None) -> Object:
    """A pod of one of fifty sizes, as the pods of fifty Deployments are."""
    requests = {"cpu": f"{100 + number % SIZES}m", "memory": "128Mi"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"p{number}", "namespace": "default", "uid": f"pod-{number}"},
        "spec": {
            "containers": [{"name": "main", "image": "example/app:1", "resources": {"requests": requests}}],
            "nodeSelector": selector or {},
        },
    }


async def _make_room(client: Client, number: int) -> None:
    await client.patch(NODES, f"n{number}", "", {"metadata": {"labels": WAITING}})


def _is_refused(pod: Object) -> bool:
    return any(c.get("reason") == "Unschedulable" for c in pod["status"].get("conditions") or ())

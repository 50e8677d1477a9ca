"""Memory (PSS) and processor time of every process: at rest with three nodes, and with 10,000 pods on played nodes."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from bench.cluster import client_of, cpu_seconds, pids, pss_mb, running_cluster
from bench.figures import Aim, Figure, at_most
from bench.watching import PodWatch, watching
from cli.cluster import FAKE_LABEL
from images.examples import BUSYBOX
from mesh.client.client import Client
from mesh.objects.kinds import DEPLOYMENTS, NODES
from mesh.objects.meta import labels_of
from mesh.objects.types import Object

PODS_WANTED = 10_000
DEPLOYMENTS_WANTED = 20
FAKE_NODES = 100
REST_SECONDS = 20.0
SAMPLES = 5
AIMS = {"control plane": at_most(200), "agent": at_most(60), "proxy": at_most(60)}
ROLES = {
    "server": "control plane",
    "agent": "agent",
    "proxy": "proxy",
    "nats": "nats-server",
    "supervisor": "supervisor",
}


def measure() -> Iterator[Figure]:
    """At rest first, then full, each on a cluster of its own."""
    with running_cluster(3) as cluster:
        time.sleep(REST_SECONDS)
        yield from _memory(pids(cluster.home), "at rest", AIMS)
        yield from _processor(pids(cluster.home), "at rest")
    with running_cluster(1) as cluster, _played(cluster.home) as player:
        yield from asyncio.run(_fill(cluster.home))
        time.sleep(REST_SECONDS)
        running = pids(cluster.home) | {"fakes": player}
        yield from _memory(running, f"{PODS_WANTED} pods", {})
        yield from _processor(running, f"{PODS_WANTED} pods")


def _memory(running: Mapping[str, int], when: str, aims: Mapping[str, Aim]) -> Iterator[Figure]:
    found: dict[str, list[float]] = {}
    for sample in range(SAMPLES):
        time.sleep(1.0 if sample else 0.0)
        for name, pid in running.items():
            found.setdefault(_role(name), []).append(pss_mb(pid))
    for role, samples in sorted(found.items()):
        yield Figure.of(f"memory {when}, {role}", "MB PSS", samples, aims.get(role))


def _processor(running: Mapping[str, int], when: str) -> Iterator[Figure]:
    """Share of one core, over `REST_SECONDS`."""
    began, before = time.perf_counter(), {name: cpu_seconds(pid) for name, pid in running.items()}
    time.sleep(REST_SECONDS)
    elapsed = time.perf_counter() - began
    found: dict[str, list[float]] = {}
    for name, pid in running.items():
        found.setdefault(_role(name), []).append(100 * (cpu_seconds(pid) - before[name]) / elapsed)
    for role, samples in sorted(found.items()):
        yield Figure.of(f"processor {when}, {role}", "% of a core", samples)


def _role(process: str) -> str:
    """`agent-node-2` is an agent."""
    kind = process.partition("-")[0]
    return ROLES.get(kind, f"{FAKE_NODES} played nodes")


@contextmanager
def _played(home: Path) -> Iterator[int]:
    """`covey agent --runtime fake` in this home; its process id."""
    command = [sys.executable, "-m", "cli.main", "agent", "--runtime", "fake", "--count", str(FAKE_NODES)]
    with (home / "logs" / "fakes.log").open("wb") as output:
        player = subprocess.Popen(
            command, env={**os.environ, "COVEY_HOME": str(home)}, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        yield player.pid
        if player.poll() is not None:
            raise RuntimeError("the played nodes' process ended")
    finally:
        player.send_signal(signal.SIGTERM)
        player.wait(60)


async def _fill(home: Path) -> list[Figure]:
    """Pods by Deployments, through controllers, scheduler and agents, all Running on return."""
    async with client_of(home) as client, watching(client) as pods:
        await _nodes_joined(client)
        rates, share = [], PODS_WANTED // DEPLOYMENTS_WANTED
        for number in range(1, DEPLOYMENTS_WANTED + 1):
            started, wanted = time.perf_counter(), number * share
            await client.create(DEPLOYMENTS, _deployment(f"fill-{number}", share))
            await pods.until(partial(_has_running, pods, wanted), f"{wanted} running pods")
            rates.append(share / (time.perf_counter() - started))
    return [Figure.of(f"a Deployment of {share} to Running, all processes on one machine", "pods/s", rates)]


def _has_running(pods: PodWatch, wanted: int) -> bool:
    return len(pods.running) >= wanted


async def _nodes_joined(client: Client) -> None:
    for _ in range(600):
        nodes = (await client.list(NODES)).items
        if sum(FAKE_LABEL in labels_of(node) and "status" in node for node in nodes) == FAKE_NODES:
            return
        await asyncio.sleep(0.2)
    raise RuntimeError(f"only {len(nodes)} nodes have joined")


def _deployment(name: str, replicas: int) -> Object:
    labels = {"app": name}
    spec = {"nodeSelector": {FAKE_LABEL: "true"}, "containers": [{"name": "main", "image": BUSYBOX}]}
    return {
        "apiVersion": DEPLOYMENTS.api_version,
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }

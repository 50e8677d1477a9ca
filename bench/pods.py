"""From a pod's creation until a watcher sees it running, against `docker run -d` on the same daemon in the same minutes.

The image is present, the network is Docker's default bridge on its side and the pod network on ours. Ours counts from
before the API request: admission, scheduling, the agent, the containers, the status write and the watch event are in it.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor

import docker
from docker.models.containers import Container

from bench.cluster import client_of, running_cluster
from bench.figures import Figure, at_most, ratios
from bench.watching import PodWatch, watching
from cli.containers import CLUSTER_LABEL, KIND_LABEL
from images.examples import BUSYBOX
from mesh.client.client import Client
from mesh.objects.kinds import DEPLOYMENTS, PODS
from mesh.objects.types import Object
from tests.support.cluster import RealCluster

ROUNDS = 15
SCALE = 50
SCALE_ROUNDS = 3
NODES = 3
WARM_EACH = 2
"""Warm sandboxes that an agent keeps (`AgentConfig.warm_sandboxes`)."""
SETTLE_SECONDS = 0.5
"""After a round: what the last pods left behind is cleared away meanwhile."""
COMMAND = ["sleep", "86400"]


def measure() -> Iterator[Figure]:
    """Single starts in turns, then fifty at once."""
    with running_cluster(NODES) as cluster:
        engine = docker.from_env(max_pool_size=SCALE)
        try:
            yield from asyncio.run(_measured(cluster, engine))
        finally:
            engine.close()


async def _measured(cluster: RealCluster, engine: docker.DockerClient) -> list[Figure]:
    async with client_of(cluster.home) as client, watching(client) as pods:
        singles = [figure async for figure in _singles(cluster, engine, client, pods)]
        return singles + [figure async for figure in _scales(cluster, engine, client, pods)]


async def _singles(
    cluster: RealCluster, engine: docker.DockerClient, client: Client, pods: PodWatch
) -> AsyncIterator[Figure]:
    theirs, warm, cold = [], [], []
    for number in range(ROUNDS + 1):
        await _settled(cluster, engine)
        run = await asyncio.to_thread(_docker_run, engine)
        warmly = await _pod(client, pods, f"warm-{number}")
        await _settled(cluster, engine)
        # A sysctl of another namespace than the network is what a warm sandbox cannot give: the pod gets a fresh one.
        sysctl = {"sysctls": [{"name": "kernel.shm_rmid_forced", "value": "1"}]}
        coldly = await _pod(client, pods, f"cold-{number}", {"securityContext": sysctl})
        if number:  # the first round warms caches on both sides
            theirs.append(run)
            warm.append(warmly)
            cold.append(coldly)
    yield Figure.of("docker run -d", "ms", [1000 * t for t in theirs])
    yield Figure.of("pod, warm sandbox", "ms", [1000 * t for t in warm])
    yield Figure.of("pod, cold sandbox", "ms", [1000 * t for t in cold])
    yield Figure.of("pod, warm / docker run", "ratio", ratios(warm, theirs), at_most(0.6))
    yield Figure.of("pod, cold / docker run", "ratio", ratios(cold, theirs), at_most(1.5))


async def _scales(
    cluster: RealCluster, engine: docker.DockerClient, client: Client, pods: PodWatch
) -> AsyncIterator[Figure]:
    await client.create(DEPLOYMENTS, _deployment())
    theirs, ours = [], []
    for _ in range(SCALE_ROUNDS):
        await _settled(cluster, engine)
        theirs.append(await asyncio.to_thread(_docker_run_many, engine))
        await _settled(cluster, engine)
        pods.running.clear()
        started = time.perf_counter()
        await _scale(client, SCALE)
        await pods.until(lambda: len(pods.running) >= SCALE, f"{SCALE} running pods")
        ours.append(max(pods.running.values()) - started)
        await _scale(client, 0)
        await pods.until(lambda: not pods.pods, "no pods")
    yield Figure.of(f"{SCALE} x docker run -d, all at once", "s", theirs)
    yield Figure.of(f"Deployment 0 -> {SCALE}, {NODES} nodes", "s", ours)
    yield Figure.of(f"0 -> {SCALE} / docker run", "ratio", ratios(ours, theirs))


async def _settled(cluster: RealCluster, engine: docker.DockerClient) -> None:
    """Until each node has its warm sandboxes again and nothing else."""
    label = f"{CLUSTER_LABEL}={cluster.name}"
    for _ in range(600):
        listed = await asyncio.to_thread(engine.api.containers, all=True, filters={"label": label})
        kinds = [entry["Labels"][KIND_LABEL] for entry in listed if entry["State"] == "running"]
        if kinds.count("sandbox") == NODES * WARM_EACH == len(listed) - NODES:  # beside them only the nodes' holders
            await asyncio.sleep(SETTLE_SECONDS)
            return
        await asyncio.sleep(0.1)
    raise RuntimeError(f"the nodes do not come to rest: {sorted(entry['Names'][0] for entry in listed)}")


def _docker_run(engine: docker.DockerClient) -> float:
    """Seconds for one `docker run -d` through the daemon's API (the command line's own start is not in it)."""
    started = time.perf_counter()
    container = _run(engine)
    elapsed = time.perf_counter() - started
    container.remove(force=True)
    return elapsed


def _docker_run_many(engine: docker.DockerClient) -> float:
    """Seconds for all of them, asked for at once, as the agents do."""
    with ThreadPoolExecutor(SCALE) as threads:
        started = time.perf_counter()
        containers = list(threads.map(lambda _: _run(engine), range(SCALE)))
        elapsed = time.perf_counter() - started
        list(threads.map(lambda container: container.remove(force=True), containers))
    return elapsed


def _run(engine: docker.DockerClient) -> Container:
    return engine.containers.run(BUSYBOX, COMMAND, detach=True, name=f"covey-bench-{uuid.uuid4().hex[:12]}")


async def _pod(client: Client, pods: PodWatch, name: str, more: Object | None = None) -> float:
    """Seconds from the request to the watch event that shows it running; the pod is gone on return."""
    spec = _pod_spec() | (more or {})
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"}, "spec": spec}
    started = time.perf_counter()
    await client.create(PODS, pod)
    await pods.until(lambda: name in pods.running, f"pod {name} running")
    elapsed = pods.running[name] - started
    await client.delete(PODS, name, "default", grace_period_seconds=0)
    await pods.until(lambda: name not in pods.pods, f"pod {name} gone")
    return elapsed


def _pod_spec() -> Object:
    return {"terminationGracePeriodSeconds": 0, "containers": [{"name": "main", "image": BUSYBOX, "command": COMMAND}]}


def _deployment() -> Object:
    labels = {"app": "bench"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "bench", "namespace": "default"},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": _pod_spec()},
        },
    }


async def _scale(client: Client, replicas: int) -> None:
    await client.patch(DEPLOYMENTS, "bench", "default", {"spec": {"replicas": replicas}})

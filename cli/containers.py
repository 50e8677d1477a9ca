"""The Docker part of `covey up` and `covey down`: images that Covey makes itself, and the nodes' holder containers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import docker
from docker.errors import APIError, DockerException, NotFound
from docker.models.containers import Container
from docker.types import Mount

from agents.network.machine import HOLDER_MOUNT, holder_command, holder_ready
from cli.cluster import Cluster, NodeSpec
from images.examples import BUSYBOX, ensure_example_images
from mesh.errors import Terminal

CLUSTER_LABEL, NODE_LABEL, KIND_LABEL = "dev.covey.cluster", "dev.covey.node", "dev.covey.kind"
HOLDER_KIND, SANDBOX_KIND = "holder", "sandbox"
_PATIENCE_SECONDS = 20.0
_AT_A_TIME = 4


@contextmanager
def docker_at(url: str) -> Iterator[docker.DockerClient]:
    """A client of a Docker daemon, closed in the end; `Terminal` when the daemon goes away or refuses something."""
    try:
        client = docker.DockerClient(base_url=url, timeout=60)
        try:
            yield client
        finally:
            client.close()
    except (DockerException, OSError) as error:  # OSError: the library lets its HTTP client's through
        raise Terminal(f"the Docker daemon at {url}: {error}") from error


def ensure_holders(client: docker.DockerClient, cluster: Cluster) -> None:
    """Make the images, and run a holder for each node; those that run already are left as they are. Several are made
    at the same time: Docker needs half a second for each."""
    ensure_example_images(client)
    with ThreadPoolExecutor(_AT_A_TIME) as threads:
        list(threads.map(partial(_ensure_holder, client, cluster), cluster.nodes))  # list: it raises what one raised


def _ensure_holder(client: docker.DockerClient, cluster: Cluster, node: NodeSpec) -> None:
    try:
        holder = client.containers.get(node.holder)
        if holder.status != "running":
            holder.start()
        elif not _inside(holder, cluster, node):  # the node's namespace was deleted, and made anew
            holder.restart(timeout=0)
    except NotFound:
        holder = client.containers.run(
            BUSYBOX,
            list(holder_command()),
            name=node.holder,
            detach=True,
            network_mode="none",
            cap_add=["SYS_ADMIN"],
            security_opt=["apparmor=unconfined", "seccomp=unconfined"],
            # Not as a "volume": of one whose source is missing, as after a boot, Docker would make a directory.
            mounts=[Mount(HOLDER_MOUNT, node.namespace, type="bind", read_only=True)],
            labels={CLUSTER_LABEL: cluster.name, NODE_LABEL: node.name, KIND_LABEL: HOLDER_KIND},
            restart_policy={"Name": "always"},
        )
    _await_ready(holder, cluster, node)
    _end_misplaced(client, cluster, node)  # now, for until now the agent could have made them where the holder was


def _await_ready(holder: Container, cluster: Cluster, node: NodeSpec) -> None:
    """Until the holder's process is in the node's namespace."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if _inside(holder, cluster, node):
            return
        time.sleep(0.02)
    logs = holder.logs().decode(errors="replace").strip()
    raise Terminal(f"the holder container of node {node.name} does not enter its namespace: {logs or holder.status}")


def _inside(holder: Container, cluster: Cluster, node: NodeSpec) -> bool:
    holder.reload()
    pid = int(holder.attrs["State"]["Pid"])
    return bool(pid) and holder_ready(pid, cluster.name, node.name)


def _end_misplaced(client: docker.DockerClient, cluster: Cluster, node: NodeSpec) -> None:
    """Kill the sandboxes of hostNetwork pods that are where their holder was before; the agent makes them anew."""
    labels = [f"{CLUSTER_LABEL}={cluster.name}", f"{NODE_LABEL}={node.name}", f"{KIND_LABEL}={SANDBOX_KIND}"]
    for found in client.api.containers(filters={"label": labels}):
        if found["HostConfig"]["NetworkMode"].startswith("container:"):
            with suppress(APIError):  # it ended just now
                pid = client.api.inspect_container(found["Id"])["State"]["Pid"]
                if pid and not holder_ready(pid, cluster.name, node.name):
                    client.api.kill(found["Id"])


def remove_containers(client: docker.DockerClient, cluster: str, node: str = "") -> int:
    """Kill and remove every container of the cluster, or of one of its nodes, the holders last; returns how many."""
    labels = [f"{CLUSTER_LABEL}={cluster}", *([f"{NODE_LABEL}={node}"] if node else [])]
    found = client.containers.list(all=True, filters={"label": labels}, ignore_removed=True)
    found.sort(key=lambda c: c.labels.get(KIND_LABEL) == HOLDER_KIND)
    for container in found:
        try:
            container.remove(force=True, v=True)
        except NotFound:
            continue
    return len(found)


def mounts_below(folder: Path) -> list[Path]:
    """Mount points below a folder, deepest first (pods' memory volumes)."""
    prefix = f"{folder.resolve()}/"
    points = [line.split()[1].replace("\\040", " ") for line in Path("/proc/mounts").read_text().splitlines()]
    return sorted((Path(p) for p in points if p.startswith(prefix)), key=lambda p: len(p.parts), reverse=True)

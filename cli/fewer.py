"""`covey up` with fewer nodes than before: what becomes of those that go.

First everything of theirs on the machine is ended, so that nothing of a pod runs when the cluster hears that its node is
gone; then the API forgets them, and their pods are made anew elsewhere.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress

from agents.node.cgroups.pods import remove_node
from cli.cluster import Cluster, NodeSpec
from cli.containers import docker_at, mounts_below, remove_containers
from cli.layout import Layout
from cli.pidfiles import await_end, end, read_pid
from cli.session import connect
from cli.supervisor import read_processes, supervisor_pid, write_processes
from mesh.errors import NotFound
from mesh.objects.kinds import NODES, PODS
from mesh.objects.meta import name_of, namespace_of, uid_of

STOP_SECONDS = 20.0


def end_nodes(layout: Layout, cluster: Cluster, gone: Sequence[NodeSpec]) -> None:
    """Stop the processes of these nodes, remove their containers and their files."""
    names = {f"{process}-{node.name}" for node in gone for process in ("agent", "proxy")}
    stop(layout, names)
    with docker_at(cluster.docker_socket) as client:
        for node in gone:
            remove_containers(client, cluster.name, node.name)
    remove_traces(layout, cluster, gone)
    for name in names:
        layout.config_file(name).unlink(missing_ok=True)
        layout.seed_file(name).unlink(missing_ok=True)


def remove_traces(layout: Layout, cluster: Cluster, nodes: Sequence[NodeSpec]) -> None:
    """Remove what is left of nodes whose containers are gone: memory volumes, cgroups, the agent's files."""
    for node in nodes:
        state = layout.node_state(node.name)
        for point in mounts_below(state):
            subprocess.run(["umount", "--lazy", str(point)], check=False, capture_output=True)
        with suppress(OSError):  # a systemd that does not answer: slices without units are its own to collect
            asyncio.run(remove_node(cluster.name, node.name))
        shutil.rmtree(state, ignore_errors=True)


def stop(layout: Layout, names: set[str]) -> None:
    """The supervisor stops what is no longer in its list; without one this does."""
    write_processes(layout.run, [spec for spec in read_processes(layout.run) if spec.name not in names])
    supervisor = supervisor_pid(layout.home)
    if supervisor is not None:
        os.kill(supervisor.pid, signal.SIGHUP)
    for name in sorted(names):
        running = read_pid(layout.run / f"{name}.pid")
        if running is None:
            continue
        if supervisor is None or not await_end(running, STOP_SECONDS):
            end(running, STOP_SECONDS)


async def forget_nodes(gone: Sequence[NodeSpec]) -> None:
    """Delete the Node objects and, since nothing of them runs any more, their pods without waiting for anybody."""
    async with connect() as session:
        for node in gone:
            with suppress(NotFound):
                await session.client.delete(NODES, node.name)
            for pod in (await session.client.list(PODS, field_selector=f"spec.nodeName={node.name}")).items:
                with suppress(NotFound):
                    await session.client.delete(
                        PODS, name_of(pod), namespace_of(pod), uid=uid_of(pod), grace_period_seconds=0
                    )

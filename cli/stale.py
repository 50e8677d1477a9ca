"""Processes of a running cluster that no longer are as they should be: `covey up` ends them, the supervisor starts them
again. Containers and connections do not notice.

They are those whose configuration has changed, and those of a node whose network namespace was deleted by hand: they
would live on in the old one, which nobody can reach any more.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from cli.cluster import Cluster
from cli.layout import Layout
from cli.pidfiles import Running, end, read_pid
from mesh import netns

STOP_SECONDS = 20.0


def end_stale(layout: Layout, cluster: Cluster, changed: Iterable[str]) -> None:
    """End the processes named in `changed`, and those that are not in the namespace of their node."""
    for name in sorted({*changed, *_displaced(layout, cluster)}):
        running = read_pid(layout.run / f"{name}.pid")
        if running is not None:
            end(running, STOP_SECONDS)


def _displaced(layout: Layout, cluster: Cluster) -> Iterable[str]:
    for node in cluster.nodes:
        for name in (f"agent-{node.name}", f"proxy-{node.name}"):
            running = read_pid(layout.run / f"{name}.pid")
            if running is not None and not _is_in(running, node.namespace):
                yield name


def _is_in(running: Running, namespace: str) -> bool:
    with suppress(OSError):  # it has just ended
        return netns.same(f"/proc/{running.pid}/ns/net", namespace)
    return False

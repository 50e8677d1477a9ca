"""Processes of a running cluster that live in the wrong place: `covey up` ends them, the supervisor starts them again.
Containers and connections do not notice.

They are those of a node whose network namespace was deleted by hand: they would live on in the old one, which nobody
can reach any more. (Those whose configuration has changed are the supervisor's to replace.)
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from cli.cluster import Cluster
from cli.layout import Layout
from cli.pidfiles import Running, end, read_pid
from mesh import netns

STOP_SECONDS = 20.0


def end_displaced(layout: Layout, cluster: Cluster) -> None:
    """End the processes that are not in the namespace of their node."""
    for running in list(_displaced(layout, cluster)):
        end(running, STOP_SECONDS)


def _displaced(layout: Layout, cluster: Cluster) -> Iterable[Running]:
    for node in cluster.nodes:
        for name in (f"agent-{node.name}", f"proxy-{node.name}"):
            running = read_pid(layout.run / f"{name}.pid")
            if running is not None and not _is_in(running, node.namespace):
                yield running


def _is_in(running: Running, namespace: str) -> bool:
    with suppress(OSError):  # it has just ended
        return netns.same(f"/proc/{running.pid}/ns/net", namespace)
    return False

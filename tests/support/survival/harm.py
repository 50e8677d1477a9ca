"""Ways to break a real cluster: processes killed or held still, nodes' links cut. Each mends itself at its end."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum

from agents.network import names
from agents.network.machine import node_netns
from cli.pidfiles import Running, read_pid
from tests.support.cluster import RealCluster, await_

_TABLE = "covey-test-cut"


def process(cluster: RealCluster, name: str) -> Running:
    """A running process of the cluster, by the name of its pid file."""
    found = read_pid(cluster.home / "run" / f"{name}.pid")
    assert found is not None, f"{name} does not run"
    return found


def kill(cluster: RealCluster, name: str) -> Running:
    """kill -9; returns what was killed."""
    victim = process(cluster, name)
    os.kill(victim.pid, signal.SIGKILL)
    return victim


def await_another(cluster: RealCluster, name: str, than: Running) -> Running:
    """The process that was started in the place of one that was killed."""

    def another() -> Running | None:
        found = read_pid(cluster.home / "run" / f"{name}.pid")
        return found if found != than else None

    return await_(another, what=f"{name} to be started again")


@contextmanager
def held_still(cluster: RealCluster, name: str) -> Iterator[None]:
    """SIGSTOP a process, and let it go on afterwards."""
    victim = process(cluster, name)
    os.kill(victim.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(victim.pid, signal.SIGCONT)


class Cut(Enum):
    """What a cut stops."""

    BOTH_WAYS = "the link is down"
    NOTHING_LEAVES = "nothing that the node sends arrives"
    NOTHING_ARRIVES = "nothing arrives at the node"


@contextmanager
def link_cut(cluster: RealCluster, node: str, cut: Cut) -> Iterator[None]:
    """Cut a node's link to the rest of the cluster, and mend it afterwards."""
    link = names.node_link(cluster.name, node)
    if cut is Cut.BOTH_WAYS:
        _run("ip", "link", "set", link, "down")
    elif cut is Cut.NOTHING_LEAVES:
        _run("nft", "-f", "-", given=_drop_ingress(link))
    else:
        _run(*_inside(cluster, node), "nft", "-f", "-", given=_drop_ingress("eth0"))
    try:
        yield
    finally:
        if cut is Cut.BOTH_WAYS:
            _run("ip", "link", "set", link, "up")
        elif cut is Cut.NOTHING_LEAVES:
            _run("nft", "delete", "table", "netdev", _table(link))
        else:
            _run(*_inside(cluster, node), "nft", "delete", "table", "netdev", _table("eth0"))


def _table(device: str) -> str:
    return f"{_TABLE}-{device}"


def _drop_ingress(device: str) -> str:
    """A packet filter before all others, for what comes in at a device."""
    return f"""table netdev {_table(device)} {{
  chain everything {{ type filter hook ingress device "{device}" priority -500; policy drop; }}
}}"""


def _inside(cluster: RealCluster, node: str) -> tuple[str, ...]:
    return "nsenter", f"--net={node_netns(cluster.name, node)}", "--"


def _run(*command: str, given: str = "") -> None:
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"

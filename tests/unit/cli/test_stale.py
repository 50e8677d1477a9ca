"""Processes of a namespace that was deleted are ended; the others run on."""

from __future__ import annotations

import subprocess
from pathlib import Path

import msgspec

from cli.cluster import Cluster, NodeSpec
from cli.layout import Layout
from cli.pidfiles import write_pid
from cli.stale import end_displaced


def test_only_what_is_in_another_namespace_than_its_nodes_is_ended(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.make()
    here = NodeSpec(name="here", address="10.0.0.2", holder="h", namespace="/proc/self/ns/net")
    elsewhere = msgspec.structs.replace(here, name="elsewhere", namespace="/proc/self/ns/uts")
    gone = msgspec.structs.replace(here, name="gone", namespace=str(tmp_path / "gone"))
    cluster = Cluster(
        name="c", host_address="10.0.0.1", node_cidr="10.0.0.0/24", pod_cidr="10.1.0.0/16",
        service_cidr="10.96.0.0/16", nodes=[here, elsewhere, gone],
    )  # fmt: skip
    names = ["agent-here", "proxy-here", "agent-elsewhere", "proxy-elsewhere", "agent-gone", "server"]
    running = {name: subprocess.Popen(["sleep", "1000"]) for name in names}
    try:
        for name, process in running.items():
            write_pid(layout.run / f"{name}.pid", process.pid)
        end_displaced(layout, cluster)
        ended = {name for name, process in running.items() if process.poll() is not None}
        assert ended == {"agent-elsewhere", "proxy-elsewhere", "agent-gone"}
    finally:
        for process in running.values():
            process.kill()
            process.wait(20)

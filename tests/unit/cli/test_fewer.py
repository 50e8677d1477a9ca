"""Processes of a node that goes, when no supervisor runs to stop them."""

from __future__ import annotations

import subprocess
from pathlib import Path

from cli.fewer import stop
from cli.layout import Layout
from cli.pidfiles import read_pid, write_pid
from cli.supervisor import ProcessSpec, read_processes, write_processes


def test_without_a_supervisor_only_the_named_processes_end(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    specs = [ProcessSpec(name=name, command=["sleep", "60"]) for name in ("agent-a", "agent-b")]
    write_processes(layout.run, specs)
    running = {spec.name: subprocess.Popen(spec.command) for spec in specs}
    try:
        for name, process in running.items():
            write_pid(layout.run / f"{name}.pid", process.pid)
        stop(layout, {"agent-b", "proxy-b"})
        assert running["agent-b"].wait(5) != 0
        assert running["agent-a"].poll() is None
        assert read_processes(layout.run) == specs[:1]
        assert read_pid(layout.run / "agent-b.pid") is None
    finally:
        for process in running.values():
            process.kill()
            process.wait()

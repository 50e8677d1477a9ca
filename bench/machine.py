"""The machine that figures are of: without it they say nothing."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import docker

from mesh.bus.broker import server_binary

GIB = 1 << 30


def describe() -> dict[str, str]:
    """Cores, memory, kernel, versions, the commit measured, and how busy the machine was before we began."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    broker = subprocess.run([server_binary(), "--version"], capture_output=True, text=True, check=True)
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "cores": f"{len(os.sched_getaffinity(0))} ({_processor()})",
        "memory": f"{memory / GIB:.0f} GiB",
        "kernel": platform.release(),
        "python": platform.python_version(),
        "nats-server": broker.stdout.split()[-1],
        "docker": _docker(),
        "load before": f"{os.getloadavg()[0]:.1f} (1 min; above {len(os.sched_getaffinity(0))} others were measured too)",
    }


def _commit() -> str:
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() or "not a clone"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _docker() -> str:
    client = docker.from_env()
    try:
        info = client.info()
        return f"{info['ServerVersion']}, {info['Driver']}, cgroup v{info.get('CgroupVersion', '1')}"
    finally:
        client.close()

"""A cluster of the bench's own: `covey up` in a home that is removed afterwards, and a client in this process."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgspec

from cli.layout import Layout
from cli.pidfiles import read_pid
from cli.session import Context
from mesh.bus.api_client import BusTransport
from mesh.bus.identities import load_signer
from mesh.bus.nats import NatsBus
from mesh.client.client import Client
from tests.support.cluster import RealCluster


@contextlib.contextmanager
def running_cluster(nodes: int) -> Iterator[RealCluster]:
    """A cluster with this many Ready nodes; afterwards nothing of it is left."""
    with tempfile.TemporaryDirectory(prefix="covey-bench-") as folder:
        cluster = RealCluster.up(Path(folder) / "home", nodes)
        try:
            yield cluster
        finally:
            cluster.down()


@contextlib.asynccontextmanager
async def client_of(home: Path) -> AsyncIterator[Client]:
    """The API over NATS, as the cluster's administrator."""
    context = msgspec.json.decode(Layout(home).context_file.read_bytes(), type=Context)
    bus = NatsBus(context.servers, load_signer(Path(context.seed_file)), name="bench")
    await bus.start(wait=10)
    try:
        yield Client(BusTransport(bus, timeout=60), user_agent="covey-bench")
    finally:
        await bus.close()


def pids(home: Path) -> dict[str, int]:
    """Process ids of what the cluster's supervisor runs, by name."""
    found = {file.stem: read_pid(file) for file in Layout(home).run.glob("*.pid")}
    return {name: running.pid for name, running in found.items() if running is not None}


def pss_mb(pid: int) -> float:
    """Proportional set size: memory of its own, and its share of what it has in common with others (proc(5))."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise ProcessLookupError(f"process {pid} has no Pss line in its smaps_rollup")


def cpu_seconds(pid: int) -> float:
    """Processor time it has used so far, in user and kernel mode (proc(5), stat fields 14 and 15)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100

"""A broker and a control plane without nodes, in processes of their own: what the API and the scheduler are measured on.

The store is durable as everywhere (`sync_interval: always`); the files lie in the temporary directory's file system.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import msgspec

from cli.layout import Layout
from cli.session import Context
from controlplane.apiserver import pki
from mesh.bus import broker
from mesh.bus.identities import Identity, ensure_seed, save_identities
from mesh.config import BusConfig, NetworkConfig, ServerConfig, dump
from tests.support.cluster import free_port

PATIENCE_SECONDS = 60.0
FOREVER_SECONDS = 1e9


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """One that runs; `bench.cluster.client_of` finds it by its home."""

    home: Path
    port: int
    """Of the HTTPS API on 127.0.0.1."""
    keys: pki.Pki
    server_pid: int
    broker_pid: int


@contextlib.contextmanager
def running_control_plane() -> Iterator[ControlPlane]:
    """Serving on entry; nothing of it is left afterwards. No Node is ever declared dead: they are only objects."""
    with tempfile.TemporaryDirectory(prefix="covey-bench-") as folder, contextlib.ExitStack() as stack:
        layout = Layout(Path(folder))
        layout.make()
        broker_port, api_port = free_port(), free_port()
        config, keys = _files(layout, broker_port, api_port)
        logs = stack.enter_context((layout.logs / "all.log").open("wb"))
        nats = stack.enter_context(_process([str(broker.server_binary()), "-c", str(layout.nats / "nats.conf")], logs))
        command = [sys.executable, "-m", "cli.process", "server", str(config)]
        server = stack.enter_context(_process(command, logs))
        _await_ready(layout, server)
        yield ControlPlane(layout.home, api_port, keys, server.pid, nats.pid)


def _files(layout: Layout, broker_port: int, api_port: int) -> tuple[Path, pki.Pki]:
    """Identities, the broker's configuration, certificates, context; returns the server's configuration file."""
    store = ensure_seed(layout.seed_file("store"))
    identities = {
        ensure_seed(layout.seed_file("admin")): Identity(user="kubernetes-admin", groups=["system:masters"]),
        ensure_seed(layout.seed_file("server")): Identity(
            user="system:covey:server", groups=["system:masters"], role="server"
        ),
    }
    save_identities(layout.identities_file, identities)
    broker.write(broker.BrokerConfig(layout.nats, (store,), port=broker_port), identities)
    servers = [f"nats://127.0.0.1:{broker_port}"]
    config = ServerConfig(
        bus=BusConfig(servers=servers, seed_file=str(layout.seed_file("server"))),
        store=BusConfig(servers=servers, seed_file=str(layout.seed_file("store"))),
        identities_file=str(layout.identities_file),
        pki_dir=str(layout.pki),
        bind_address="127.0.0.1",
        port=api_port,
        advertise_address="192.0.2.1",
        network=NetworkConfig(pod_cidrs=["10.64.0.0/12"]),
        node_silence_seconds=FOREVER_SECONDS,
        fence_seconds=FOREVER_SECONDS,
    )
    network = config.network
    names = pki.server_names("127.0.0.1", network.service_cidrs, network.cluster_domain)
    keys = pki.ensure(layout.pki, names, datetime.now(UTC))
    context = Context(cluster="bench", servers=servers, seed_file=str(layout.seed_file("admin")))
    layout.context_file.write_bytes(msgspec.json.encode(context))
    layout.config_file("server").write_bytes(dump(config))
    return layout.config_file("server"), keys


@contextlib.contextmanager
def _process(command: list[str], logs: BinaryIO) -> Iterator[subprocess.Popen[bytes]]:
    running = subprocess.Popen(command, stdout=logs, stderr=subprocess.STDOUT)
    try:
        yield running
    finally:
        running.terminate()
        running.wait(30)


def _await_ready(layout: Layout, server: subprocess.Popen[bytes]) -> None:
    log = layout.logs / "all.log"
    deadline = time.monotonic() + PATIENCE_SECONDS
    while b"server.ready" not in log.read_bytes():
        if server.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the control plane does not start:\n{log.read_text()[-2000:]}")
        time.sleep(0.05)

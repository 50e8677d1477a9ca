"""What a ClusterIP and a NodePort cost a connection, against the pod's own address.

    python -m bench.proxy_traffic [--services 0 10000] [--rounds 5] [--modes nftables iptables] [--json FILE]

A client outside, a node, a pod, each a network namespace (needs root); the targets take turns in each round. Rows are
medians over rounds, with the range; the last column is the median against that of the pod's own address.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import socket
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from bench.proxy_sync import CLUSTER, endpoints
from bench.proxy_sync import service as filler
from netproxy.backend import Backend
from netproxy.iptables.backend import IptablesBackend
from netproxy.model import NodeView, rules_of
from netproxy.nftables.backend import NftablesBackend
from tests.support.service_world import ADDRESSES, PORT, World
from tests.support.services import endpoint, service, slice_of

CONNECTIONS = 200
ROUND_TRIPS = 1000
TARGETS = {
    "pod": (ADDRESSES["pod-a"], PORT),
    "ClusterIP": ("10.96.200.20", 80),
    "NodePort": (ADDRESSES["node"], 30080),
}


def serve(listener: socket.socket) -> None:
    """Answer each byte "p" with one byte; after a byte "f" send as fast as the client takes it."""
    flood = bytes(1 << 18)
    while True:
        connection, _ = listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            while (asked := connection.recv(1)) == b"p":
                connection.sendall(asked)
            while asked == b"f":
                connection.sendall(flood)
        except ConnectionError:
            pass
        finally:
            connection.close()


def connect(target: tuple[str, int]) -> socket.socket:
    """A fresh connection from the namespace this thread is in."""
    made = socket.create_connection(target, timeout=10)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


def connecting(target: tuple[str, int]) -> float:
    """Microseconds until a fresh connection stands, median."""
    times = []
    for _ in range(CONNECTIONS):
        started = time.perf_counter()
        made = connect(target)
        times.append(time.perf_counter() - started)
        made.close()
    return 1e6 * statistics.median(times)


def round_trip(target: tuple[str, int]) -> float:
    """Microseconds for one byte there and back on a standing connection, median."""
    times = []
    with connect(target) as made:
        for _ in range(ROUND_TRIPS):
            started = time.perf_counter()
            made.sendall(b"p")
            made.recv(1)
            times.append(time.perf_counter() - started)
    return 1e6 * statistics.median(times)


def throughput(target: tuple[str, int], seconds: float) -> float:
    """Gbit/s received over one connection."""
    buffer, received = bytearray(1 << 18), 0
    with connect(target) as made:
        made.sendall(b"f")
        started = time.perf_counter()
        while (elapsed := time.perf_counter() - started) < seconds:
            received += made.recv_into(buffer)
    return 8 * received / elapsed / 1e9


async def prepare(backend: Backend, services: int) -> None:
    """Fill the kernel with `services` other Services and ours."""
    rules = {}
    for number in range(services):
        rules.update(rules_of(filler(number), [endpoints(number, 2, 0)], NodeView("node")))
    ours = service(address="10.96.200.20", node_port=30080)
    rules.update(rules_of(ours, [slice_of("web", [endpoint(ADDRESSES["pod-a"])])], NodeView("node")))
    await backend.sync(rules)


def measure(world: World, mode: str, services: int, rounds: int, seconds: float) -> list[dict[str, object]]:
    """One table's worth of rows."""
    with world.entered("node"):
        backend: Backend = NftablesBackend(CLUSTER) if mode == "nftables" else IptablesBackend(CLUSTER)
        asyncio.run(prepare(backend, services))
    found: dict[tuple[str, str], list[float]] = {}
    with world.entered("client"):
        for _ in range(rounds):
            for name, target in TARGETS.items():
                found.setdefault(("connect us", name), []).append(connecting(target))
                found.setdefault(("round trip us", name), []).append(round_trip(target))
                found.setdefault(("Gbit/s", name), []).append(throughput(target, seconds))
    with world.entered("node"):
        asyncio.run(backend.cleanup())
        backend.close()
    rows: list[dict[str, object]] = []
    for (what, name), values in sorted(found.items()):
        middle = statistics.median(values)
        share = middle / statistics.median(found[what, "pod"])
        rows.append({"mode": mode, "services": services, "what": what, "target": name, "median": middle,
                     "least": min(values), "most": max(values), "against_pod": share})  # fmt: skip
        print(
            f"{mode:10}{services:9} {what:14}{name:10}{middle:10.2f}{min(values):10.2f}{max(values):10.2f}{share:8.2f}"
        )
    return rows


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--services", type=int, nargs="+", default=[0, 10000])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--modes", nargs="+", default=["nftables"], choices=["nftables", "iptables"])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(argv)
    world = World(f"bt{os.getpid()}")
    world.build()
    listener = world.socket("pod-a", socket.SOCK_STREAM)
    listener.setblocking(True)
    listener.bind((ADDRESSES["pod-a"], PORT))
    listener.listen(512)
    server = multiprocessing.get_context("fork").Process(target=serve, args=(listener,), daemon=True)
    server.start()
    rows = []
    print(f"{'mode':10}{'services':>9} {'what':14}{'target':10}{'median':>10}{'least':>10}{'most':>10}{'vs pod':>8}")
    try:
        for mode in options.modes:
            for services in options.services:
                rows += measure(world, mode, services, options.rounds, options.seconds)
    finally:
        server.terminate()
        server.join()
        listener.close()
        world.remove()
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

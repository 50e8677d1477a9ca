"""What a ClusterIP and a NodePort cost a connection, against the pod's own address.

    python -m bench.proxy_traffic [--services 0 10000] [--rounds 60] [--modes nftables iptables] [--json FILE]

A client outside, a node, a pod, each a network namespace (needs root). Client and server have a core of their own where
there are two. The targets take turns, request by request for latencies and every few megabytes for throughput, so that a
busy moment of the machine burdens all of them; each round gives one ratio, and rows are medians of ratios.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import os
import random
import socket
import statistics
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bench.proxy_sync import MODES, backend_of, endpoints
from bench.proxy_sync import service as filler
from netproxy.backend import Backend
from netproxy.model import NodeView, rules_of
from tests.support.service_world import ADDRESSES, PORT, World
from tests.support.services import endpoint, service, slice_of

REQUESTS = 100
"""Latencies of one target in one round, of which the median counts."""
VOLUME = 2 << 20
"""Bytes received from one target at a time."""
VOLUMES = 50
"""How often in one round; the median counts."""
CLUSTER_IP, NODE_PORT = "10.96.200.20", 30080
TARGETS = {
    "pod": (ADDRESSES["pod-a"], PORT),
    "ClusterIP": (CLUSTER_IP, 80),
    "NodePort": (ADDRESSES["node"], NODE_PORT),
}
QUANTITIES = ("connection", "request on a fresh connection", "request on a kept connection", "throughput")


def serve(listener: socket.socket) -> None:
    """Answer each byte "p" with one byte, and "f" with `VOLUME` bytes."""
    _take_core(1)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=_answer, args=(connection,), daemon=True).start()


def _answer(connection: socket.socket) -> None:
    flood = bytes(1 << 20)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with connection, contextlib.suppress(ConnectionError):
        while asked := connection.recv(1):
            for _ in range(VOLUME // len(flood) if asked == b"f" else 0):
                connection.sendall(flood)
            if asked == b"p":
                connection.sendall(asked)


def _take_core(number: int) -> None:
    """Run this process on one core, unless there is only one."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) > number:
        os.sched_setaffinity(0, {cores[number]})


def connect(target: tuple[str, int]) -> socket.socket:
    """A fresh connection from the namespace this thread is in. It ends with a reset, so that thousands of them leave no
    states behind that wait for late segments."""
    made = socket.create_connection(target, timeout=10)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return made


def ping(connection: socket.socket) -> None:
    """One byte there and back."""
    connection.sendall(b"p")
    if not connection.recv(1):
        raise ConnectionError("the server hung up instead of answering")


def receive(connection: socket.socket) -> None:
    """`VOLUME` bytes."""
    buffer, left = bytearray(1 << 20), VOLUME
    connection.sendall(b"f")
    while left > 0:
        received = connection.recv_into(buffer)
        if not received:
            raise ConnectionError(f"the server hung up with {left} bytes to come")
        left -= received


def one_round(rng: random.Random) -> Iterator[tuple[str, dict[str, float]]]:
    """(quantity, seconds by target), each in its own order of targets."""
    fresh: dict[str, list[float]] = {name: [] for name in TARGETS}
    asked: dict[str, list[float]] = {name: [] for name in TARGETS}
    kept: dict[str, list[float]] = {name: [] for name in TARGETS}
    flooded: dict[str, list[float]] = {name: [] for name in TARGETS}
    names = list(TARGETS)
    with contextlib.ExitStack() as stack:
        standing = {name: stack.enter_context(connect(target)) for name, target in TARGETS.items()}
        for _ in range(REQUESTS):
            rng.shuffle(names)
            for name in names:
                began = time.perf_counter()
                made = connect(TARGETS[name])
                connected = time.perf_counter()
                ping(made)
                answered = time.perf_counter()
                made.close()
                fresh[name].append(connected - began)
                asked[name].append(answered - began)
            for name in names:
                kept[name].append(_timed(lambda name=name: ping(standing[name])))  # type: ignore[misc]
        for _ in range(VOLUMES):
            rng.shuffle(names)
            for name in names:
                flooded[name].append(_timed(lambda name=name: receive(standing[name])))  # type: ignore[misc]
    for quantity, samples in zip(QUANTITIES, (fresh, asked, kept, flooded), strict=True):
        yield quantity, {name: statistics.median(values) for name, values in samples.items()}


def _timed(what: Callable[[], None]) -> float:
    began = time.perf_counter()
    what()
    return time.perf_counter() - began


async def prepare(backend: Backend, services: int) -> None:
    """Fill the kernel with `services` other Services and ours."""
    rules = {}
    for number in range(services):
        rules.update(rules_of(filler(number), [endpoints(number, 2, 0)], NodeView("node")))
    ours = service(address=CLUSTER_IP, node_port=NODE_PORT)
    rules.update(rules_of(ours, [slice_of("web", [endpoint(ADDRESSES["pod-a"])])], NodeView("node")))
    await backend.sync(rules)


def measure(world: World, mode: str, services: int, rounds: int) -> list[dict[str, object]]:
    """One table's worth of rows."""
    rng = random.Random(1)
    with world.entered("node"):
        backend = backend_of(mode)
        asyncio.run(prepare(backend, services))
    seconds: dict[tuple[str, str], list[float]] = {(q, name): [] for q in QUANTITIES for name in TARGETS}
    with world.entered("client"):
        for _ in range(rounds):
            for quantity, by_target in one_round(rng):
                for name, value in by_target.items():
                    seconds[quantity, name].append(value)
    with world.entered("node"):
        asyncio.run(backend.cleanup())
        backend.close()
    rows: list[dict[str, object]] = []
    for (quantity, name), values in seconds.items():
        shares = [pod / value for pod, value in zip(seconds[quantity, "pod"], values, strict=True)]
        rows.append({"mode": mode, "services": services, "what": quantity, "target": name,
                     "microseconds": 1e6 * statistics.median(values), "shares": shares})  # fmt: skip
        print(
            f"{mode:16}{services:9} {quantity:30}{name:10}{1e6 * statistics.median(values):10.1f}"
            f"{statistics.median(shares):9.3f}{min(shares):8.2f}{max(shares):8.2f}",
            flush=True,
        )
    return rows


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--services", type=int, nargs="+", default=[0, 10000])
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--modes", nargs="+", default=["nftables"], choices=MODES)
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
    _take_core(0)
    rows = []
    print(f"{'mode':16}{'services':>9} {'what':30}{'target':10}{'us':>10}{'vs pod':>9}{'least':>8}{'most':>8}")
    try:
        for mode in options.modes:
            for services in options.services:
                rows += measure(world, mode, services, options.rounds)
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

"""How long from a change of a Service's endpoints until the rule is in the kernel, at 1,000 and 10,000 Services.

    python -m bench.proxy_sync [--services 1000 10000] [--endpoints 5] [--changes 200] [--json FILE]

Runs in a network namespace of its own (needs root), through the proxy's own loop, with caches that hold the objects;
both back ends. Prints a table, writes JSON. Nothing is left behind.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Collection, Sequence
from pathlib import Path

from mesh.clock import SystemClock
from mesh.objects.labels import Selector
from mesh.objects.meta import Key, key_of
from mesh.objects.types import Object
from netproxy.backend import Backend
from netproxy.cluster import Cluster
from netproxy.iptables.backend import IptablesBackend
from netproxy.model import Frontend, NodeView, Rules
from netproxy.nftables.backend import NftablesBackend
from netproxy.proxier import Proxier

CLUSTER = Cluster(("10.64.0.0/12",), ("10.96.0.0/16",), "10.96.255.254")
MODES = ("nftables", "iptables", "iptables-nft", "iptables-legacy")
"""Back ends; `iptables` is the flavour that the system has chosen."""


class Held:
    """A cache that holds objects by key; slices are found by their Service."""

    def __init__(self) -> None:
        self.objects: dict[Key, Object] = {}

    def get(self, key: Key) -> Object | None:
        """The object under `key`."""
        return self.objects.get(key)

    def list(self, namespace: str = "", selector: Selector | None = None) -> Sequence[Object]:
        """All objects; nothing here selects."""
        del namespace, selector
        return list(self.objects.values())

    def index(self, name: str, value: str) -> Sequence[Object]:
        """The one slice of a Service."""
        del name
        namespace, _, service = value.partition("/")
        return [self.objects[Key(namespace, service)]]


class NoFlows:
    """No flow ever runs here."""

    async def reconcile(self, rules: Rules, frontends: Collection[Frontend] | None) -> None:
        """Nothing to reconcile."""


class NoGuard:
    """No firewall in a fresh namespace."""

    async def ensure(self) -> None:
        """Nothing to put in place."""


def service(number: int) -> Object:
    """The Service with this number."""
    address = f"10.96.{number // 250}.{number % 250 + 1}"
    return {
        "metadata": {"name": f"s{number}", "namespace": "bench"},
        "spec": {
            "type": "ClusterIP",
            "clusterIP": address,
            "ports": [{"name": "http", "port": 80, "protocol": "TCP"}],
        },
    }


def endpoints(number: int, count: int, generation: int) -> Object:
    """`count` endpoints; each generation replaces one of them, every tenth leaves none."""
    if generation % 10 == 9:
        count = 0
    addresses = [f"10.{64 + i}.{number // 250}.{number % 250 + 1}" for i in range(count)]
    if generation and count:
        addresses[generation % count] = f"10.{72 + generation % 8}.{number // 250}.{number % 250 + 1}"
    return {
        "metadata": {"name": f"s{number}", "namespace": "bench"},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [a], "conditions": {"ready": True}, "nodeName": "far"} for a in addresses],
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
    }


async def measure(mode: str, services: int, per_service: int, changes: int) -> dict[str, float]:
    """Fill, then change single Services, one after the other."""
    backend = backend_of(mode)
    held_services, held_slices = Held(), Held()
    for number in range(services):
        made = service(number)
        held_services.objects[key_of(made)] = made
        held_slices.objects[key_of(made)] = endpoints(number, per_service, 0)
    proxier = Proxier(
        services=held_services,
        slices=held_slices,
        pods=Held(),
        backend=backend,
        flows=NoFlows(),
        guard=NoGuard(),
        clock=SystemClock(),
    )
    started = time.perf_counter()
    proxier.set_node(NodeView("bench"))
    loop = asyncio.create_task(proxier.run())
    await passes(proxier, 1, loop)
    full = time.perf_counter() - started
    gc.collect()
    latencies = []
    for change in range(changes):
        key = Key("bench", f"s{change * 37 % services}")
        held_slices.objects[key] = endpoints(int(key.name[1:]), per_service, change + 1)
        done = proxier.statistics.passes
        proxier.wake(key)
        await passes(proxier, done + 1, loop)
        latencies.append(proxier.statistics.last_latency)
    loop.cancel()
    started = time.perf_counter()
    again = backend_of(mode)
    assert await again.sync(proxier.table.rules) == 0
    adopted = time.perf_counter() - started
    again.close()
    started = time.perf_counter()
    await backend.cleanup()
    cleaned = time.perf_counter() - started
    backend.close()
    quantiles = statistics.quantiles(latencies, n=100)
    return {
        "services": services,
        "endpoints": services * per_service,
        "changes": changes,
        "full_sync_s": full,
        "adoption_s": adopted,
        "cleanup_s": cleaned,
        "min_ms": 1000 * min(latencies),
        "p50_ms": 1000 * statistics.median(latencies),
        "p90_ms": 1000 * quantiles[89],
        "p99_ms": 1000 * quantiles[98],
        "max_ms": 1000 * max(latencies),
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


async def passes(proxier: Proxier, count: int, loop: asyncio.Task[None]) -> None:
    """Wait until the loop has made `count` passes, or has failed. It times its passes itself; looking all the time would
    take the core from it."""
    while proxier.statistics.passes < count:
        if loop.done():
            loop.result()
        await asyncio.sleep(0.002)


def backend_of(mode: str) -> Backend:
    """A back end that has just started."""
    return NftablesBackend(CLUSTER) if mode == "nftables" else IptablesBackend(CLUSTER, mode)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--services", type=int, nargs="+", default=[1000, 10000])
    parser.add_argument("--endpoints", type=int, default=5)
    parser.add_argument("--changes", type=int, default=200)
    parser.add_argument("--modes", nargs="+", default=["nftables", "iptables"], choices=MODES)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if not options.inside:
        return in_namespace(list(argv if argv is not None else sys.argv[1:]))
    rows = []
    print(f"{'mode':16}{'services':>9}{'full s':>8}{'adopt s':>8}{'p50 ms':>8}{'p90 ms':>8}{'p99 ms':>8}{'max ms':>8}")
    for mode in options.modes:
        for services in options.services:
            row = asyncio.run(measure(mode, services, options.endpoints, options.changes))
            rows.append({"mode": mode, **row})
            print(
                f"{mode:16}{services:9}{row['full_sync_s']:8.2f}{row['adoption_s']:8.2f}{row['p50_ms']:8.1f}"
                f"{row['p90_ms']:8.1f}{row['p99_ms']:8.1f}{row['max_ms']:8.1f}",
                flush=True,
            )
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")
    return 0


def in_namespace(arguments: list[str]) -> int:
    """Run again inside a fresh network namespace, and remove it afterwards."""
    name = f"covey-bench-{os.getpid()}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        command = ["ip", "netns", "exec", name, sys.executable, "-m", "bench.proxy_sync", "--inside", *arguments]
        return subprocess.run(command, check=False).returncode
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)


if __name__ == "__main__":
    sys.exit(main())

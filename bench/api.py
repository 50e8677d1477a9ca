"""The API over the durable store: create, get, patch, list of 10,000 pods, and one change told to 1,000 watchers.

Over NATS as agents speak, lists and watches over HTTPS as kubectl does. The server has one process, the load another.
"""

from __future__ import annotations

import asyncio
import re
import ssl
import time
from collections.abc import Iterator

import aiohttp
from yarl import URL

from bench.cluster import client_of, pss_mb
from bench.controlplane import ControlPlane, running_control_plane
from bench.figures import Figure, at_most
from bench.load import figures_of
from mesh.client.client import Client
from mesh.objects.kinds import CONFIGMAPS, PODS
from mesh.objects.types import Object

PODS_STORED = 10_000
SERIAL = 300
MANY = 5_000
LISTS = 30
WATCHERS = 1_000
CHANGES = 15
SELECTED = "labelSelector=shard%3D7"
"""One pod in fifty."""


def measure() -> Iterator[Figure]:
    """Everything on one control plane."""
    with running_control_plane() as plane:
        yield from asyncio.run(_measured(plane))


async def _measured(plane: ControlPlane) -> list[Figure]:
    async with client_of(plane.home) as client:
        figures = await _requests(client)
        for role, pid in (("control plane", plane.server_pid), ("nats-server", plane.broker_pid)):
            figures.append(Figure.of(f"memory with {PODS_STORED} pods stored, {role}", "MB PSS", [pss_mb(pid)]))
        figures += await _lists(plane)
        return figures + await _fan_out(plane, client)


async def _requests(client: Client) -> list[Figure]:
    """First one after the other, then with many in flight."""
    pods = [_pod(number) for number in range(PODS_STORED)]
    names = [pod["metadata"]["name"] for pod in pods]

    async def create(pod: Object) -> None:
        await client.create(PODS, pod)

    async def get(name: str) -> None:
        await client.get(PODS, name, "default")

    async def patch(name: str) -> None:
        await client.patch(PODS, name, "default", {"metadata": {"annotations": {"at": str(time.perf_counter())}}})

    figures = await figures_of("create", pods[:SERIAL], create, 1)
    figures += await figures_of("create", pods[SERIAL:], create)
    for what, request in (("get", get), ("patch", patch)):
        figures += await figures_of(what, names[:SERIAL], request, 1)
        figures += await figures_of(what, names[:MANY], request)
    return figures


async def _lists(plane: ControlPlane) -> list[Figure]:
    """As a client sees it, to the last byte; and as the server counts its own part."""
    connector = aiohttp.TCPConnector(ssl=_tls(plane))
    async with aiohttp.ClientSession(f"https://127.0.0.1:{plane.port}", connector=connector) as https:
        return await _listed(https)


async def _listed(https: aiohttp.ClientSession) -> list[Figure]:
    every, selected, size = [], [], 0
    before = await _counted(https)
    for _ in range(LISTS):
        began = time.perf_counter()
        size = len(await _read(https, "/api/v1/pods"))
        every.append(time.perf_counter() - began)
    middle = await _counted(https)
    for _ in range(LISTS):
        began = time.perf_counter()
        await _read(https, f"/api/v1/pods?{SELECTED}")
        selected.append(time.perf_counter() - began)
    after = await _counted(https)
    server, server_selected = ((b[1] - a[1]) / (b[0] - a[0]) for a, b in ((before, middle), (middle, after)))
    return [
        Figure.of(
            f"list {PODS_STORED} pods ({size / 1e6:.0f} MB), server side, mean", "ms", [1000 * server], at_most(100)
        ),
        Figure.of(f"list {PODS_STORED} pods, HTTPS, to the last byte", "ms", [1000 * t for t in every]),
        Figure.of("list by a label, 1 in 50, server side, mean", "ms", [1000 * server_selected]),
        Figure.of("list by a label, 1 in 50, HTTPS", "ms", [1000 * t for t in selected]),
    ]


async def _read(https: aiohttp.ClientSession, path: str) -> bytes:
    async with https.get(URL(path, encoded=True)) as answer:
        answer.raise_for_status()
        return await answer.read()


async def _counted(https: aiohttp.ClientSession) -> tuple[float, float]:
    """How many lists of pods the server has answered, and the seconds they took it (its own /metrics)."""
    text = (await _read(https, "/metrics")).decode()
    labels = r'\{group="",resource="pods",verb="LIST"\} (\S+)'
    found = [re.search(f"apiserver_request_duration_seconds_{what}{labels}", text) for what in ("count", "sum")]
    count, seconds = (float(match[1]) if match else 0.0 for match in found)
    return count, seconds


async def _fan_out(plane: ControlPlane, client: Client) -> list[Figure]:
    """From the request of a change until each watcher's socket has it."""
    tick: Object = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "tick", "namespace": "default"}}
    await client.create(CONFIGMAPS, tick)
    loop, context = asyncio.get_running_loop(), _tls(plane)
    watchers = []
    for _ in range(WATCHERS):
        _, watcher = await loop.create_connection(_Watcher, "127.0.0.1", plane.port, ssl=context)
        await watcher.standing
        watchers.append(watcher)
    latencies, slowest = [], []
    for number in range(CHANGES):
        token = f"change-{number:08}"
        for watcher in watchers:
            watcher.expect(token)
        began = time.perf_counter()
        await client.patch(CONFIGMAPS, "tick", "default", {"data": {"token": token}})
        times = [1000 * (seen - began) for seen in await asyncio.gather(*(w.seen for w in watchers))]
        latencies += times
        slowest.append(max(times))
    for watcher in watchers:
        watcher.transport.close()
    return [
        Figure.of(f"one change to {WATCHERS} watchers, each", "ms", latencies),
        Figure.of(f"one change to {WATCHERS} watchers, the last", "ms", slowest),
    ]


class _Watcher(asyncio.Protocol):
    """A watch on ConfigMaps whose bytes are only looked through: a thousand clients must not cost more than the server."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.standing: asyncio.Future[None] = loop.create_future()
        """Done when the first object, which is there already, has come."""
        self.seen: asyncio.Future[float] = loop.create_future()
        self._token = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask at once."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        path = "/api/v1/namespaces/default/configmaps?watch=true&fieldSelector=metadata.name%3Dtick"
        transport.write(f"GET {path} HTTP/1.1\r\nHost: bench\r\nAccept: application/json\r\n\r\n".encode())

    def expect(self, token: str) -> None:
        """`seen` will be the time at which these bytes come."""
        self._token, self.seen = token.encode(), asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        """An event is far smaller than a TLS record, so its bytes come together."""
        now = time.perf_counter()
        if not self.standing.done() and b"ADDED" in data:
            self.standing.set_result(None)
        elif self._token and self._token in data and not self.seen.done():
            self.seen.set_result(now)


def _tls(plane: ControlPlane) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(plane.keys.ca_cert))
    context.load_cert_chain(plane.keys.admin_cert, plane.keys.admin_key)
    return context


def _pod(number: int) -> Object:
    container = {"name": "main", "image": "example/app:1", "resources": {"requests": {"cpu": "100m"}}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"p{number}",
            "namespace": "default",
            "labels": {"app": "bench", "shard": str(number % 50)},
        },
        "spec": {"schedulerName": "nobody", "containers": [container]},
    }

"""An API server on the store in memory, for tests: direct calls, or HTTPS with a kubeconfig."""

from __future__ import annotations

import asyncio
import base64
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson

from controlplane.apiserver.assembly import RunningServer, start
from mesh.api.local import LocalTransport
from mesh.api.port import JSON, Request, Response, Stream, User, parse_query
from mesh.config import BusConfig, NetworkConfig, ServerConfig
from mesh.errors import NotFound
from mesh.objects.types import Object
from mesh.store.memory import Engine, Faults, MemoryStore

ADMIN = User("kubernetes-admin", ("system:masters", "system:authenticated"))
NOBODY = User("jane", ("system:authenticated",))

NodeBehaviour = Callable[[str, Mapping[str, Any], Stream], Awaitable[None]]


class Pipe:
    """One end of a pair of streams in memory."""

    def __init__(self) -> None:
        self._frames: asyncio.Queue[tuple[int, bytes] | None] = asyncio.Queue(64)
        self.peer: Pipe = self

    @classmethod
    def pair(cls) -> tuple[Pipe, Pipe]:
        one, other = cls(), cls()
        one.peer, other.peer = other, one
        return one, other

    async def send(self, channel: int, data: bytes) -> None:
        await self.peer._frames.put((channel, data))

    async def receive(self) -> tuple[int, bytes] | None:
        return await self._frames.get()

    async def close(self) -> None:
        await self.peer._frames.put(None)


class FakeNodes:
    """Nodes that do what a test says. Remembers which calls were made."""

    def __init__(self, behaviour: NodeBehaviour | None = None) -> None:
        self.behaviour = behaviour
        self.calls: list[tuple[str, str, dict[str, Any]]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self, identity: str, op: str, params: Mapping[str, Any]) -> Stream:
        self.calls.append((identity, op, dict(params)))
        if self.behaviour is None:
            raise NotFound("no such pod here")
        near, far = Pipe.pair()
        task = asyncio.create_task(self._serve(op, params, far))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return near

    async def _serve(self, op: str, params: Mapping[str, Any], stream: Pipe) -> None:
        assert self.behaviour is not None
        await self.behaviour(op, params, stream)
        await stream.close()


class Cluster:
    """A client of one running server."""

    def __init__(self, server: RunningServer, user: User = ADMIN) -> None:
        self.server = server
        self.transport = LocalTransport(server.api, user)

    async def call(
        self, method: str, url: str, body: object = None, content_type: str = JSON, accept: str = JSON
    ) -> Response:
        """One request; a body that is not bytes is sent as JSON."""
        path, _, query = url.partition("?")
        data = body if isinstance(body, bytes) else b"" if body is None else orjson.dumps(body)
        return await self.transport.send(Request(method, path, parse_query(query), data, content_type, accept))

    async def ok(
        self, method: str, url: str, body: object = None, content_type: str = JSON, accept: str = JSON
    ) -> Object:
        """As `call`, for a request that has to succeed."""
        response = await self.call(method, url, body, content_type, accept)
        assert response.status < 300, response.body
        found: Object = orjson.loads(response.body)
        return found

    async def refused(
        self, method: str, url: str, body: object = None, content_type: str = JSON
    ) -> tuple[int, str, str]:
        """Code, reason and message of a refusal."""
        response = await self.call(method, url, body, content_type)
        status = orjson.loads(response.body)
        assert status["kind"] == "Status", status
        assert status["code"] == response.status
        return response.status, status["reason"], status["message"]

    async def watch(self, url: str, user: User = ADMIN) -> Any:
        """An open watch."""
        path, _, query = url.partition("?")
        return await self.server.api.watch(Request("GET", path, parse_query(query)), user)


def configuration(directory: Path, port: int, advertise: str = "192.0.2.1", **network: Any) -> ServerConfig:
    unused = BusConfig(servers=[], seed_file="")
    return ServerConfig(
        bus=unused,
        store=unused,
        identities_file="",
        pki_dir=str(directory),
        bind_address="127.0.0.1",
        port=port,
        advertise_address=advertise,
        network=NetworkConfig(**network),
    )


@asynccontextmanager
async def running(
    directory: Path,
    *,
    engine: Engine | None = None,
    faults: Faults | None = None,
    events_engine: Engine | None = None,
    nodes: FakeNodes | None = None,
    https: bool = False,
    advertise: str = "192.0.2.1",
    seed: int = 1,
    **network: Any,
) -> AsyncIterator[Cluster]:
    """A server with the default service account, on `engine` (a fresh one by default) over a link with `faults`. Servers
    on one engine need different seeds: UIDs come from it."""
    store, events = MemoryStore(engine, faults), MemoryStore(events_engine)
    config = configuration(directory, 0 if https else 6443, advertise, **network)
    server = await start(config, store, events, nodes or FakeNodes(), rng=random.Random(seed), https=https)
    cluster = Cluster(server)
    account = {"metadata": {"name": "default"}}
    await cluster.call("POST", "/api/v1/namespaces/default/serviceaccounts", account)
    try:
        yield cluster
        assert_untouched(server)
    finally:
        await server.stop()
        await store.close()
        await events.close()


def assert_untouched(server: RunningServer) -> None:
    """Nobody has changed a cached object: each still equals the bytes it was encoded to."""
    for cache in server.registry.caches:
        for held in cache.resources.values():
            for item in held.items.values():
                assert orjson.loads(item.data) == item.object


def kubeconfig(directory: Path, port: int) -> Path:
    """A kubeconfig of the administrator for a server whose certificates lie in `directory`."""

    def data(name: str) -> str:
        return base64.b64encode((directory / name).read_bytes()).decode()

    cluster = {"server": f"https://127.0.0.1:{port}", "certificate-authority-data": data("ca.crt")}
    user = {"client-certificate-data": data("admin.crt"), "client-key-data": data("admin.key")}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "covey", "cluster": cluster}],
        "users": [{"name": "admin", "user": user}],
        "contexts": [{"name": "covey", "context": {"cluster": "covey", "user": "admin"}}],
        "current-context": "covey",
    }
    path = directory / "kubeconfig"
    path.write_bytes(orjson.dumps(config))
    return path


def pod(name: str, **spec: Any) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"containers": [{"name": "c", "image": "nginx"}], **spec},
    }


def deployment(name: str, replicas: int = 1) -> Object:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "c", "image": "nginx"}]},
            },
        },
    }


def service(name: str, **spec: Any) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": [{"port": 80}], **spec},
    }

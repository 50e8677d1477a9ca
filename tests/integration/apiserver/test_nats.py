"""The API server on the real store, reached over the real bus."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
import pytest

from controlplane.apiserver.assembly import RunningServer, start
from controlplane.apiserver.reservations import ADDRESSES
from mesh.api.port import Request, User
from mesh.bus.api_client import BusTransport
from mesh.bus.api_server import ApiServer as BusFrontEnd
from mesh.bus.calls import NodeCaller
from mesh.bus.connection import Connection
from mesh.bus.streams import StreamHub
from mesh.clock import SystemClock
from mesh.objects.kinds import SERVICES
from mesh.store.bucket import events_bucket, objects_bucket
from mesh.store.jetstream import JetStreamStore
from tests.support.apiserver import ADMIN, FakeNodes, configuration
from tests.support.nats import NatsServer

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"

pytestmark = pytest.mark.nats


@asynccontextmanager
async def serving(nats: NatsServer, directory: Path) -> AsyncIterator[tuple[RunningServer, BusTransport]]:
    server_signer, client_signer = nats.identity("server", "server"), nats.identity("client")
    await nats.start()
    connection = await nats.store_connection()
    stores = [JetStreamStore(connection, bucket(), SystemClock()) for bucket in (objects_bucket, events_bucket)]
    for store in stores:
        await store.start()
    bus, client = await nats.bus(server_signer), await nats.bus(client_signer)
    hub = StreamHub(bus)
    await hub.start()
    server = await start(configuration(directory, 6443), *stores, NodeCaller(bus, hub), https=False)

    def user(identity: str) -> User | None:
        return ADMIN if identity == client.identity else None

    front = BusFrontEnd(bus, hub, server.api, user)
    await front.start()
    try:
        yield server, BusTransport(client)
    finally:
        await front.close()
        await hub.close()
        await server.stop()
        for store in stores:
            await store.close()
        for connected in (bus, client, connection):
            await connected.close()
        nats.kill()


async def test_objects_over_the_bus(tmp_path: Path) -> None:
    async with serving(NatsServer(tmp_path), tmp_path / "pki") as (_, client):
        seen: list[tuple[str, str]] = []

        async def watch() -> None:
            request = Request("GET", CONFIGMAPS, (("watch", "true"),))
            async for event in client.watch(request):
                seen.extend([(event.type, event.object["metadata"]["name"])] if event.type != "BOOKMARK" else [])

        watching = asyncio.create_task(watch())
        for method, path, body in (
            ("POST", CONFIGMAPS, {"metadata": {"name": "a"}}),
            ("PUT", f"{CONFIGMAPS}/a", {"metadata": {"name": "a"}, "data": {"x": "y"}}),
            ("DELETE", f"{CONFIGMAPS}/a", {}),
            ("POST", CONFIGMAPS, {"metadata": {"name": "a"}}),
        ):
            answer = await client.send(Request(method, path, body=orjson.dumps(body)))
            assert answer.status < 300, answer.body
            if method != "DELETE":
                found = await client.send(Request("GET", f"{CONFIGMAPS}/a"))
                assert orjson.loads(found.body) == orjson.loads(answer.body), "a writer reads its own write"
        async with asyncio.timeout(20):
            while len(seen) < 4:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        watching.cancel()
        assert [kind for kind, _ in seen[-3:]] == ["MODIFIED", "DELETED", "ADDED"]


async def test_five_hundred_creates_at_once(tmp_path: Path) -> None:
    async with serving(NatsServer(tmp_path), tmp_path / "pki") as (server, _):

        async def create(number: int) -> int:
            body = orjson.dumps({"metadata": {"name": f"c{number}"}})
            return (await server.api.handle(Request("POST", CONFIGMAPS, body=body), ADMIN)).status

        assert set(await asyncio.gather(*map(create, range(500)))) == {201}
        listed = await server.api.handle(Request("GET", CONFIGMAPS), ADMIN)
        assert len(orjson.loads(listed.body)["items"]) == 500


async def test_servers_that_start_together_on_an_empty_store(tmp_path: Path) -> None:
    nats = NatsServer(tmp_path / "nats")
    await nats.start()
    connections = [await nats.store_connection() for _ in range(3)]

    async def begin(connection: Connection, address: str) -> tuple[RunningServer, list[JetStreamStore]]:
        stores = [JetStreamStore(connection, bucket(), SystemClock()) for bucket in (objects_bucket, events_bucket)]
        for store in stores:
            await store.start()
        config = configuration(tmp_path / "pki", 6443, address)
        return await start(config, stores[0], stores[1], FakeNodes(), https=False), stores

    begun = await asyncio.gather(*(begin(c, f"192.0.2.{n}") for n, c in enumerate(connections, 1)))
    try:
        for server, _ in begun:
            await server.registry.cache(SERVICES).catch_up()
            found = {item.object["metadata"]["name"] for item in server.registry.objects(SERVICES).ordered()}
            assert found == {"kubernetes", "kube-dns"}
            addresses = {item.object["metadata"]["name"] for item in server.registry.objects(ADDRESSES).ordered()}
            assert addresses == {"10.96.0.1", "10.96.0.10"}
    finally:
        for server, stores in begun:
            await server.stop()
            for store in stores:
                await store.close()
        for connection in connections:
            await connection.close()
        nats.kill()

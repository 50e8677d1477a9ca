"""The HTTPS front end with a plain client: TLS, identities, watches, streams, shutdown."""

from __future__ import annotations

import asyncio
import io
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from controlplane.apiserver import pki
from mesh.api.port import Stream
from mesh.clock import SystemClock
from tests.support.apiserver import Cluster, FakeNodes, pod, running

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"


def context(directory: Path, name: str = "") -> ssl.SSLContext:
    made = ssl.create_default_context(cafile=str(directory / "ca.crt"))
    if name:
        made.load_cert_chain(directory / f"{name}.crt", directory / f"{name}.key")
    return made


@asynccontextmanager
async def client(api: Cluster, tls: ssl.SSLContext, **headers: str) -> AsyncIterator[aiohttp.ClientSession]:
    base = f"https://localhost:{api.server.port}"
    connector = aiohttp.TCPConnector(ssl=tls)
    async with aiohttp.ClientSession(base, connector=connector, headers=headers) as session:
        yield session


async def test_identities(tmp_path: Path) -> None:
    async with running(tmp_path, https=True) as api:
        cert, key = pki.issue_client(pki.Pki(tmp_path), "jane", ("dev",), SystemClock().now())
        (tmp_path / "jane.crt").write_bytes(cert)
        (tmp_path / "jane.key").write_bytes(key)
        for name, expected in (("admin", None), ("jane", 'User "jane"'), ("", 'User "system:anonymous"')):
            async with client(api, context(tmp_path, name)) as session, session.get(PODS) as answer:
                told = await answer.json()
                assert (answer.status, expected is None or expected in told["message"]) == (
                    403 if expected else 200,
                    True,
                )
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        made = await api.ok("POST", "/api/v1/namespaces/default/serviceaccounts/default/token", request)
        for token, code in ((made["status"]["token"], 403), ("nonsense", 401), (made["status"]["token"][:-4], 401)):
            bearer = client(api, context(tmp_path), Authorization=f"Bearer {token}")
            async with bearer as session, session.get(PODS) as answer:
                told = await answer.json()
                assert answer.status == code, told
                if code == 403:
                    assert 'User "system:serviceaccount:default:default"' in told["message"]


async def test_watch_ends_with_its_client_and_with_the_server(tmp_path: Path) -> None:
    async with running(tmp_path, https=True) as api, client(api, context(tmp_path, "admin")) as session:
        held = next(c for r, c in api.server.registry.caches[0].resources.items() if r.plural == "configmaps")
        async with session.get(f"{CONFIGMAPS}?watch=true&resourceVersion=0") as watch:
            await api.ok("POST", CONFIGMAPS, {"metadata": {"name": "a"}})
            while orjson.loads(await watch.content.readline())["object"]["metadata"]["name"] != "a":
                pass
            assert held.watcher_count == 1
        async with asyncio.timeout(10):
            while held.watcher_count:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        async with session.get(f"{CONFIGMAPS}?watch=true&timeoutSeconds=1") as watch, asyncio.timeout(10):
            assert (await watch.content.read()).count(b"\n") == 1
        watch = await session.get(f"{CONFIGMAPS}?watch=true")
        async with asyncio.timeout(10):
            await api.server.stop()
            assert b'"ADDED"' in await watch.content.read()


async def test_bodies_over_the_limit_and_large_answers(tmp_path: Path) -> None:
    async with running(tmp_path, https=True) as api, client(api, context(tmp_path, "admin")) as session:
        async with session.post(CONFIGMAPS, data=io.BytesIO(b" " * (4 << 20))) as answer:
            assert (answer.status, (await answer.json())["reason"]) == (413, "RequestEntityTooLarge")
        for i in range(3):
            await api.ok("POST", CONFIGMAPS, {"metadata": {"name": f"c{i}"}, "data": {"x": "x" * 100_000}})
        async with session.get(CONFIGMAPS, headers={"Accept-Encoding": "gzip"}) as answer:
            assert answer.headers["Content-Encoding"] == "gzip"
            assert len((await answer.json())["items"]) == 3


async def shell(op: str, params: Mapping[str, Any], stream: Stream) -> None:
    if op == "log":
        await stream.send(1, b"line\n")
        return
    while (frame := await stream.receive()) is not None:
        if frame == (255, b"\0"):
            break
        await stream.send(1, frame[1].upper())
    await stream.send(3, b'{"metadata":{},"status":"Success"}')


async def test_exec_and_log(tmp_path: Path) -> None:
    async with running(tmp_path, https=True, nodes=FakeNodes(shell)) as api:
        node = {"metadata": {"name": "n1", "annotations": {"covey.dev/identity": "UNODE"}}}
        await api.ok("POST", "/api/v1/nodes", node)
        await api.ok("POST", PODS, pod("x", nodeName="n1"))
        async with client(api, context(tmp_path, "admin")) as session:
            async with session.get(f"{PODS}/x/log?follow=true") as answer:
                assert await answer.text() == "line\n"
            async with session.ws_connect(
                f"{PODS}/x/exec?command=sh&stdin=true&stdout=true", protocols=("v5.channel.k8s.io",)
            ) as socket:
                assert socket.protocol == "v5.channel.k8s.io"
                await socket.send_bytes(b"\0hello")
                await socket.send_bytes(b"\xff\0")
                received = [message.data async for message in socket]
            assert received == [b"\x01HELLO", b'\x03{"metadata":{},"status":"Success"}']
            with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
                await session.ws_connect(f"{PODS}/none/exec?command=sh", protocols=("v5.channel.k8s.io",))
            assert refusal.value.status == 404


def test_certificates_are_made_once_and_private(tmp_path: Path) -> None:
    now = SystemClock().now()
    made = pki.ensure(tmp_path, ["localhost", "127.0.0.1"], now)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    assert all(p.stat().st_mode & 0o777 == 0o600 for p in tmp_path.iterdir())
    pki.ensure(tmp_path, ["localhost"], now)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before
    pki.ensure(tmp_path, ["localhost", "10.0.0.1"], now)
    after = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    assert {name for name in after if after[name] != before[name]} == {made.server_cert.name, made.server_key.name}


async def test_watch_parameter_means_nothing_to_other_documents(tmp_path: Path) -> None:
    async with running(tmp_path, https=True) as api:
        for path in ("/version?watch=true", "/api?watch=1"):
            async with client(api, context(tmp_path, "admin")) as session, session.get(path) as answer:
                assert answer.status == 200, await answer.text()

"""The HTTPS door against bad input and faults of our own: a Status for everything, no 500 that a client can cause."""

from __future__ import annotations

import asyncio
import logging
import random
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import web

from controlplane.apiserver import http, http_streams
from mesh.api.port import JSON_PATCH, MERGE_PATCH, Stream
from tests.integration.apiserver.test_https import CONFIGMAPS, PODS, client, context
from tests.support.apiserver import Cluster, FakeNodes, pod, running
from tests.support.raw_http import HANDSHAKE, Answer, encoded, exchange, head
from tests.support.request_fuzz import request

JSON_TYPE = ("Content-Type", "application/json")
EXEC = f"{PODS}/x/exec?command=sh&stdout=true"
UNKNOWN_FORMAT = "the body of the request was in an unknown format - accepted media types include: "


def told(answer: Answer) -> str:
    """The message of the Status that an answer has to be."""
    status = orjson.loads(answer.body)
    assert (status["kind"], status["code"]) == ("Status", answer.status), answer
    return str(status["message"])


async def with_pod(api: Cluster) -> None:
    node = {"metadata": {"name": "n1", "annotations": {"covey.dev/identity": "UNODE"}}}
    await api.ok("POST", "/api/v1/nodes", node)
    await api.ok("POST", PODS, pod("x", nodeName="n1"))


@pytest.mark.parametrize("media", ["text/plain", "application/x-www-form-urlencoded", "*/*", "nonsense"])
async def test_a_body_in_an_unknown_format(tmp_path: Path, media: str) -> None:
    known = "application/json, application/yaml, application/vnd.kubernetes.protobuf"
    patches = "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json"
    async with running(tmp_path, https=True) as api, client(api, context(tmp_path, "admin")) as session:
        await api.ok("POST", CONFIGMAPS, {"metadata": {"name": "a"}})
        for method, url, accepted in (
            ("POST", CONFIGMAPS, known),
            ("PUT", f"{CONFIGMAPS}/a", known),
            ("DELETE", f"{CONFIGMAPS}/a", known),
            ("PATCH", f"{CONFIGMAPS}/a", patches),
        ):
            async with session.request(method, url, data=b"{}", headers={"Content-Type": media}) as answer:
                status = await answer.json()
                assert (answer.status, status["reason"]) == (415, "UnsupportedMediaType")
                assert status["message"] == UNKNOWN_FORMAT + accepted


@pytest.mark.parametrize("depth", [200, 300, 900, 2000])
async def test_deep_json_is_refused_in_a_sentence(tmp_path: Path, depth: int) -> None:
    deep = b'{"metadata":{"name":"a"},"x":' + b"[" * depth + b"]" * depth + b"}"
    operations = b'[{"op":"add","path":"/x","value":' + b"[" * depth + b"]" * depth + b"}]"
    async with running(tmp_path) as api:
        await api.ok("POST", CONFIGMAPS, {"metadata": {"name": "a"}})
        for method, url, body, media in (
            ("POST", CONFIGMAPS, deep.replace(b'"a"', b'"b"'), "application/json"),
            ("POST", CONFIGMAPS, deep.replace(b'"a"', b'"c"'), "application/yaml"),
            ("PUT", f"{CONFIGMAPS}/a", deep, "application/json"),
            ("PATCH", f"{CONFIGMAPS}/a", deep, MERGE_PATCH),
            ("PATCH", f"{CONFIGMAPS}/a", operations, JSON_PATCH),
        ):
            answer = await api.call(method, url, body, media)
            assert answer.status in {200, 201, 400}, (method, media, answer.body)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("tailLines=" + "9" * 20, 'strconv.ParseInt: parsing "99999999999999999999": value out of range'),
        ("limitBytes=1_000", 'strconv.ParseInt: parsing "1_000": invalid syntax'),
    ],
)
async def test_numbers_of_a_log(tmp_path: Path, query: str, message: str) -> None:
    async with running(tmp_path) as api:
        await with_pod(api)
        code, reason, said = await api.refused("GET", f"{PODS}/x/log?{query}")
        assert (code, reason) == (400, "BadRequest")
        assert message in said


async def test_huge_numbers_of_a_list(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        for name in ("limit", "timeoutSeconds"):
            for text, why in (
                ("9" * 19, "value out of range"),
                ("9" * 9000, "value out of range"),
                ("0x1", "invalid syntax"),
            ):
                code, _, said = await api.refused("GET", f"{PODS}?{name}={text}")
                assert code == 400
                assert why in said


async def test_a_revision_that_no_server_can_have_given(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        code, reason, said = await api.refused("GET", f"{PODS}?resourceVersion={1 << 64}")
        assert (code, reason) == (422, "Invalid")
        assert 'parsing "18446744073709551616": value out of range' in said


async def test_warnings_fit_into_headers(tmp_path: Path) -> None:
    async with running(tmp_path, https=True) as api, client(api, context(tmp_path, "admin")) as session:
        for name, fields in (
            ("a", {"a\rb": 1, "é\x7f": 2, "plain": 3}),
            ("b", {"x" * 90 + str(i): i for i in range(500)}),
        ):
            async with session.post(CONFIGMAPS, json={"metadata": {"name": name}, **fields}) as answer:
                assert answer.status == 201, await answer.text()
                warnings = answer.headers.getall("Warning")
                if name == "a":
                    assert warnings == ['299 - "unknown field \\"plain\\""']
                else:
                    assert 1 < len(warnings) <= 16


@pytest.mark.parametrize(
    ("target", "headers", "code", "message"),
    [
        (f"{PODS}/none/exec?command=sh", (), 404, 'pods "none" not found'),
        (EXEC, (), 400, "unable to upgrade: exec needs a WebSocket connection"),
        (EXEC, (("Upgrade", "SPDY/3.1"), ("Connection", "Upgrade")), 400, "exec needs a WebSocket connection"),
        (EXEC, HANDSHAKE, 400, "unable to upgrade: none of the protocols [] is among"),
        (
            EXEC,
            (*HANDSHAKE, ("Sec-WebSocket-Protocol", "v1, base64.binary.k8s.io")),
            400,
            "none of the protocols ['v1', ",
        ),
        (
            EXEC,
            (*HANDSHAKE[:3], ("Sec-WebSocket-Protocol", "v4.channel.k8s.io")),
            400,
            "this is no WebSocket handshake",
        ),
        (
            EXEC,
            (*HANDSHAKE[:3], ("Sec-WebSocket-Key", "é"), ("Sec-WebSocket-Protocol", "v4.channel.k8s.io")),
            400,
            "this is no WebSocket handshake",
        ),
        (f"{PODS}/x/portforward", HANDSHAKE, 400, "is among ['SPDY/3.1+portforward.k8s.io']"),
        (f"{PODS}/x/portforward/", HANDSHAKE, 400, "is among ['SPDY/3.1+portforward.k8s.io']"),
    ],
)
async def test_upgrades_that_cannot_be(
    tmp_path: Path, target: str, headers: tuple[tuple[str, str], ...], code: int, message: str
) -> None:
    async with running(tmp_path, https=True) as api:
        await with_pod(api)
        answer = await exchange(api.server.port, context(tmp_path, "admin"), head("GET", target, *headers))
        assert answer.status == code
        assert message in told(answer)
        answer = await exchange(api.server.port, context(tmp_path), head("GET", target, *headers))
        assert answer.status == 403, "who may not do it at all hears that first"


async def test_who_asks_again_with_spdy_hears_why_the_websocket_was_refused(tmp_path: Path) -> None:
    async with running(tmp_path, https=True) as api:
        await with_pod(api)
        ended = {"name": "c", "image": "", "imageID": "", "ready": False, "restartCount": 0}
        ended["state"] = {"terminated": {"exitCode": 0}}
        await api.ok("PATCH", f"{PODS}/x/status", {"status": {"containerStatuses": [ended]}}, MERGE_PATCH)
        spdy = (("Upgrade", "SPDY/3.1"), ("Connection", "Upgrade"))
        answer = await exchange(api.server.port, context(tmp_path, "admin"), head("POST", f"{PODS}/x/attach", *spdy))
        assert (answer.status, told(answer)) == (400, 'container not found ("c")')


async def broken(op: str, params: Mapping[str, Any], stream: Stream) -> None:
    await stream.send(1, b"begun\n")
    await stream.send(999, b"a channel that does not exist")


@pytest.mark.parametrize("begun", [False, True])
async def test_our_own_faults_in_streams_are_told_and_logged_once(
    tmp_path: Path, begun: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    nodes = FakeNodes(broken)
    async with running(tmp_path, https=True, nodes=nodes) as api, client(api, context(tmp_path, "admin")) as session:
        await with_pod(api)
        if not begun:
            monkeypatch.setattr(nodes, "open", None)
        protocols = ("v5.channel.k8s.io",)
        if begun:
            async with session.ws_connect(EXEC, protocols=protocols) as socket:
                received = [message.data async for message in socket]
            assert received[0] == b"\x01begun\n"
            assert received[1][0] == 3
            assert orjson.loads(received[1][1:])["reason"] == "InternalError"
        else:
            with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
                await session.ws_connect(EXEC, protocols=protocols)
            assert refusal.value.status == 500
            async with session.get(f"{PODS}/x/log?follow=true") as answer:
                assert (answer.status, (await answer.json())["reason"]) == (500, "InternalError")
        assert len([r for r in caplog.records if "request failed" in r.message]) == (1 if begun else 2)


async def test_a_fault_in_front_of_the_pipeline_is_a_status_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(tmp_path, https=True) as api, client(api, context(tmp_path, "admin")) as session:
        monkeypatch.setattr(http, "parse_query", None)
        async with session.get(CONFIGMAPS) as answer:
            assert (answer.status, (await answer.json())["reason"]) == (500, "InternalError")
        assert [r.message for r in caplog.records if r.levelno == logging.ERROR] == [
            f"request failed: GET {CONFIGMAPS}"
        ]


async def test_a_body_that_never_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "_BODY_SECONDS", 0.05)
    async with running(tmp_path, https=True) as api:
        sent = head("POST", CONFIGMAPS, JSON_TYPE, ("Content-Length", "10")) + b"{"
        answer = await exchange(api.server.port, context(tmp_path, "admin"), sent)
        assert (answer.status, told(answer)) == (504, "Timeout: request did not complete within the allotted timeout")


async def test_who_waits_for_leave_to_send_a_body_gets_it(tmp_path: Path) -> None:
    """curl asks so before larger bodies."""
    body = b'{"metadata":{"name":"a"}}'
    asks = head("POST", CONFIGMAPS, JSON_TYPE, ("Content-Length", str(len(body))), ("Expect", "100-continue"))
    async with running(tmp_path, https=True) as api, asyncio.timeout(10):
        tls = context(tmp_path, "admin")
        reader, writer = await asyncio.open_connection("localhost", api.server.port, ssl=tls)
        writer.write(asks)
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(body)
        assert (await reader.readline()).startswith(b"HTTP/1.1 201")
        writer.transport.abort()


@pytest.mark.parametrize("seed", range(4))
async def test_no_request_breaks_the_door(seed: int, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rng = random.Random(seed)
    async with running(tmp_path, https=True, nodes=FakeNodes(broken)) as api:
        await with_pod(api)
        tls = context(tmp_path, "admin")
        for _ in range(150):
            sent = encoded(request(rng), rng)
            try:
                answer = await exchange(api.server.port, tls, sent)
            except TimeoutError:
                pytest.fail(f"seed {seed}: no answer to {sent!r}")
            assert 100 < answer.status < 500, (seed, sent, answer)
            if answer.status >= 400 and answer.headers["content-type"] == "application/json" and answer.body:
                assert told(answer), (seed, sent)
        failed = [r.message for r in caplog.records if r.name.startswith("controlplane") and r.levelno >= logging.ERROR]
        assert not failed


async def test_a_reader_who_takes_his_time_does_not_end_the_stream(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until he reads, nothing is read from the client: neither are its answers to pings, should anybody send such."""
    chunks, chunk, made = 200, bytes(65536), web.WebSocketResponse.__init__

    def impatient(self: web.WebSocketResponse, *, heartbeat: float | None = None, **options: Any) -> None:
        made(self, heartbeat=heartbeat and 0.1, **options)

    async def slow(op: str, params: Mapping[str, Any], stream: Stream) -> None:
        await asyncio.sleep(1)
        taken = 0
        while (frame := await stream.receive()) is not None and frame[0] == 0:
            taken += len(frame[1])
        await stream.send(1, b"%d" % taken)

    monkeypatch.setattr(web.WebSocketResponse, "__init__", impatient)
    async with (
        asyncio.timeout(60),
        running(tmp_path, https=True, nodes=FakeNodes(slow)) as api,
        client(api, context(tmp_path, "admin")) as session,
    ):
        await with_pod(api)
        async with session.ws_connect(f"{EXEC}&stdin=true", protocols=("v5.channel.k8s.io",)) as stream:
            for _ in range(chunks):
                await stream.send_bytes(b"\0" + chunk)
            await stream.send_bytes(b"\xff\0")
            received = [message.data async for message in stream]
    assert received[0] == b"\x01%d" % (chunks * len(chunk))


async def test_tcp_watches_over_a_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[int, int]] = []
    keep_alive = http_streams._keep_alive

    def noted(request: web.BaseRequest) -> None:
        keep_alive(request)
        connection = request.get_extra_info("socket")
        assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        seen.append({option: connection.getsockopt(socket.IPPROTO_TCP, option) for option in http_streams.KEEPALIVE})

    monkeypatch.setattr(http_streams, "_keep_alive", noted)
    async with (
        running(tmp_path, https=True) as api,
        client(api, context(tmp_path, "admin")) as session,
        session.get(f"{PODS}/none/log") as answer,
    ):
        assert answer.status == 404
    assert seen == [http_streams.KEEPALIVE]

"""Logs, exec and the rest on their way to the node."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from mesh.api.port import Request, Stream, parse_query
from mesh.errors import ApiError
from tests.support.apiserver import ADMIN, Cluster, FakeNodes, Pipe, pod, running

PODS = "/api/v1/namespaces/default/pods"


async def node_with_pod(api: Cluster, name: str = "x", **spec: Any) -> None:
    node = {"metadata": {"name": "n1", "annotations": {"covey.dev/identity": "UNODE"}}}
    await api.call("POST", "/api/v1/nodes", node)
    await api.ok("POST", PODS, pod(name, nodeName="n1", **spec))


async def test_log_is_the_nodes_answer(tmp_path: Path) -> None:
    async def log(op: str, params: Mapping[str, Any], stream: Stream) -> None:
        await stream.send(1, b"one\n")
        await stream.send(2, b"two\n")

    nodes = FakeNodes(log)
    async with running(tmp_path, nodes=nodes) as api:
        await node_with_pod(api)
        answer = await api.call("GET", f"{PODS}/x/log?tailLines=5&timestamps=true")
        assert (answer.status, answer.body, answer.content_type) == (200, b"one\ntwo\n", "text/plain")
        identity, op, params = nodes.calls[0]
        uid = params.pop("uid")
        assert uid
        assert (identity, op, params) == (
            "UNODE",
            "log",
            {"container": "c", "tailLines": 5, "timestamps": True, "namespace": "default", "name": "x"},
        )


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("none/log", 'pods "none" not found'),
        ("x/log?container=z", "container z is not valid for pod x"),
        ("two/log", "a container name must be specified for pod two, choose one of: [a b]"),
        (
            "x/log?tailLines=-1",
            "invalid value '-1' for the query parameter 'tailLines': must be greater than or equal to 0",
        ),
        (
            "x/log?tailLines=z",
            "invalid value 'z' for the query parameter 'tailLines': strconv.ParseInt: parsing \"z\": invalid syntax",
        ),
        ("x/exec", "you must specify at least 1 command for the container"),
        ("idle/exec?command=sh", "pod idle does not have a host assigned"),
        ("away/log", 'node "n2" cannot be called: it has no running agent (annotation covey.dev/identity)'),
    ],
)
async def test_refusal_before_anything_is_sent(tmp_path: Path, url: str, message: str) -> None:
    async with running(tmp_path) as api:
        await node_with_pod(api)
        await api.ok("POST", PODS, pod("two", nodeName="n1", containers=[{"name": n, "image": "i"} for n in "ab"]))
        await api.ok("POST", PODS, pod("idle"))
        await api.ok("POST", PODS, pod("away", nodeName="n2"))
        near, _ = Pipe.pair()
        path, _, query = f"{PODS}/{url}".partition("?")
        with pytest.raises(ApiError) as refusal:
            await api.server.api.connect(Request("GET", path, parse_query(query)), ADMIN, near)
        assert refusal.value.message == message


async def test_exec_carries_both_ways_until_the_node_ends(tmp_path: Path) -> None:
    async def echo(op: str, params: Mapping[str, Any], stream: Stream) -> None:
        assert params["command"] == ["cat", "-"]
        assert params["stdin"] is True
        frame = await stream.receive()
        assert frame is not None
        await stream.send(1, frame[1])
        await stream.send(3, b'{"status":"Success"}')

    async with running(tmp_path, nodes=FakeNodes(echo)) as api:
        await node_with_pod(api)
        near, far = Pipe.pair()
        query = parse_query("command=cat&command=-&stdin=true&stdout=true")
        serving = asyncio.create_task(api.server.api.connect(Request("POST", f"{PODS}/x/exec", query), ADMIN, far))
        await near.send(0, b"hello")
        frames = []
        async with asyncio.timeout(5):
            while (frame := await near.receive()) is not None:
                frames.append(frame)
            await serving
        assert frames == [(1, b"hello"), (3, b'{"status":"Success"}')]

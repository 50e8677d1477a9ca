"""10,000 pods are no problem on either door. They wait for a scheduler that nobody runs, so that none of them starts."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import orjson
import pytest

from mesh.api.port import Request
from mesh.bus.api_client import BusTransport
from mesh.bus.identities import load_signer
from mesh.bus.nats import NatsBus
from mesh.client.client import Client
from mesh.objects.kinds import PODS
from tests.clients.test_bad_objects import Https
from tests.support.clients import Space
from tests.support.cluster import RealCluster

PODS_WANTED = 10_000
AT_ONCE = 128
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "spec": {"schedulerName": "nobody", "containers": [{"name": "c", "image": "covey/hello:1"}]},
}


def connection(cluster: RealCluster) -> NatsBus:
    """As the administrator, like `covey`."""
    context = json.loads((cluster.home / "context.json").read_text())
    return NatsBus(context["servers"], load_signer(Path(context["seed_file"])), name="test")


@pytest.mark.timeout(300)
async def test_a_list_of_ten_thousand_pods(cluster: RealCluster, space: Space) -> None:
    bus = connection(cluster)
    await bus.start()
    try:
        client = Client(BusTransport(bus))
        numbers = iter(range(PODS_WANTED))

        async def create() -> None:
            for number in numbers:
                metadata = {"name": f"p{number:05}", "namespace": space.name, "labels": {"fifty": str(number % 50)}}
                await client.create(PODS, {**POD, "metadata": metadata})

        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(create())
        answer = await client.request(Request("GET", PODS.path(space.name)))
        over_nats = [item["metadata"]["name"] for item in orjson.loads(answer.body)["items"]]
        assert over_nats == [f"p{number:05}" for number in range(PODS_WANTED)]
        selected = await client.list(PODS, space.name, label_selector="fifty=7")
        assert len(selected.items) == PODS_WANTED // 50
        path = PODS.path(space.name)
        code, listing = await asyncio.to_thread(Https(cluster).call, "GET", path)
        assert (code, [item["metadata"]["name"] for item in listing["items"]]) == (200, over_nats)
        lines = await asyncio.to_thread(space.kubectl, "get", "pods", "--no-headers")
        assert lines.count("\n") == PODS_WANTED
        lines = await asyncio.to_thread(space.covey, "get", "pods", "-o", "name")
        assert lines.count("pod/p") == PODS_WANTED
    finally:
        await bus.close()

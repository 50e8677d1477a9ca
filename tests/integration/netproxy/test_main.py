"""The whole proxy, from API objects to packets; only the API behind the transport is a model."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import subprocess
from collections.abc import AsyncIterator

import pytest

from mesh.client.client import Client
from mesh.client.shared import SharedInformers
from mesh.config import BusConfig, ProxyConfig
from mesh.errors import Terminal
from mesh.objects.kinds import ENDPOINTSLICES, SERVICES
from mesh.objects.meta import Key, thaw
from netproxy.commands import run
from netproxy.iptables.backend import IptablesBackend
from netproxy.main import cluster_of, follow, make_backend
from tests.support.api_model import ApiModel, ModelTransport
from tests.support.nats import eventually
from tests.support.service_world import ADDRESSES, World
from tests.support.services import endpoint, service, slice_of

pytestmark = pytest.mark.root

BUS = BusConfig(servers=[], seed_file="")
A, C = endpoint(ADDRESSES["pod-a"]), endpoint(ADDRESSES["pod-c"], node="other")


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World(f"nm{os.getpid()}")
    made.remove()
    made.build()
    await made.serve("pod-a", "pod-b", "pod-c")
    with made.entered("node"):
        yield made
    await made.stop()
    made.remove()


@contextlib.asynccontextmanager
async def proxying(config: ProxyConfig, model: ApiModel) -> AsyncIterator[None]:
    """A proxy runs, and is then killed."""
    cluster = cluster_of(config.network)
    backend = make_backend(config.mode, cluster)
    informers = SharedInformers(Client(ModelTransport(model)), random.Random(1))
    proxy = asyncio.create_task(follow(config, informers, backend, cluster))
    try:
        yield
    finally:
        proxy.cancel()
        await asyncio.wait([proxy])
        backend.close()


@pytest.mark.parametrize("mode", ["nftables", "iptables"])
async def test_services_follow_the_api_through_restarts(world: World, mode: str) -> None:
    config = ProxyConfig(node="node", bus=BUS, mode=mode)
    model = ApiModel()
    model.create(SERVICES, service())
    model.create(ENDPOINTSLICES, slice_of("web", [A]))

    async def answered_by(pod: str) -> bool:
        try:
            return (await world.tcp("pod-b", "10.96.0.20", 80, timeout=0.5))[0] == pod
        except OSError:
            return False

    for expected, following in (("pod-a", C), ("pod-c", A)):
        other = {"pod-a": "pod-c", "pod-c": "pod-a"}[expected]
        async with proxying(config, model):
            await eventually(lambda pod=expected: answered_by(pod))
            piece = thaw(model.get(ENDPOINTSLICES, Key("default", "web-abcde")))
            piece["endpoints"] = [following]
            model.update(ENDPOINTSLICES, piece)
            await eventually(lambda pod=other: answered_by(pod))
        assert await answered_by(other)


async def test_another_mode_takes_over_and_leaves_nothing_of_the_one_before(world: World) -> None:
    model = ApiModel()
    model.create(SERVICES, service())
    model.create(ENDPOINTSLICES, slice_of("web", [A]))
    legacy = IptablesBackend(cluster_of(ProxyConfig(node="node", bus=BUS).network), "iptables-legacy")
    await legacy.sync({})
    legacy.close()

    async def only(mode: str) -> bool:
        """Whether the kernel holds the rules of this mode, and of no other."""
        tables, chains, old = await asyncio.gather(
            run("nft", "list", "tables"), run("iptables-nft-save", "-t", "nat"), run("iptables-legacy-save")
        )
        return ("covey-proxy" in tables, "COVEY-" in chains, "COVEY-" in old) == (
            mode == "nftables",
            mode == "iptables",
            False,
        )

    for mode in ("nftables", "iptables", "nftables"):
        config = ProxyConfig(node="node", bus=BUS, mode=mode)
        async with proxying(config, model):
            await eventually(lambda mode=mode: only(mode))
            connection = await world.connect("pod-b", "10.96.0.20", 80)
            assert (await connection.ask())[0] == "pod-a"
            await connection.close()


async def test_a_flushed_table_comes_back_unasked(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netproxy.proxier._CHECK_SECONDS", 0.05)
    config = ProxyConfig(node="node", bus=BUS)
    model = ApiModel()
    model.create(SERVICES, service())
    model.create(ENDPOINTSLICES, slice_of("web", [A]))

    async def answered() -> bool:
        try:
            return (await world.tcp("pod-b", "10.96.0.20", 80, timeout=0.5))[0] == "pod-a"
        except OSError:
            return False

    async with proxying(config, model):
        for _ in range(5):
            await eventually(answered)
            subprocess.run(["nft", "flush", "ruleset"], check=True)  # noqa: ASYNC221 -- nothing may happen meanwhile
        await eventually(answered)


def test_unknown_modes_are_refused() -> None:
    cluster = cluster_of(ProxyConfig(node="n", bus=BUS).network)
    with pytest.raises(Terminal, match="use nftables or iptables"):
        make_backend("ipvs", cluster)
    with pytest.raises(Terminal, match="unknown proxy mode 'magic'"):
        make_backend("magic", cluster)

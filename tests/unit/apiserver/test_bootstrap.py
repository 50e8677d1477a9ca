"""The objects every cluster has."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from controlplane.apiserver.allocation import Allocation
from controlplane.apiserver.bootstrap import live_addresses, server_lease
from controlplane.apiserver.registry import Registry
from controlplane.apiserver.reservations import RESERVATIONS, Reservations
from mesh.clock import SystemClock
from mesh.config import NetworkConfig
from mesh.objects.kinds import SERVICES
from mesh.objects.meta import uid_of
from mesh.objects.types import Object
from mesh.store.memory import Engine, NoFaults
from tests.support.apiserver import Cluster, running, service

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SLICE = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes"


def test_only_servers_that_renew_are_endpoints() -> None:
    leases = [
        server_lease("10.0.0.2", NOW),
        server_lease("10.0.0.1", NOW - timedelta(seconds=29)),
        server_lease("10.0.0.3", NOW - timedelta(seconds=31)),
        {**server_lease("10.0.0.4", NOW), "spec": {**server_lease("", NOW)["spec"], "holderIdentity": "nowhere"}},
        {"metadata": {"name": "other"}, "spec": {"holderIdentity": "x", "renewTime": "2026-01-01T00:00:00.000000Z"}},
    ]
    assert live_addresses(leases, NOW) == ["10.0.0.1", "10.0.0.2"]


async def test_endpoints_list_all_servers(tmp_path: Path) -> None:
    engine = Engine()
    first = running(tmp_path, engine=engine, advertise="192.0.2.1")
    second = running(tmp_path, engine=engine, advertise="192.0.2.2", seed=2)
    async with first as api, second:
        found = await api.ok("GET", SLICE)
        assert [e["addresses"] for e in found["endpoints"]] == [["192.0.2.1"], ["192.0.2.2"]]
        ends = await api.ok("GET", "/api/v1/namespaces/default/endpoints/kubernetes")
        assert [a["ip"] for a in ends["subsets"][0]["addresses"]] == ["192.0.2.1", "192.0.2.2"]


async def test_kubernetes_service_comes_back(tmp_path: Path) -> None:
    engine = Engine()
    async with running(tmp_path, engine=engine) as api:
        await api.ok("DELETE", "/api/v1/namespaces/default/services/kubernetes")
    async with running(tmp_path, engine=engine) as api:
        found = await api.ok("GET", "/api/v1/namespaces/default/services/kubernetes")
        assert found["spec"]["clusterIP"] == "10.96.0.1"


class Uneven(NoFaults):
    """A way to the store on which every step takes another, short, time."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)

    def delay(self, step: str) -> float:
        del step
        return self._rng.choice((0.0, 0.0, 0.001, 0.003))


def reserved(registry: Registry) -> dict[str, str]:
    """The reservations: what is reserved, and for which UID."""
    items = (item for resource in RESERVATIONS for item in registry.objects(resource).ordered())
    return {item.object["metadata"]["name"]: item.object["service"] for item in items}


def held(services: Iterable[Object]) -> dict[str, str]:
    """What it should be: the address of every Service, reserved for it."""
    return {found["spec"]["clusterIP"]: uid_of(found) for found in services}


@pytest.mark.parametrize("seed", range(12))
async def test_servers_that_start_together_on_an_empty_store(seed: int, tmp_path: Path) -> None:
    engine = Engine()
    async with AsyncExitStack() as stack:
        starting = [
            stack.enter_async_context(
                running(tmp_path, engine=engine, faults=Uneven(seed * 10 + n), advertise=f"192.0.2.{n}", seed=n)
            )
            for n in (1, 2, 3)
        ]
        servers: list[Cluster] = await asyncio.gather(*starting)
        async with asyncio.timeout(10):
            for api in servers:
                await api.server.registry.cache(SERVICES).catch_up()
                listed = await api.ok("GET", "/api/v1/services")
                assert {found["metadata"]["name"] for found in listed["items"]} == {"kubernetes", "kube-dns"}
                assert reserved(api.server.registry) == held(listed["items"])


async def test_a_server_that_died_before_its_service_was_there_holds_up_nobody(tmp_path: Path) -> None:
    engine = Engine()
    async with running(tmp_path, engine=engine) as api:
        await api.ok("DELETE", "/api/v1/namespaces/default/services/kubernetes")
        dying = Allocation(Reservations(api.server.registry, SystemClock()), NetworkConfig(), random.Random(1))
        never = service("kubernetes", clusterIP="10.96.0.1")
        never["metadata"] |= {"namespace": "default", "uid": "never-came-to-be"}
        await dying.claim(SERVICES, never, None, dry_run=False)
    async with running(tmp_path, engine=engine) as api:
        listed = await api.ok("GET", "/api/v1/services")
        assert reserved(api.server.registry) == held(listed["items"])
        assert "10.96.0.1" in held(listed["items"])


async def test_an_address_taken_over_too_early_returns_to_the_service_that_has_it(tmp_path: Path) -> None:
    """Two make the same Service: the second takes the first one's reservation over, and then the first is faster."""
    async with running(tmp_path) as api:
        registry = api.server.registry
        other = Reservations(registry, SystemClock())
        made = await api.ok("POST", "/api/v1/namespaces/default/services", service("a", clusterIP="10.96.0.50"))
        item = await registry.current(RESERVATIONS[0], "", "10.96.0.50")
        assert item is not None
        await registry.write(RESERVATIONS[0], {**item.object, "service": "loser"}, item.revision)
        await other.free("loser", [(RESERVATIONS[0], "10.96.0.50")])
        assert reserved(registry)["10.96.0.50"] == uid_of(made)
        told = await api.refused("POST", "/api/v1/namespaces/default/services", service("b", clusterIP="10.96.0.50"))
        assert "provided IP is already allocated" in told[2]


class SlowWrites(NoFaults):
    """A way to the store on which every write takes a second."""

    def delay(self, step: str) -> float:
        return 1.0 if step == "write" else 0.0


@pytest.mark.looptime
async def test_who_took_over_and_was_refused_gives_back(tmp_path: Path) -> None:
    """The second to make a Service is refused while the first, who is slow, has what it needs and no Service yet."""
    engine, url = Engine(), "/api/v1/namespaces/default/services"
    wanted = {"type": "NodePort", "clusterIP": "10.96.0.50"}
    good, bad = {"name": "x", "port": 80, "nodePort": 30500}, {"name": "y", "port": 81, "nodePort": 1}
    async with (
        running(tmp_path, engine=engine) as api,
        running(tmp_path, engine=engine, faults=SlowWrites(), seed=2, advertise="192.0.2.2") as slow,
    ):
        first = asyncio.create_task(slow.ok("POST", url, service("a", ports=[good], **wanted)))
        while not {"10.96.0.50", "30500"} <= reserved(api.server.registry).keys():  # noqa: ASYNC110 - virtual time
            await asyncio.sleep(0.1)
        told = await api.refused("POST", url, service("a", ports=[good, bad], **wanted))
        assert "provided port is not in the valid range" in told[2]
        assert not first.done()
        made = await first
        assert reserved(api.server.registry)["10.96.0.50"] == uid_of(made)
        assert reserved(api.server.registry)["30500"] == uid_of(made)
        told = await api.refused("POST", url, service("b", clusterIP="10.96.0.50"))
        assert "provided IP is already allocated" in told[2]
        told = await api.refused("POST", url, service("c", type="NodePort", ports=[good]))
        assert "provided port is already allocated" in told[2]

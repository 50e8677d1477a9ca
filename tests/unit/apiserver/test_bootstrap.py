"""The objects every cluster has."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from controlplane.apiserver.bootstrap import live_addresses, server_lease
from mesh.store.memory import Engine
from tests.support.apiserver import running

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
    second = running(tmp_path, engine=engine, advertise="192.0.2.2")
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

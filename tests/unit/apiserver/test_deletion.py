"""What deleting means, as a table; and that it is carried out."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from controlplane.apiserver.deletes import AT_ONCE
from controlplane.apiserver.deletion import AlreadyMarked, DeleteOptions, Mark, Remove, decide, finished
from controlplane.apiserver.strategies.registry import strategy_for
from mesh import turns
from mesh.api.port import MERGE_PATCH
from mesh.objects.kinds import CONFIGMAPS, NAMESPACES, PODS
from mesh.store.memory import NoFaults
from tests.support.apiserver import pod, running

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PODS_URL = "/api/v1/namespaces/default/pods"


def scheduled(**metadata: Any) -> dict[str, Any]:
    made = pod("x", nodeName="n1", terminationGracePeriodSeconds=30)
    return {**made, "metadata": {**made["metadata"], **metadata}, "status": {"phase": "Running"}}


def plain(**metadata: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", **metadata}}


DELETING = {"deletionTimestamp": "2026-01-01T00:00:30Z", "deletionGracePeriodSeconds": 30}


@pytest.mark.parametrize(
    ("resource", "obj", "options", "expected"),
    [
        (CONFIGMAPS, plain(), DeleteOptions(), Remove),
        (CONFIGMAPS, plain(), DeleteOptions(grace_period_seconds=30), Remove),
        (CONFIGMAPS, plain(finalizers=["a/b"]), DeleteOptions(), ["a/b"]),
        (CONFIGMAPS, plain(), DeleteOptions(propagation="Foreground"), ["foregroundDeletion"]),
        (CONFIGMAPS, plain(), DeleteOptions(propagation="Orphan"), ["orphan"]),
        (CONFIGMAPS, plain(finalizers=["orphan", "a/b"]), DeleteOptions(propagation="Background"), ["a/b"]),
        (PODS, pod("x"), DeleteOptions(), Remove),
        (PODS, scheduled(), DeleteOptions(), ("2026-01-01T00:00:30Z", 30)),
        (PODS, scheduled(), DeleteOptions(grace_period_seconds=5), ("2026-01-01T00:00:05Z", 5)),
        (PODS, scheduled(), DeleteOptions(grace_period_seconds=0), Remove),
        (PODS, scheduled(), DeleteOptions(grace_period_seconds=10**18), ("2094-01-19T03:14:07Z", 2**31 - 1)),
        (PODS, scheduled(**DELETING), DeleteOptions(), AlreadyMarked),
        (PODS, scheduled(**DELETING), DeleteOptions(grace_period_seconds=60), AlreadyMarked),
        (PODS, scheduled(**DELETING), DeleteOptions(grace_period_seconds=10), ("2026-01-01T00:00:10Z", 10)),
        (PODS, scheduled(**DELETING), DeleteOptions(grace_period_seconds=0), Remove),
        (PODS, scheduled(finalizers=["a/b"]), DeleteOptions(grace_period_seconds=0), ("2026-01-01T00:00:00Z", 0)),
    ],
)
def test_decision(resource: Any, obj: dict[str, Any], options: DeleteOptions, expected: Any) -> None:
    decision = decide(obj, strategy_for(resource), options, NOW)
    if isinstance(expected, type):
        assert isinstance(decision, expected)
        return
    assert isinstance(decision, Mark)
    metadata = decision.object["metadata"]
    if isinstance(expected, list):
        assert metadata["finalizers"] == expected
    else:
        assert (metadata["deletionTimestamp"], metadata["deletionGracePeriodSeconds"]) == expected


def test_namespace_waits_for_its_finalization() -> None:
    space = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": "x"},
        "spec": {"finalizers": ["kubernetes"]},
        "status": {"phase": "Active"},
    }
    decision = decide(space, strategy_for(NAMESPACES), DeleteOptions(), NOW)
    assert isinstance(decision, Mark)
    assert decision.object["status"]["phase"] == "Terminating"
    assert not finished(decision.object)
    assert finished({**decision.object, "spec": {}})


async def test_pod_goes_in_two_steps(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        await api.ok("POST", PODS_URL, scheduled())
        marked = await api.ok("DELETE", f"{PODS_URL}/x")
        assert marked["metadata"]["deletionGracePeriodSeconds"] == 30
        kept = await api.ok("PATCH", f"{PODS_URL}/x", {"metadata": {"deletionTimestamp": None}}, MERGE_PATCH)
        assert kept["metadata"]["deletionTimestamp"] == marked["metadata"]["deletionTimestamp"]
        wrong = {"preconditions": {"uid": "other"}, "gracePeriodSeconds": 0}
        code, reason, message = await api.refused("DELETE", f"{PODS_URL}/x", wrong)
        assert (code, reason) == (409, "Conflict")
        assert "Precondition failed: UID in precondition: other, UID in object meta:" in message
        right = {"preconditions": {"uid": marked["metadata"]["uid"]}, "gracePeriodSeconds": 0}
        await api.ok("DELETE", f"{PODS_URL}/x", right)
        assert (await api.refused("GET", f"{PODS_URL}/x"))[0] == 404


async def test_last_finalizer_removes(tmp_path: Path) -> None:
    url = "/api/v1/namespaces/default/configmaps"
    async with running(tmp_path) as api:
        await api.ok("POST", url, plain(finalizers=["a/b", "c/d"]))
        assert (await api.ok("DELETE", f"{url}/x"))["metadata"]["deletionTimestamp"]
        await api.ok("PATCH", f"{url}/x", {"metadata": {"finalizers": ["c/d"]}}, MERGE_PATCH)
        code, _, message = await api.refused(
            "PATCH", f"{url}/x", {"metadata": {"finalizers": ["c/d", "new/one"]}}, MERGE_PATCH
        )
        assert (code, "no new finalizers can be added if the object is being deleted" in message) == (422, True)
        await api.ok("PATCH", f"{url}/x", {"metadata": {"finalizers": None}}, MERGE_PATCH)
        assert (await api.refused("GET", f"{url}/x"))[0] == 404


async def test_namespace_ends_with_finalize(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        await api.ok("POST", "/api/v1/namespaces", {"metadata": {"name": "x"}})
        gone = await api.ok("DELETE", "/api/v1/namespaces/x")
        assert gone["status"]["phase"] == "Terminating"
        code, _, message = await api.refused("POST", "/api/v1/namespaces/x/configmaps", plain())
        assert (code, message) == (
            403,
            'configmaps "x" is forbidden: unable to create new content in namespace x because it is being terminated',
        )
        await api.ok("PUT", "/api/v1/namespaces/x/finalize", {**gone, "spec": {}})
        assert (await api.refused("GET", "/api/v1/namespaces/x"))[0] == 404


async def test_collection(tmp_path: Path) -> None:
    url = "/api/v1/namespaces/default/configmaps"
    async with running(tmp_path) as api:
        for name in "abc":
            await api.ok("POST", url, {"metadata": {"name": name, "labels": {"keep": str(name == "b").lower()}}})
        gone = await api.ok("DELETE", f"{url}?labelSelector=keep=false")
        assert [i["metadata"]["name"] for i in gone["items"]] == ["a", "c"]
        assert [i["metadata"]["name"] for i in (await api.ok("GET", url))["items"]] == ["b"]


class SlowWrites(NoFaults):
    """A store that takes its time, however many writes it has at once."""

    seconds = 0.0

    def delay(self, step: str) -> float:
        return self.seconds if step == "write" else 0.0


@pytest.mark.looptime
async def test_a_large_collection_is_deleted_many_at_a_time(tmp_path: Path) -> None:
    url, names = "/api/v1/namespaces/default/configmaps", [f"n{number:03}" for number in range(300)]
    faults = SlowWrites()
    async with running(tmp_path, faults=faults) as api:
        for name in names:
            await api.ok("POST", url, plain(name=name, finalizers=["a/b"] if name == "n150" else []))
        faults.seconds = 1.0
        began = asyncio.get_running_loop().time()
        gone = await api.ok("DELETE", url)
        assert asyncio.get_running_loop().time() - began < 10
        assert [i["metadata"]["name"] for i in gone["items"]] == names
        assert [i["metadata"]["name"] for i in (await api.ok("GET", url))["items"]] == ["n150"]


class OneLost(SlowWrites):
    """And of whose writes one is lost, once it is set to be."""

    until_lost = -1

    def lost(self, step: str) -> bool:
        self.until_lost -= step == "write"
        return step == "write" and self.until_lost == -1


@pytest.mark.looptime
async def test_a_failure_ends_the_deletion_of_a_collection(tmp_path: Path) -> None:
    """What was under way when it came is deleted, and nothing after it."""
    url, names = "/api/v1/namespaces/default/configmaps", [f"n{number:03}" for number in range(300)]
    faults = OneLost()
    async with running(tmp_path, faults=faults) as api:
        for name in names:
            await api.ok("POST", url, plain(name=name))
        faults.seconds, faults.until_lost = 1.0, 50
        assert await api.refused("DELETE", url) == (503, "ServiceUnavailable", "the store does not answer")
        left = [item["metadata"]["name"] for item in (await api.ok("GET", url))["items"]]
        assert left[1:] == names[AT_ONCE:]
        assert left[0] in names[:AT_ONCE]


class CountedWrites(NoFaults):
    """How many writes have begun."""

    begun = 0

    def delay(self, step: str) -> float:
        self.begun += step == "write"
        return 0.0


async def test_the_deletion_of_a_collection_leaves_room_for_others(tmp_path: Path) -> None:
    url, faults, seen = "/api/v1/namespaces/default/configmaps", CountedWrites(), list[int]()
    async with running(tmp_path, faults=faults) as api:
        for number in range(300):
            await api.ok("POST", url, plain(name=f"n{number:03}"))
        deleting = asyncio.create_task(api.ok("DELETE", url))
        while not deleting.done():
            seen.append(faults.begun)
            await asyncio.sleep(0)
        assert len((await deleting)["items"]) == 300
    assert max(after - before for before, after in pairwise(seen)) <= turns.AT_ONCE

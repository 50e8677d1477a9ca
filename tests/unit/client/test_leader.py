"""Leader election on the API model and virtual time: never two leaders at once, whatever fails."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime, timedelta

import pytest

from mesh.api.port import Request
from mesh.client.client import Client
from mesh.client.leader import LeaderElector, Timing
from mesh.errors import ApiError, Unavailable
from mesh.objects.kinds import LEASES
from mesh.objects.meta import Key
from tests.support.api_model import ApiModel, ModelTransport

pytestmark = pytest.mark.looptime

LEASE = Key("kube-system", "controllers")


class LoopClock:
    """The loop's own (virtual) time; `wrong` is by how much this machine's wall clock is off."""

    def __init__(self, wrong: float = 0.0) -> None:
        self._wrong = wrong

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.monotonic() + self._wrong)

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    boottime = monotonic


class Candidate:
    """A process that stands for election; its link to the API can be cut."""

    leaders: list[str]

    def __init__(self, model: ApiModel, name: str, leaders: list[str], *, slow_end: float = 0.0) -> None:
        self.name = name
        self.cut = False
        self.asked: list[str] = []
        self.terms: list[tuple[float, float]] = []
        self._leaders = leaders
        self._slow_end = slow_end
        transport = ModelTransport(model)
        transport.fail = self._fail
        clock = LoopClock(random.Random(name).uniform(-1000, 1000))
        self.elector = LeaderElector(
            Client(transport), clock, random.Random(name), name="controllers", identity=name, timing=Timing(6, 4, 1)
        )
        self.task = asyncio.create_task(self.elector.run(self._lead))

    def _fail(self, request: Request) -> ApiError | None:
        self.asked.append(request.method)
        return Unavailable("cut") if self.cut else None

    async def _lead(self) -> None:
        started = asyncio.get_running_loop().time()
        self._leaders.append(self.name)
        assert len(self._leaders) == 1, f"two leaders: {self._leaders}"
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(self._slow_end)
            self._leaders.remove(self.name)
            self.terms.append((started, asyncio.get_running_loop().time()))

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


async def test_one_leads_and_another_takes_over_when_it_stops() -> None:
    model, leaders = ApiModel(), []
    a = Candidate(model, "a", leaders)
    await asyncio.sleep(1)
    b = Candidate(model, "b", leaders)
    await asyncio.sleep(20)
    assert leaders == ["a"]
    await a.stop()
    assert "holderIdentity" not in model.get(LEASES, LEASE)["spec"]
    await asyncio.sleep(2.5)
    assert leaders == ["b"]
    assert model.get(LEASES, LEASE)["spec"]["leaseTransitions"] >= 1
    await b.stop()


@pytest.mark.parametrize("slow_end", [0.0, 1.5])
async def test_a_leader_that_is_cut_off_stops_before_the_next_one_starts(slow_end: float) -> None:
    model, leaders = ApiModel(), []
    a = Candidate(model, "a", leaders, slow_end=slow_end)
    await asyncio.sleep(1)
    b = Candidate(model, "b", leaders)
    await asyncio.sleep(5)
    a.cut = True
    cut_at = asyncio.get_running_loop().time()
    await asyncio.sleep(12)
    assert leaders == ["b"]
    assert a.terms[0][1] - cut_at <= 4 + slow_end
    a.cut = False
    await asyncio.sleep(20)
    assert leaders == ["b"]
    for one in (a, b):
        await one.stop()


async def test_a_short_interruption_changes_nothing() -> None:
    model, leaders = ApiModel(), []
    a = Candidate(model, "a", leaders)
    b = Candidate(model, "b", leaders)
    await asyncio.sleep(5)
    before = list(leaders)
    for _ in range(5):
        a.cut = b.cut = True
        await asyncio.sleep(2.5)
        a.cut = b.cut = False
        await asyncio.sleep(3)
    assert leaders == before
    assert not a.terms
    assert not b.terms
    for one in (a, b):
        await one.stop()


@pytest.mark.parametrize("seed", range(8))
async def test_never_two_at_once(seed: int) -> None:
    rng = random.Random(seed)
    model, leaders = ApiModel(), []
    candidates = [Candidate(model, f"{seed}-{n}", leaders, slow_end=rng.choice([0.0, 1.0])) for n in range(4)]
    for _ in range(60):
        one = rng.choice(candidates)
        one.cut = not one.cut
        await asyncio.sleep(rng.uniform(0, 6))
        assert not any(c.task.done() for c in candidates)
    for one in candidates:
        one.cut = False
    await asyncio.sleep(15)
    assert len(leaders) == 1
    for one in candidates:
        await one.stop()


async def test_work_that_fails_ends_the_candidacy() -> None:
    async def broken() -> None:
        raise ValueError("mine")

    elector = LeaderElector(
        Client(ModelTransport(ApiModel())), LoopClock(), random.Random(1), name="controllers", identity="a"
    )
    with pytest.raises(ValueError, match="mine"):
        await elector.run(broken)
    assert not elector.leading


def test_times_must_make_sense() -> None:
    with pytest.raises(ValueError, match="lease_duration"):
        Timing(4, 4, 1)


async def test_a_lease_without_a_spec_is_nobodys() -> None:
    model, leaders = ApiModel(), list[str]()
    await Client(ModelTransport(model)).create(
        LEASES,
        {
            "apiVersion": LEASES.api_version,
            "kind": LEASES.kind,
            "metadata": {"namespace": LEASE.namespace, "name": LEASE.name},
        },
    )
    a = Candidate(model, "a", leaders)
    await asyncio.sleep(1)
    assert leaders == ["a"]
    await a.stop()


async def test_a_leader_renews_without_reading() -> None:
    model = ApiModel()
    candidate = Candidate(model, "a", [])
    await asyncio.sleep(5)
    candidate.asked.clear()
    revision = model.get(LEASES, LEASE)["metadata"]["resourceVersion"]
    await asyncio.sleep(5)
    assert set(candidate.asked) == {"PUT"}
    assert model.get(LEASES, LEASE)["metadata"]["resourceVersion"] != revision
    await candidate.stop()


@pytest.mark.parametrize("change", ["annotated by somebody", "deleted"])
async def test_a_leader_survives_that_its_lease_is_changed_by_others(change: str) -> None:
    model, leaders = ApiModel(), []
    candidate = Candidate(model, "a", leaders)
    await asyncio.sleep(5)
    if change == "deleted":
        model.delete(LEASES, LEASE)
    else:
        model.patch(LEASES, LEASE, {"metadata": {"annotations": {"seen": "yes"}}})
    await asyncio.sleep(20)
    assert leaders == ["a"]
    assert candidate.terms == []
    assert model.get(LEASES, LEASE)["spec"]["holderIdentity"] == "a"
    await candidate.stop()

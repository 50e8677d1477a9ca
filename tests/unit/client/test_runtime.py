"""The runtime on the API model and virtual time: doorbells, rest after writes, retries, failures, live reads."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from mesh.api.port import Request
from mesh.client.client import Client
from mesh.client.events import EventBroadcaster
from mesh.client.runtime import MOST_WRITES, Runtime
from mesh.client.shared import SharedInformers
from mesh.clock import ManualClock
from mesh.errors import ApiError, Forbidden, Invalid, Unavailable
from mesh.objects.kinds import CONFIGMAPS, EVENTS, SECRETS
from mesh.objects.meta import Key, key_of
from mesh.objects.types import Object
from mesh.plan.actions import NOTHING, Create, Delete, Plan, Read
from mesh.plan.controller import Caches, Observed, Watch, itself
from tests.support.api_model import ApiModel, ModelTransport

pytestmark = pytest.mark.looptime


@dataclass
class Scripted:
    """A controller whose plan is a function of the test's."""

    decide: Callable[[Key, Observed], Plan]
    name: str = "test-controller"
    watches: Sequence[Watch] = (Watch(CONFIGMAPS, itself), Watch(SECRETS, itself))
    seen: list[tuple[Key, Observed]] = field(default_factory=list)

    def plan(self, key: Key, observed: Observed) -> Plan:
        self.seen.append((key, observed))
        return self.decide(key, observed)


def configmap(name: str) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "ns", "name": name}}


def secret(name: str) -> Object:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": "ns", "name": name}}


@asynccontextmanager
async def running(transport: ModelTransport, *controllers: Scripted) -> AsyncIterator[Runtime]:
    client = Client(transport)
    rng = random.Random(1)
    clock = ManualClock()
    informers = SharedInformers(client, rng, detect_mutations=True)
    broadcaster = EventBroadcaster(client, clock)
    runtime = Runtime(client, informers, broadcaster, clock, rng, workers=2)
    for controller in controllers:
        runtime.add(controller)
    tasks = [asyncio.create_task(part.run()) for part in (informers, broadcaster, runtime)]
    try:
        yield runtime
        informers.verify()
    finally:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(r, asyncio.CancelledError) for r in results), results


def secret_for_each(key: Key, observed: Observed) -> Plan:
    """A secret beside each config map; deliberately naive: it creates whenever its cache shows none."""
    source = observed.caches[CONFIGMAPS].get(key)
    if source is None or observed.caches[SECRETS].list("ns"):
        return NOTHING
    new = {"apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": "ns", "generateName": "made-"}}
    return Plan((Create(SECRETS, new, about=source),))


async def test_a_key_rests_until_the_caches_have_seen_its_writes() -> None:
    model = ApiModel()
    transport = ModelTransport(model)
    controller = Scripted(secret_for_each)
    async with running(transport, controller) as runtime:
        model.create(CONFIGMAPS, configmap("a"))
        for _ in range(20):
            runtime.ring("test-controller", Key("ns", "a"))
            await asyncio.sleep(0)
        await asyncio.sleep(1)
        assert len(model.all(SECRETS)) == 1
        assert [e["reason"] for e in model.all(EVENTS)] == ["SuccessfulCreate"]
        assert model.all(EVENTS)[0]["message"].startswith("Created secret: made-")


async def test_what_exists_at_the_start_is_planned() -> None:
    model = ApiModel()
    model.create(CONFIGMAPS, configmap("a"))
    async with running(ModelTransport(model), Scripted(secret_for_each)):
        await asyncio.sleep(1)
        assert len(model.all(SECRETS)) == 1


async def test_a_plan_that_raises_is_tried_again_and_disturbs_nobody(caplog: pytest.LogCaptureFixture) -> None:
    model = ApiModel()
    model.create(CONFIGMAPS, configmap("a"))
    calls = 0

    def broken(key: Key, observed: Observed) -> Plan:
        nonlocal calls
        calls += 1
        raise ZeroDivisionError

    async with running(ModelTransport(model), Scripted(broken, "broken"), Scripted(secret_for_each)):
        await asyncio.sleep(10)
    assert 3 < calls < 20
    assert "controller=broken key=ns/a" in caplog.text
    assert len(model.all(SECRETS)) == 1


@pytest.mark.parametrize(
    ("error", "tries_at_least", "tries_at_most"),
    [(Unavailable("away"), 4, 20), (Forbidden("exceeded quota"), 4, 20), (Invalid("spec.x: bad"), 2, 2)],
)
async def test_a_refusal_is_shown_to_the_next_plan(error: ApiError, tries_at_least: int, tries_at_most: int) -> None:
    model = ApiModel()
    transport = ModelTransport(model)
    model.create(CONFIGMAPS, configmap("a"))

    def refuse(request: Request) -> ApiError | None:
        return error if request.method == "POST" and request.path.endswith("secrets") else None

    transport.fail = refuse
    controller = Scripted(secret_for_each)
    async with running(transport, controller):
        await asyncio.sleep(10)
        attempts = [r for r in transport.requests if r.method == "POST" and r.path.endswith("secrets")]
        assert tries_at_least <= len(attempts) <= tries_at_most
        failure = controller.seen[-1][1].failure
        assert failure is not None
        assert failure.message == error.message
        [event] = model.all(EVENTS)
        assert (event["reason"], event["message"]) == ("FailedCreate", f"Error creating: {error.message}")
        assert event["count"] == len(attempts)
        transport.fail = lambda _request: None
        model.put(CONFIGMAPS, configmap("a") | {"data": {"x": "y"}})
        await asyncio.sleep(60)
        assert len(model.all(SECRETS)) == 1
        model.put(CONFIGMAPS, configmap("a") | {"data": {"x": "z"}})
        await asyncio.sleep(1)
        assert controller.seen[-1][1].failure is None


async def test_a_plan_gets_the_live_reads_it_asks_for() -> None:
    model = ApiModel()
    model.create(CONFIGMAPS, configmap("a"))
    model.create(EVENTS, {"metadata": {"namespace": "ns", "name": "e"}})
    one, many, none = Read(EVENTS, "ns", "e"), Read(EVENTS, "ns"), Read(EVENTS, "ns", "absent")
    answered: list[list[int]] = []

    def decide(key: Key, observed: Observed) -> Plan:
        if one not in observed.answers:
            return Plan(reads=(one, many))
        if none not in observed.answers:
            return Plan(reads=(one, many, none))
        answered.append([len(observed.answers[r]) for r in (one, many, none)])
        return NOTHING

    async with running(ModelTransport(model), Scripted(decide)):
        await asyncio.sleep(1)
    assert answered == [[1, 1, 0]]


async def test_a_plan_may_ask_to_run_again() -> None:
    model = ApiModel()
    model.create(CONFIGMAPS, configmap("a"))
    controller = Scripted(lambda _key, _observed: Plan(again_after=timedelta(seconds=10)))
    async with running(ModelTransport(model), controller):
        await asyncio.sleep(35)
    assert len(controller.seen) == 4


async def test_parallel_creations_start_slowly_when_refused() -> None:
    model = ApiModel()
    transport = ModelTransport(model)
    model.create(CONFIGMAPS, configmap("a"))
    transport.fail = lambda r: Invalid("no") if r.method == "POST" and r.path.endswith("secrets") else None

    def decide(key: Key, observed: Observed) -> Plan:
        return Plan(tuple(Create(SECRETS, secret(f"s{n}")) for n in range(100)), parallel=True)

    async with running(transport, Scripted(decide)):
        await asyncio.sleep(1)
        assert len([r for r in transport.requests if r.path.endswith("secrets") and r.method == "POST"]) == 2
        transport.fail = lambda _request: None
        model.put(CONFIGMAPS, configmap("a") | {"data": {"x": "y"}})
        await asyncio.sleep(1)
        assert len(model.all(SECRETS)) == 100


async def test_deletions_are_seen_before_the_key_runs_again() -> None:
    model = ApiModel()
    for n in range(5):
        model.create(SECRETS, secret(f"s{n}"))
    model.create(CONFIGMAPS, configmap("a"))

    def decide(key: Key, observed: Observed) -> Plan:
        """Delete until two are left."""
        found = sorted(observed.caches[SECRETS].list("ns"), key=lambda o: str(o["metadata"]["name"]))
        return Plan(tuple(Delete(SECRETS, key_of(o), o["metadata"]["uid"]) for o in found[: len(found) - 2][:1]))

    async with running(ModelTransport(model), Scripted(decide)) as runtime:
        for _ in range(10):
            runtime.ring("test-controller", Key("ns", "a"))
            await asyncio.sleep(0.01)
        assert len(model.all(SECRETS)) == 2


async def test_an_object_that_a_map_stumbles_over_does_not_end_the_resync() -> None:
    def stumbling(obj: Object, caches: Caches) -> Iterable[Key]:
        if key_of(obj).name == "odd":
            raise KeyError("odd")
        return itself(obj, caches)

    transport = ModelTransport(ApiModel())
    client = Client(transport)
    for name in ("odd", "plain"):
        await client.create(CONFIGMAPS, configmap(name))
    controller = Scripted(lambda _key, _observed: NOTHING, watches=(Watch(CONFIGMAPS, stumbling),))
    async with running(transport, controller):
        await asyncio.sleep(2000)
    assert [key.name for key, _ in controller.seen].count("plain") >= 3
    assert {key.name for key, _ in controller.seen} == {"plain"}


class Crowded(ModelTransport):
    """Counts the requests that are under way at the same time."""

    under_way = 0
    most = 0

    async def send(self, request: Request):
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await asyncio.sleep(0.01)
        try:
            return await super().send(request)
        finally:
            self.under_way -= 1


async def test_all_controllers_together_write_a_bounded_number_at_a_time() -> None:
    """In the server they share an event loop with leader election: thousands of writes at once cost the leadership."""
    wanted = 2 * MOST_WRITES

    def many(key: Key, observed: Observed) -> Plan:
        if observed.caches[SECRETS].list("ns"):
            return NOTHING
        return Plan(tuple(Create(SECRETS, secret(f"{key.name}-{i}")) for i in range(wanted)), parallel=True)

    model = ApiModel()
    for name in ("a", "b"):
        model.create(CONFIGMAPS, configmap(name))
    transport = Crowded(model)
    async with running(transport, Scripted(many, "one"), Scripted(many, "other")):
        await asyncio.sleep(10)
        assert len(model.all(SECRETS)) == 2 * wanted
    assert MOST_WRITES / 2 < transport.most <= MOST_WRITES + 5  # watches and lists are sent too

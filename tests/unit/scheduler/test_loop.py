"""The scheduler's loop on virtual time: what it must not forget when a binding or its own term is cut short."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from controlplane.scheduler.loop import Scheduler
from mesh.client.client import Client
from mesh.client.events import EventRecorder
from mesh.client.handlers import Handler
from mesh.client.informer import Informer
from mesh.errors import Conflict, Unavailable
from mesh.objects.meta import Key, key_of
from mesh.objects.types import Object
from tests.unit.scheduler.cluster import node, pod

pytestmark = pytest.mark.looptime


class LoopClock:
    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    boottime = monotonic


class Known:
    """An informer whose objects the test sets."""

    def __init__(self, *objects: Object) -> None:
        self._objects = {key_of(obj): obj for obj in objects}
        self._handlers: list[Handler] = []

    async def synced(self) -> None:
        return

    def get(self, key: Key) -> Object | None:
        return self._objects.get(key)

    @asynccontextmanager
    async def telling(self, handler: Handler) -> AsyncIterator[None]:
        self._handlers.append(handler)
        for obj in self._objects.values():
            handler(None, obj)
        try:
            yield
        finally:
            self._handlers.remove(handler)

    def put(self, obj: Object) -> None:
        old = self._objects.get(key_of(obj))
        self._objects[key_of(obj)] = obj
        for handler in self._handlers:
            handler(old, obj)

    def remove(self, obj: Object) -> None:
        old = self._objects.pop(key_of(obj))
        for handler in self._handlers:
            handler(old, None)


class Binder:
    """The one verb of a client that is of interest: each call takes its outcome from `outcomes`, or hangs."""

    def __init__(self, pods: Known) -> None:
        self.pods = pods
        self.bound: list[tuple[str, str]] = []
        self.outcomes: list[Exception | None] = []
        self.hang = False
        self.happens_all_the_same = False

    async def bind(self, namespace: str, name: str, target: str, *, uid: str = "") -> None:
        del uid
        self.bound.append((name, target))
        if self.hang:
            await asyncio.Event().wait()
        error = self.outcomes.pop(0) if self.outcomes else None
        known = self.pods.get(Key(namespace, name))
        if known is not None and (error is None or self.happens_all_the_same):
            self.pods.put({**known, "spec": {**known["spec"], "nodeName": target}})
            self.happens_all_the_same = False
        await asyncio.sleep(0.1)
        if error is not None:
            raise error

    async def patch(self, *_args: Any, **_options: Any) -> Object:
        return {}


class Silent:
    def record(self, *_args: Any, **_options: Any) -> None:
        return


def scheduler(binder: Binder, nodes: Known) -> Scheduler:
    return Scheduler(
        cast("Client", binder),
        cast("Informer", binder.pods),
        cast("Informer", nodes),
        cast("EventRecorder", Silent()),
        LoopClock(),
    )


@asynccontextmanager
async def leading(candidate: Scheduler) -> AsyncIterator[None]:
    """One term of leadership."""
    term = asyncio.create_task(candidate.run())
    try:
        yield
    finally:
        term.cancel()
        await asyncio.gather(term, return_exceptions=True)


async def test_a_new_term_binds_what_the_last_one_left_half_done() -> None:
    binder = Binder(Known(pod("a")))
    candidate = scheduler(binder, Known(node("n1")))
    binder.hang = True
    async with leading(candidate):
        await asyncio.sleep(1)
    assert binder.bound == [("a", "n1")]
    binder.hang = False
    async with leading(candidate):
        await asyncio.sleep(30)
    assert binder.bound == [("a", "n1"), ("a", "n1")]


async def test_a_new_term_knows_nothing_of_what_went_between_terms() -> None:
    big, later = pod("big", cpu="4", nodeName="n1"), pod("later", cpu="4")
    pods, nodes = Known(big), Known(node("n1"), node("n2", cpu="8"))
    binder = Binder(pods)
    candidate = scheduler(binder, nodes)
    async with leading(candidate):
        await asyncio.sleep(1)
    pods.remove(big)
    nodes.remove(node("n2"))
    pods.put(later)
    async with leading(candidate):
        await asyncio.sleep(1)
    assert binder.bound == [("later", "n1")]


@pytest.mark.parametrize("error", [Unavailable("the acknowledgement was lost"), Conflict("assigned already")])
async def test_a_pod_stays_counted_where_it_was_bound_in_spite_of_an_error(error: Exception) -> None:
    """The node has room for one such pod; counted elsewhere or not at all, it would be given a second one."""
    pods = Known(pod("a", cpu="4"))
    binder = Binder(pods)
    nodes = Known(node("n1"))
    binder.outcomes, binder.happens_all_the_same = [error], True
    async with leading(scheduler(binder, nodes)):
        await asyncio.sleep(0.05)
        nodes.put(node("n2"))
        await asyncio.sleep(20)
        assert binder.bound == [("a", "n1")], "a bound pod is not placed again"
        pods.put(pod("b", cpu="4"))
        pods.put(pod("c", cpu="4"))
        await asyncio.sleep(20)
        assert binder.bound == [("a", "n1"), ("b", "n2")]

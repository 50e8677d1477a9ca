"""Informers against a scripted server: gaps, 410, duplicates, resumption, replaced stores."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson
import pytest

from mesh.api.port import Request, Response, Stream, WatchEvent
from mesh.client.cache import CachedObjectChanged
from mesh.client.client import Client
from mesh.client.informer import Informer
from mesh.client.shared import SharedInformers
from mesh.errors import BadRequest, Gone, Unavailable
from mesh.objects.kinds import CONFIGMAPS
from mesh.objects.meta import Key, name_of
from mesh.objects.types import Object


def obj(name: str, revision: int, *, uid: str = "", **labels: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "namespace": "ns",
            "name": name,
            "uid": uid or f"uid-{name}",
            "resourceVersion": str(revision),
            "labels": labels,
        },
    }


def bookmark(revision: int) -> WatchEvent:
    return WatchEvent("BOOKMARK", {"kind": "ConfigMap", "metadata": {"resourceVersion": str(revision)}})


class Script:
    """A Transport that answers lists and watches with what it was told, in order; then the last watch hangs."""

    def __init__(self, *steps: object) -> None:
        self.steps = list(steps)
        self.asked: list[str] = []
        self.exhausted = asyncio.Event()

    async def send(self, request: Request) -> Response:
        self.asked.append("list")
        step = self.steps.pop(0)
        if isinstance(step, Exception):
            raise step
        revision, items = step  # type: ignore[misc]
        return Response(200, orjson.dumps({"metadata": {"resourceVersion": str(revision)}, "items": items}))

    async def watch(self, request: Request) -> AsyncIterator[WatchEvent]:
        self.asked.append(f"watch {request.param('resourceVersion')}")
        if not self.steps:
            self.exhausted.set()
            await asyncio.Event().wait()
        events = self.steps.pop(0)
        for event in events:  # type: ignore[attr-defined]
            if isinstance(event, Exception):
                raise event
            yield event

    async def connect(self, request: Request) -> Stream:
        raise BadRequest("none")


class Diary:
    """A handler that writes down what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __call__(self, old: Object | None, new: Object | None) -> None:
        if new is None:
            assert old is not None
            self.lines.append(f"- {name_of(old)}")
        elif old is None:
            self.lines.append(f"+ {name_of(new)}@{new['metadata']['resourceVersion']}")
        else:
            versions = [o["metadata"]["resourceVersion"] for o in (old, new)]
            self.lines.append(f"~ {name_of(new)} {versions[0]}->{versions[1]}")


@asynccontextmanager
async def running(script: Script) -> AsyncIterator[tuple[Informer, Diary]]:
    informer = Informer(Client(script), CONFIGMAPS, random.Random(1), detect_mutations=True)
    diary = Diary()
    informer.add_handler(diary)
    task = asyncio.create_task(informer.run())
    try:
        await script.exhausted.wait()
        yield informer, diary
        informer.verify()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


CASES = {
    "added, changed, deleted": (
        [
            (5, [obj("a", 3)]),
            [WatchEvent("ADDED", obj("b", 6)), WatchEvent("MODIFIED", obj("a", 7)), WatchEvent("DELETED", obj("b", 8))],
        ],
        ["+ a@3", "+ b@6", "~ a 3->7", "- b"],
        ["list", "watch 5", "watch 8"],
    ),
    "an event that comes twice is delivered once": (
        [(5, []), [WatchEvent("ADDED", obj("a", 6)), WatchEvent("ADDED", obj("a", 6)), bookmark(9)]],
        ["+ a@6"],
        ["list", "watch 5", "watch 9"],
    ),
    "a late copy of a deleted object does not bring it back": (
        [(5, [obj("a", 3)]), [WatchEvent("DELETED", obj("a", 7)), WatchEvent("MODIFIED", obj("a", 6))]],
        ["+ a@3", "- a"],
        ["list", "watch 5", "watch 7"],
    ),
    "a gap is resumed from the last revision": (
        [(5, []), [WatchEvent("ADDED", obj("a", 6)), Unavailable("gap")], [WatchEvent("MODIFIED", obj("a", 8))]],
        ["+ a@6", "~ a 6->8"],
        ["list", "watch 5", "watch 6", "watch 8"],
    ),
    "too old: listed again, and only the difference told": (
        [
            (5, [obj("a", 1), obj("b", 2), obj("c", 3)]),
            [Gone("too old resource version")],
            (50, [obj("a", 1), obj("b", 40), obj("d", 45)]),
        ],
        ["+ a@1", "+ b@2", "+ c@3", "- c", "~ b 2->40", "+ d@45"],
        ["list", "watch 5", "list", "watch 50"],
    ),
    "an ERROR event is what its Status says": (
        [(5, []), [WatchEvent("ERROR", Gone("too old").to_status())], (9, [])],
        [],
        ["list", "watch 5", "list", "watch 9"],
    ),
    "the list is tried until it is answered": (
        [Unavailable("away"), Unavailable("away"), (5, [obj("a", 2)])],
        ["+ a@2"],
        ["list", "list", "list", "watch 5"],
    ),
    "deleted and created again unseen is a deletion and an addition": (
        [(5, [obj("a", 3, uid="one")]), [Gone("old")], (9, [obj("a", 8, uid="two")])],
        ["+ a@3", "- a", "+ a@8"],
        ["list", "watch 5", "list", "watch 9"],
    ),
    "a store that was replaced counts anew": (
        [(500, [obj("a", 400)]), [Gone("from the future")], (3, [obj("a", 2)]), [WatchEvent("ADDED", obj("b", 4))]],
        ["+ a@400", "~ a 400->2", "+ b@4"],
        ["list", "watch 500", "list", "watch 3", "watch 4"],
    ),
}


@pytest.mark.parametrize(("steps", "told", "asked"), CASES.values(), ids=CASES.keys())
async def test_it_follows_the_api(steps: list[object], told: list[str], asked: list[str]) -> None:
    script = Script(*steps)
    async with running(script) as (_, diary):
        assert diary.lines == told
        assert script.asked == asked


async def test_a_revision_is_reached_by_events_and_bookmarks() -> None:
    script = Script((5, []), [bookmark(20)], [WatchEvent("ADDED", obj("a", 30))])
    informer = Informer(Client(script), CONFIGMAPS, random.Random(1))
    waiting = [asyncio.create_task(informer.reached(n)) for n in (1, 20, 25, 31)]
    task = asyncio.create_task(informer.run())
    await script.exhausted.wait()
    await asyncio.sleep(0)
    assert [t.done() for t in waiting] == [True, True, True, False]
    for t in (task, waiting[3]):
        t.cancel()
    await asyncio.gather(task, *waiting, return_exceptions=True)


async def test_indexes_follow_changes() -> None:
    script = Script(
        (5, [obj("a", 1, color="red"), obj("b", 2, color="red")]),
        [WatchEvent("MODIFIED", obj("a", 6, color="blue")), WatchEvent("DELETED", obj("b", 7))],
    )
    informer = Informer(Client(script), CONFIGMAPS, random.Random(1))
    informer.add_index("color", lambda o: o["metadata"]["labels"].values())
    task = asyncio.create_task(informer.run())
    await script.exhausted.wait()
    assert [name_of(o) for o in informer.index("color", "blue")] == ["a"]
    assert informer.index("color", "red") == []
    assert [name_of(o) for o in informer.list("ns")] == ["a"]
    assert informer.list("other") == []
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def test_two_indexes_of_one_name_are_refused() -> None:
    def names(o: Object) -> list[str]:
        return [name_of(o)]

    informer = Informer(Client(Script()), CONFIGMAPS, random.Random(1))
    informer.add_index("x", names)
    informer.add_index("x", names)
    with pytest.raises(ValueError, match="two different indexes are called 'x'"):
        informer.add_index("x", lambda o: [name_of(o)])


async def test_a_changed_object_is_found() -> None:
    script = Script((5, [obj("a", 1)]))
    async with running(script) as (informer, _):
        held = informer.get(Key("ns", "a"))
        assert held is not None
        held["data"] = {"x": "y"}
        with pytest.raises(CachedObjectChanged, match="ns/a was changed"):
            informer.verify()
        del held["data"]


async def test_a_handler_that_fails_does_not_stop_the_others(caplog: pytest.LogCaptureFixture) -> None:
    script = Script((5, []), [WatchEvent("ADDED", obj("a", 6))])
    informer = Informer(Client(script), CONFIGMAPS, random.Random(1))

    def broken(old: Object | None, new: Object | None) -> None:
        raise ValueError("mine")

    diary = Diary()
    informer.add_handler(broken)
    informer.add_handler(diary)
    task = asyncio.create_task(informer.run())
    await script.exhausted.wait()
    assert diary.lines == ["+ a@6"]
    assert "informer.handler_failed" in caplog.text
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_shared_informers_are_one_per_selection() -> None:
    shared = SharedInformers(Client(Script()), random.Random(1))
    one = shared.get_or_create(CONFIGMAPS)
    assert shared.get_or_create(CONFIGMAPS) is one
    assert shared.get_or_create(CONFIGMAPS, "ns") is not one
    assert list(shared) == [CONFIGMAPS]
    assert shared[CONFIGMAPS] is one


async def test_a_handler_that_comes_later_is_told_in_portions_and_every_change_once() -> None:
    """Meanwhile one object changes and one goes of which it does not know yet, one of which it knows, and one comes."""
    known = [f"o{n:03}" for n in range(200)]
    changing = asyncio.Event()

    class Changing(Script):
        async def watch(self, request: Request) -> AsyncIterator[WatchEvent]:
            self.exhausted.set()
            await changing.wait()
            yield WatchEvent("MODIFIED", obj(known[0], 1001))
            yield WatchEvent("MODIFIED", obj(known[-1], 1002))
            yield WatchEvent("DELETED", obj(known[-2], 1003))
            yield WatchEvent("ADDED", obj("new", 1004))
            await asyncio.Event().wait()

    script, diary = Changing((1000, [obj(name, 1) for name in known])), Diary()
    async with running(script) as (informer, _):
        told: list[int] = []

        async def others() -> None:
            while len(diary.lines) < len(known):
                told.append(len(diary.lines))
                changing.set()
                await asyncio.sleep(0)

        turns = asyncio.create_task(others())
        async with informer.telling(diary):
            await turns
            assert len(told) > 2, "nobody else had a turn"
            assert f"~ {known[0]} 1->1001" in diary.lines
            assert [line for line in diary.lines if known[-1] in line] == [f"+ {known[-1]}@1002"]
            assert not any(known[-2] in line for line in diary.lines)
            assert diary.lines.count("+ new@1004") == 1
            assert len(diary.lines) == len(set(diary.lines)) == len(known) + 1


async def test_a_handler_hears_nothing_after_its_time() -> None:
    script, diary = Script((5, []), [WatchEvent("ADDED", obj("a", 6))]), Diary()
    informer = Informer(Client(script), CONFIGMAPS, random.Random(1))
    async with informer.telling(diary):
        pass
    task = asyncio.create_task(informer.run())
    await script.exhausted.wait()
    assert informer.list()
    assert diary.lines == []
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


class Paging(Script):
    """A server that hands out lists in pages; `expires` forgets what they were of after the first."""

    def __init__(self, items: list[Object], *, expires: bool = False) -> None:
        super().__init__()
        self.items = items
        self.expires = expires

    async def send(self, request: Request) -> Response:
        limit, start = int(request.param("limit") or len(self.items)), int(request.param("continue") or 0)
        self.asked.append(f"{start}+{limit}")
        if start and self.expires:
            return Response(410, orjson.dumps(Gone("The provided continue parameter is too old").to_status()))
        end = start + limit
        meta = {"resourceVersion": "2000"} | ({"continue": str(end)} if end < len(self.items) else {})
        return Response(200, orjson.dumps({"metadata": meta, "items": self.items[start:end]}))


@pytest.mark.parametrize(
    ("expires", "asked"),
    [(False, ["0+500", "500+500", "1000+500", "watch 2000"]), (True, ["0+500", "500+500", "0+1200", "watch 2000"])],
)
async def test_long_lists_come_in_pages(expires: bool, asked: list[str]) -> None:
    script = Paging([obj(f"o{n:04}", 1) for n in range(1200)], expires=expires)
    async with running(script) as (informer, diary):
        assert len(informer.list()) == len(diary.lines) == 1200
        assert script.asked == asked

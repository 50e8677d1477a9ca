"""Who says that a node is ready while its heartbeats are not heard but its writes are."""

from __future__ import annotations

import asyncio

import pytest

from agents.node.touch import LONGEST_WAIT, REMEMBERED, Touch
from mesh.bus.memory import MemoryBroker
from mesh.objects.kinds import NODES, PODS
from mesh.objects.meta import Key, thaw
from mesh.objects.types import Object
from tests.support.node_world import NodeWorld, make_pod

WINDOW = 1.5


def beats(touch: Touch, start: float, end: float) -> list[float]:
    """When, with a heartbeat answered every half second, the node came back into touch."""
    times = [start + 0.5 * n for n in range(round((end - start) * 2))]
    return [now for now in times if touch.answered(now, now)]


def test_the_first_return_is_at_once_and_later_ones_take_longer() -> None:
    touch = Touch(WINDOW)
    assert not touch.holds(0)
    assert beats(touch, 10, 20) == [10]
    assert not touch.holds(21.5)
    waits = []
    for cut in range(1, 8):
        start = 30.0 * cut
        [back] = beats(touch, start, start + 20)
        waits.append(back - start)
    assert waits == [0, 2, 4, 8, LONGEST_WAIT, LONGEST_WAIT, LONGEST_WAIT]
    assert beats(touch, 250 + REMEMBERED, 260 + REMEMBERED) == [250 + REMEMBERED]


@pytest.mark.parametrize("window", [0.5, 1.5])
def test_an_answer_is_good_for_a_window(window: float) -> None:
    touch = Touch(window)
    touch.answered(10, 10.1)
    assert touch.holds(10 + window - 0.01)
    assert not touch.holds(10 + window)


def test_any_number_of_returns_can_be_counted() -> None:
    touch = Touch(0.1)
    for number in range(3000):
        touch.answered(0.1 * number, 0.1 * number)
    assert not touch.holds(300)


def test_answers_that_always_take_long_are_no_returns() -> None:
    """Sent every half second, and answered a little before the window has passed."""
    touch = Touch(WINDOW)
    for number in range(20):
        touch.answered(0.5 * number, 0.5 * number + 1.4)
    assert touch.holds(0.5 * 19 + 1.45)


def test_many_answers_that_come_at_once_after_a_break_are_one_return() -> None:
    touch = Touch(WINDOW)
    touch.answered(10, 10)
    for number in range(20):
        touch.answered(10 + 0.5 * number, 30)
    assert not touch.holds(30)
    assert touch.answered(30, 30.1)


def ready(obj: Object) -> str:
    """The status of an object's Ready condition, "" while it has none."""
    return {c["type"]: str(c["status"]) for c in obj.get("status", {}).get("conditions", [])}.get("Ready", "")


def with_ready(obj: Object, state: str) -> Object:
    new = thaw(obj)
    for condition in new["status"]["conditions"]:
        if condition["type"] == "Ready":
            condition["status"] = state
    return new


@pytest.mark.looptime
async def test_a_node_whose_heartbeats_go_unheard_leaves_unknown_alone() -> None:
    world = NodeWorld()
    world.bus = MemoryBroker().connect("UNODE")
    await world.start()
    try:
        await world.until(lambda: Key("", "n1") in world.model.objects[NODES])
        world.create(make_pod())
        await world.until(lambda: ready(world.pod()) == "True" and bool(ready(world.node())))
        before = ready(world.node())
        world.model.update(NODES, with_ready(world.node(), "Unknown"), "status")
        world.model.update(PODS, with_ready(world.pod(), "False"), "status")
        await asyncio.sleep(120)
        assert (ready(world.node()), ready(world.pod())) == ("Unknown", "False")
        world.agent._answered(world.clock.boottime())
        await world.until(lambda: (ready(world.node()), ready(world.pod())) == (before, "True"), within=1)
    finally:
        await world.stop()

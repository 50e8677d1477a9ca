"""The work queue on virtual time."""

from __future__ import annotations

import asyncio
import random

import pytest

from mesh.client.queue import WorkQueue


@pytest.fixture
def queue() -> WorkQueue[str]:
    return WorkQueue(random.Random(1), first_delay=1.0, most_delay=8.0)


async def test_a_key_waits_once(queue: WorkQueue[str]) -> None:
    for key in ("a", "b", "a"):
        queue.add(key)
    assert [await queue.get(), await queue.get()] == ["a", "b"]
    assert len(queue) == 0


async def test_a_key_added_while_it_runs_runs_once_more_afterwards(queue: WorkQueue[str]) -> None:
    queue.add("a")
    key = await queue.get()
    queue.add("a")
    queue.add("a")
    assert len(queue) == 0
    queue.done(key)
    assert await queue.get() == "a"
    queue.done("a")
    assert queue.idle


@pytest.mark.looptime
async def test_delayed_keys_come_in_time_and_the_earliest_counts(queue: WorkQueue[str]) -> None:
    loop = asyncio.get_running_loop()
    queue.add_after("late", 50)
    queue.add_after("late", 5)
    queue.add_after("late", 20)
    queue.add_after("soon", 2)
    assert (await queue.get(), loop.time()) == ("soon", 2)
    assert (await queue.get(), loop.time()) == ("late", 5)


@pytest.mark.looptime
async def test_a_doorbell_takes_the_place_of_a_delay(queue: WorkQueue[str]) -> None:
    loop = asyncio.get_running_loop()
    queue.add_after("a", 30)
    queue.add("a")
    assert (await queue.get(), loop.time()) == ("a", 0)
    queue.done("a")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(queue.get(), 100)


async def test_back_off_doubles_to_its_limit_and_is_forgotten(queue: WorkQueue[str]) -> None:
    delays = [queue.retry("a") for _ in range(6)]
    for delay, whole in zip(delays, (1, 2, 4, 8, 8, 8), strict=True):
        assert whole / 2 <= delay <= whole
    queue.forget("a")
    assert queue.retry("a") <= 1
    queue.close()

"""Everybody gets a turn, in order, and others have theirs in between."""

from __future__ import annotations

import asyncio
from itertools import pairwise

from mesh.turns import AT_ONCE, Turns


async def test_a_burst_leaves_room_for_others() -> None:
    turns, begun, seen = Turns(), list[int](), list[int]()

    async def work(number: int) -> None:
        await turns.take()
        begun.append(number)

    async def somebody_else() -> None:
        while len(begun) < 50:
            seen.append(len(begun))
            await asyncio.sleep(0)

    await asyncio.gather(*(work(number) for number in range(50)), somebody_else())
    assert begun == list(range(50))
    assert max(after - before for before, after in pairwise(seen)) <= AT_ONCE


async def test_who_gave_up_costs_nobody_his_turn() -> None:
    """However many they were, the next ones' turns come in the same iteration."""
    turns = Turns()
    gave_up = [asyncio.create_task(turns.take()) for _ in range(3 * AT_ONCE)]
    waiting = [asyncio.create_task(turns.take()) for _ in range(AT_ONCE + 1)]
    await asyncio.sleep(0)  # all have begun to wait, and the next turns are to be given
    for task in gave_up:
        task.cancel()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert [task.done() for task in waiting] == [True] * AT_ONCE + [False]
    assert [task.cancelled() for task in gave_up] == [True] * len(gave_up)
    await waiting[-1]
    await turns.take()

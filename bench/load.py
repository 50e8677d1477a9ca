"""Many requests with a fixed number of them in flight, and the time that each took."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from bench.figures import Figure

T = TypeVar("T")

IN_FLIGHT = 64


async def timed(
    items: Sequence[T], request: Callable[[T], Awaitable[object]], in_flight: int
) -> tuple[float, list[float]]:
    """Seconds for all of them, and for each."""
    rest, latencies = iter(items), []

    async def worker() -> None:
        for item in rest:
            began = time.perf_counter()
            await request(item)
            latencies.append(time.perf_counter() - began)

    began = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(in_flight):
            tasks.create_task(worker())
    return time.perf_counter() - began, latencies


async def figures_of(
    name: str, items: Sequence[T], request: Callable[[T], Awaitable[object]], in_flight: int = IN_FLIGHT
) -> list[Figure]:
    """Rate (by fifths of the run) and latency of one kind of request."""
    rates, latencies = [], []
    share = -(-len(items) // 5)
    for start in range(0, len(items), share):
        some = items[start : start + share]
        elapsed, each = await timed(some, request, in_flight)
        rates.append(len(some) / elapsed)
        latencies += each
    label = f"{name}, {in_flight} in flight"
    return [Figure.of(label, "1/s", rates), Figure.of(label, "ms", [1000 * t for t in latencies])]

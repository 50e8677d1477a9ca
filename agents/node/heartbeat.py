"""Heartbeats: requests on the bus that the leader answers. What counts is when the last answered one was *sent*.

docs/architecture.md says what travels.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable

import msgpack

from mesh.bus import subjects
from mesh.bus.port import Bus
from mesh.clock import Clock
from mesh.errors import ApiError

log = logging.getLogger(__name__)


async def beat(bus: Bus, node: str, seconds: float, clock: Clock, answered: Callable[[float], None]) -> None:
    """Send one every `seconds`, until cancelled. `answered(t)`: one that was sent at boottime `t` has been answered.

    A slow answer does not hold up the next heartbeat: each waits for its own.
    """
    under_way: set[asyncio.Task[None]] = set()
    for sequence in itertools.count(1):
        task = asyncio.create_task(_one(bus, node, sequence, timeout=seconds * 4, clock=clock, answered=answered))
        under_way.add(task)
        task.add_done_callback(under_way.discard)
        await asyncio.sleep(seconds)


async def _one(
    bus: Bus, node: str, sequence: int, *, timeout: float, clock: Clock, answered: Callable[[float], None]
) -> None:
    sent = clock.boottime()
    try:
        data = msgpack.packb({"node": node, "sequence": sequence})
        await bus.request(subjects.heartbeat(bus.identity), data, timeout=timeout)
    except ApiError as error:
        log.debug("heartbeat.unanswered node=%s sequence=%d reason=%s", node, sequence, error)
        return
    try:
        answered(sent)
    except OSError:  # the disk: the fence does not know that we are in touch, and will fall
        log.exception("heartbeat.not_noted node=%s sequence=%d", node, sequence)

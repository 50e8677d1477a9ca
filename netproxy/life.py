"""The proxy's sign of life: tells the leader that the node is there, also while its agent is being restarted.

It travels where heartbeats travel (docs/architecture.md) and asks for no answer: what the fence counts on is the agent's
own heartbeat alone.
"""

from __future__ import annotations

import asyncio
import itertools
import logging

import msgpack

from mesh.bus import subjects
from mesh.bus.port import Bus
from mesh.errors import ApiError

log = logging.getLogger(__name__)

SECONDS = 0.5


async def give_signs(bus: Bus, node: str) -> None:
    """Send one every `SECONDS`, until cancelled."""
    for sequence in itertools.count(1):
        try:
            data = msgpack.packb({"node": node, "sequence": sequence})
            await bus.publish(subjects.heartbeat(bus.identity), data)
        except ApiError as error:
            log.debug("sign.unsent node=%s reason=%s", node, error)
        await asyncio.sleep(SECONDS)

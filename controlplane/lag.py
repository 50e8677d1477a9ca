"""How late the event loop gives turns: the one number that tells whether a busy server still answers in time."""

from __future__ import annotations

import asyncio
import logging

from prometheus_client import Histogram

log = logging.getLogger("covey.server")

_LAG = Histogram(
    "covey_event_loop_lag_seconds",
    "How much later than asked for the event loop gave a turn.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0),
)
_EVERY_SECONDS = 0.1
_WORTH_A_WORD = 0.5
"""Seconds of lag that are logged: heartbeats and leadership are renewed every half second and every second."""


async def watch_lag() -> None:
    """Measure until cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + _EVERY_SECONDS
        await asyncio.sleep(_EVERY_SECONDS)
        late = max(loop.time() - due, 0.0)
        _LAG.observe(late)
        if late > _WORTH_A_WORD:
            log.warning("server.late seconds=%.1f", late)

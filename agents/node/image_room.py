"""Makes room when the disk is nearly full: removes images that we fetched and nobody uses.

https://kubernetes.io/docs/concepts/architecture/garbage-collection/#container-image-lifecycle
"""

from __future__ import annotations

import asyncio
import logging

from agents.node.images import Images
from agents.node.machine import PressureReader
from agents.node.ports import RuntimeFailure

log = logging.getLogger(__name__)

LOOK_SECONDS = 300.0
ABOVE, UNTIL = 0.85, 0.80
"""Parts of the disk in use: kubelet's imageGCHighThresholdPercent and imageGCLowThresholdPercent."""


async def keep_room(images: Images, pressure: PressureReader) -> None:
    """Look now and then, until cancelled."""

    def used() -> float:
        now = pressure()
        return 1 - now.disk_free / now.disk_total

    while True:
        await asyncio.sleep(LOOK_SECONDS)
        try:
            if used() >= ABOVE:
                await images.collect(lambda: used() < UNTIL)
        except (RuntimeFailure, OSError) as error:
            log.warning("image.collection_failed reason=%s", error)

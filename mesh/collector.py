"""Python's cyclic garbage collector in processes that hold very many objects for long.

With Python's own thresholds it looks through millions of cached objects again and again: a third of the cost of creating a
pod, and with larger steps pauses of half a second and more in which the event loop stands still.
"""

from __future__ import annotations

import gc

STEPS = (25_000, 1, 1000)
"""Thresholds as `gc.set_threshold` has them: a look after so many new objects, some 25 ms each; what survived two looks is
left alone for a long time."""


def take_small_steps() -> None:
    """For this process, from now on."""
    gc.set_threshold(*STEPS)

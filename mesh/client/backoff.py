"""Exponential back-off with jitter, for one thing that may fail again and again."""

from __future__ import annotations

import random


class Backoff:
    """Delays that double from `first` to `most` seconds, each spread over [0.5, 1.0] of its value.

    The spread keeps many clients that lost one server from coming back in step.
    """

    def __init__(self, rng: random.Random, *, first: float, most: float) -> None:
        self._rng = rng
        self._first = first
        self._most = most
        self._delay = first

    def next(self) -> float:
        """How long to wait this time, in seconds."""
        delay = self._delay * self._rng.uniform(0.5, 1.0)
        self._delay = min(self._delay * 2, self._most)
        return delay

    def reset(self) -> None:
        """It worked: begin small again."""
        self._delay = self._first

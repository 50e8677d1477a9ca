"""What the network between simulated processes is like at this moment. `storm.py` changes it.

`Weather` decides about every message on the bus, `StoreLink` about every step between one server and the store. On a fair
day both only take a little time.
"""

from __future__ import annotations

import random
from collections.abc import Sequence


class Weather:
    """`mesh.bus.memory.Policy`. Identities in `mute` are not heard by anybody, those in `deaf` hear nobody."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self.mute: set[str] = set()
        self.deaf: set[str] = set()
        self.loss = 0.0
        """Part of the messages that never arrive."""
        self.duplicates = 0.0
        """Part of the messages that arrive twice."""
        self.slowness = 0.0
        """Seconds that a message may take at most, beyond the usual."""

    def copies(self, sender: str, receiver: str, subject: str) -> Sequence[float]:
        """When each copy of a message arrives."""
        del subject
        rng = self._rng
        if sender in self.mute or receiver in self.deaf or rng.random() < self.loss:
            return ()
        count = 2 if rng.random() < self.duplicates else 1
        return [rng.uniform(0.0002, 0.002) + rng.random() * self.slowness for _ in range(count)]


class StoreLink:
    """`mesh.store.memory.Faults` of one server."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self.connected = True
        self.loss = {"write": 0.0, "ack": 0.0, "read": 0.0}
        """By step: the part of what is sent that never arrives."""
        self.slowness = 0.0
        """Seconds that a step may take at most, beyond the usual."""

    def delay(self, step: str) -> float:
        """How long one step takes."""
        del step
        return self._rng.uniform(0.0001, 0.001) + self._rng.random() * self.slowness

    def lost(self, step: str) -> bool:
        """Whether what is sent in this step is lost."""
        return self._rng.random() < self.loss[step]

"""What the leader knows of the nodes' heartbeats, as a value: the one thing controllers see that is no object.

Pure. `controlplane.manager.heartbeats` makes it; node lifecycle and pod collection decide with it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeAlias

AGENT_PATIENCE = 60.0
"""Seconds for which a node that lives may be without its agent: long enough for any restart of it."""


@dataclass(frozen=True, slots=True)
class NodeHealth:
    """Heartbeats as heard at one moment; all times in seconds.

    `listening_for` is how long this leader has listened without interruption; `silent_for` how long ago each node was
    last answered (at most `listening_for`). `silence_limit` makes a node unreachable; after `fence_time` without an
    answer it has certainly stopped its exclusive pods. `signs_ago` is how long ago each node's proxy gave a sign of life.
    """

    listening_for: float
    silence_limit: float
    fence_time: float
    silent_for: Mapping[str, float] = field(default_factory=dict)
    signs_ago: Mapping[str, float] = field(default_factory=dict)

    def silence(self, node: str) -> float:
        """For how long the node has certainly not been answered."""
        return min(self.silent_for.get(node, self.listening_for), self.listening_for)

    def is_silent(self, node: str) -> bool:
        """Whether the node may be declared unreachable. A leader that is new, or had lost the broker, declares
        nobody dead for one fence time: it cannot know whom it merely could not hear."""
        return self.listening_for >= self.fence_time and self.silence(node) >= self.silence_limit

    def is_heard(self, node: str) -> bool:
        """Whether the node is certainly alive."""
        return node in self.silent_for and self.silence(node) < self.silence_limit

    def lacks_only_its_agent(self, node: str) -> bool:
        """Whether the node lives although its agent is silent: it is being restarted, and the pods run on."""
        lives = self.signs_ago.get(node, math.inf) < self.silence_limit
        return lives and self.silence(node) < AGENT_PATIENCE

    def is_fenced(self, node: str) -> bool:
        """Whether the node's exclusive pods have certainly ended, whatever has become of it."""
        return self.silence(node) >= self.fence_time

    def until_fenced(self, node: str) -> timedelta:
        """How long until that is certain, if the node stays silent."""
        return timedelta(seconds=max(self.fence_time - self.silence(node), 0.0))


HealthSource: TypeAlias = Callable[[], NodeHealth]
"""The current value: a read-only view like a cache, given to the controllers that need it when they are made."""

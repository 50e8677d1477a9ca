"""What the world around a fake runtime is like, and what its containers do. Values only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from agents.node.ports import ContainerSpec


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What one container does. Times in seconds; `runs` None means until it is stopped."""

    start_delay: float = 0.0
    runs: float | None = None
    exit_code: int = 0
    oom_killed: bool = False
    start_error: str = ""
    stop_delay: float = 0.0
    """How long it takes after its stop signal; longer than the grace time and it is killed."""
    stop_code: int = 0
    ready: bool = True
    """What an HTTP request to any of its ports is told: 200 or 503."""
    output: bytes = b""
    """What it writes to stdout when it starts."""


@dataclass(slots=True)
class Policy:
    """What the world around the fake is like; change it while it runs to inject faults."""

    behave: Callable[[ContainerSpec], Behaviour] = field(default=lambda _spec: Behaviour())
    sandbox_delay: float = 0.0
    pull_delay: float = 0.0
    missing_images: frozenset[str] = frozenset()
    """References that no registry has."""

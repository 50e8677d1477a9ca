"""What one pod worker remembers between passes, and how it becomes the frozen `Observed` that planning reads.

Everything here may be lost at any time: the runtime's labels and the checkpoint bring back what matters.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from agents.node.observed import FRESH, Failure, Health, Observed, Present, Verdict
from agents.node.ports import ContainerStatus, Image, SandboxStatus

LONGEST_RETRY = 10
"""Seconds between attempts at something that keeps failing and has no back-off of its own in Kubernetes."""


@dataclass(slots=True)
class PodMemory:
    """The mutable side of `Observed`. `images` and `failures` are by container name, the rest by container id."""

    sandboxes: list[SandboxStatus] = field(default_factory=list)
    containers: list[ContainerStatus] = field(default_factory=list)
    addresses: tuple[str, ...] = ()
    volumes_ready: bool = False
    images: dict[str, Image | None] = field(default_factory=dict)
    """None while the image is on its way."""
    failures: dict[str, Failure] = field(default_factory=dict)
    pod_failure: Failure | None = None
    health: dict[str, Health] = field(default_factory=dict)
    hooks: set[str] = field(default_factory=set)
    broken_hooks: set[str] = field(default_factory=set)
    messages: dict[str, str] = field(default_factory=dict)
    verdict: Verdict | None = None
    started_at: datetime | None = None
    held: bool = False
    finished: bool = False
    _failed_in_a_row: dict[str, int] = field(default_factory=dict)

    def observed(self, now: datetime) -> Observed:
        """A frozen copy for planning."""
        return Observed(
            sandboxes=tuple(self.sandboxes),
            containers=tuple(self.containers),
            addresses=self.addresses,
            volumes_ready=self.volumes_ready,
            images={n: Present.READY if image else Present.PULLING for n, image in self.images.items()},
            failures={n: f for n, f in self.failures.items() if f.reason != "RunContainerError" or now < f.at + FRESH},
            pod_failure=self.pod_failure,
            health=dict(self.health),
            hooks=frozenset(self.hooks),
            broken_hooks=frozenset(self.broken_hooks),
            messages=dict(self.messages),
            verdict=self.verdict,
            started_at=self.started_at,
            held=self.held,
            finished=self.finished,
        )

    def failure(self, what: str, reason: str, message: str, now: datetime) -> Failure:
        """A failure of `what`, to be tried again after 1, 2, 4, 8, then every 10 seconds."""
        count = self._failed_in_a_row.get(what, 0)
        self._failed_in_a_row[what] = count + 1
        return Failure(reason, message, now, now + timedelta(seconds=min(2**count, LONGEST_RETRY)))

    def succeeded(self, what: str) -> None:
        """`what` worked: its next failure is retried soon."""
        self._failed_in_a_row.pop(what, None)

    def retry_config(self) -> None:
        """Something the pod refers to has changed: what failed for want of it may be tried at once."""
        fixable = {"CreateContainerConfigError", "CreateContainerError"}
        for name in [n for n, f in self.failures.items() if f.reason in fixable]:
            del self.failures[name]
        self.pod_failure = None

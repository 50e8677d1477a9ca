"""One container of a fake runtime: a record, and the timer that ends it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from datetime import datetime

from agents.node.ports import ContainerSpec, ContainerStatus, State
from agents.node.runtimes.fake_policy import Behaviour


@dataclass(slots=True)
class FakeContainer:
    """`log` holds (time, 1 or 2, line); `ended` is set when it has."""

    spec: ContainerSpec
    status: ContainerStatus
    behaviour: Behaviour = field(default_factory=Behaviour)
    log: list[tuple[datetime, int, bytes]] = field(default_factory=list)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    timer: asyncio.TimerHandle | None = None

    def is_new(self) -> bool:
        """Whether it has not been started yet."""
        return self.status.state is State.CREATED

    def end(self, exit_code: int, now: datetime, *, oom_killed: bool, message: str) -> bool:
        """Its process is over, or could not start because of `message`; whether that is news."""
        if self.status.state is State.EXITED or (self.is_new() and not message):
            return False
        if self.timer is not None:
            self.timer.cancel()
        self.status = replace(
            self.status,
            state=State.EXITED,
            pid=0,
            finished_at=now,
            exit_code=exit_code,
            signal=exit_code - 128 if 128 < exit_code <= 192 else 0,
            oom_killed=oom_killed,
            message=message,
        )
        self.ended.set()
        return True

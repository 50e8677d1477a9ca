"""The bus port: messages between processes, in which the subject carries the sender's identity.

Two adapters pass the same contract suite: `memory` (simulation, unit tests; it enforces the same permissions) and
`nats` (the real one, where the broker enforces them).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from mesh.errors import Unavailable

WORKING = b""
"""In place of an answer: it takes longer, but is being worked on. Whoever is asked may say so again and again."""


class NobodyListens(Unavailable):
    """Nobody has subscribed to the subject: who should answer has gone, or has not yet begun."""


class Silence(Unavailable):
    """Somebody listened, and neither answered nor said that he was at work."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message as it arrives; `reply` is "" when the sender wants no answer."""

    subject: str
    reply: str
    data: bytes


class Subscription(Protocol):
    """A running subscription."""

    async def unsubscribe(self) -> None:
        """End it; no handler call starts after this returns."""


class Bus(Protocol):
    """One process's connection to the broker, under one identity (an NKEY public key).

    Handlers are plain functions, called in arrival order for each subscription: one that has to wait starts a task.
    """

    @property
    def identity(self) -> str:
        """The NKEY public key this connection proved."""

    @property
    def connected(self) -> bool:
        """Whether the broker is in reach at this moment."""

    async def publish(self, subject: str, data: bytes, *, reply: str = "") -> None:
        """Send one message; raises `Unavailable` when not connected, `Forbidden` when known to be refused."""

    async def request(self, subject: str, data: bytes, *, timeout: float) -> bytes:
        """Send and wait for one answer under our own inbox; raises `NobodyListens`, `Unavailable` when the connection
        is lost, `Silence` when for `timeout` seconds there is neither answer nor `WORKING`, and `Forbidden` when the
        broker refuses the subject."""

    async def subscribe(self, subject: str, handler: Callable[[Message], None], *, queue: str = "") -> Subscription:
        """Call `handler` for each message; members of one `queue` group share them. `Forbidden` when refused."""

    def new_inbox(self) -> str:
        """A fresh unguessable subject under this identity's own inbox prefix."""

    def on_connection(self, handler: Callable[[bool], None]) -> None:
        """Call `handler(True)` after each connect or reconnect and `handler(False)` when the connection is lost."""

    async def close(self) -> None:
        """Leave the broker."""

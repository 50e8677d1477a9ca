"""The answers that one connection waits for. Each has a reply subject of its own below one inbox, so that a single
subscription serves them all, and whoever waits learns it when none can come any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from mesh.bus.natspy import Msg
from mesh.bus.port import WORKING, NobodyListens, Silence

SECOND_LOOK = 0.2
"""Seconds for which silence is looked at once more: had our own process stalled, what came meanwhile lies in its socket."""


@dataclass(slots=True)
class Expected:
    """One answer that has not come yet. `patient` takes `WORKING` for a sign of life, others for the answer itself."""

    subject: str
    reply: str
    patient: bool
    answer: asyncio.Future[Msg] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    heard: float = field(default_factory=lambda: asyncio.get_running_loop().time())
    """Loop time of the last sign of life."""

    async def within(self, timeout: float) -> Msg:
        """The answer, or what it failed with; `Silence` when there is no sign of life for `timeout` seconds."""
        loop = asyncio.get_running_loop()
        while not self.answer.done() and (left := self.heard + timeout - loop.time()) > 0:
            await asyncio.wait({self.answer}, timeout=left)
            if self.heard + timeout <= loop.time():
                await asyncio.wait({self.answer}, timeout=SECOND_LOOK)
        if not self.answer.done():
            raise Silence(f"no answer on {self.subject} within {timeout:g} s")
        return self.answer.result()


class Replies:
    """All that is expected below `inbox`."""

    def __init__(self, inbox: str) -> None:
        self._inbox = inbox
        self._waiting: dict[str, Expected] = {}
        self._numbers = 0

    @property
    def subject(self) -> str:
        """What to subscribe to."""
        return f"{self._inbox}.*"

    def expect(self, subject: str, *, patient: bool) -> Expected:
        """An answer to a message on `subject`; its future is to be cancelled when it is no longer wanted."""
        self._numbers += 1
        reply = f"{self._inbox}.{self._numbers}"
        expected = self._waiting[reply] = Expected(subject, reply, patient)
        expected.answer.add_done_callback(lambda _: self._waiting.pop(reply, None))
        return expected

    def came(self, message: Msg) -> None:
        """A message on one of the reply subjects."""
        expected = self._waiting.get(message.subject)
        if expected is None or expected.answer.done():
            return
        if message.headers and message.headers.get("Status") == "503" and not message.data:
            expected.answer.set_exception(NobodyListens(f"nobody listens on {expected.subject}"))
        elif message.data == WORKING and expected.patient:
            expected.heard = asyncio.get_running_loop().time()
        else:
            expected.answer.set_result(message)

    def fail(self, reason: Callable[[str], Exception | None]) -> None:
        """No answer will come to what was sent on the subjects for which there is a reason."""
        for expected in list(self._waiting.values()):
            if not expected.answer.done() and (error := reason(expected.subject)) is not None:
                expected.answer.set_exception(error)
                expected.answer.exception()  # the waiter may itself be gone

"""The follower when its broker answers what it should not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import orjson
import pytest

from mesh.bus.connection import Connection
from mesh.clock import ManualClock
from mesh.errors import Forbidden
from mesh.store.bucket import Bucket
from mesh.store.follower import Follower
from mesh.store.port import Entry

pytestmark = pytest.mark.looptime


class OddBroker:
    """A connection on which the first requests go wrong in ways that nobody foresaw."""

    def __init__(self) -> None:
        self.wrong: list[Exception | bytes] = [Forbidden("no right to ask"), b"[]", b"{}"]

    def on_connection(self, _handler: Callable[[bool], None]) -> Callable[[], None]:
        return lambda: None

    def new_inbox(self) -> str:
        return "_INBOX.x"

    async def subscribe(self, _subject: str, _handler: Any) -> Any:
        async def unsubscribe() -> None:
            return

        return SimpleNamespace(unsubscribe=unsubscribe)

    async def request(self, subject: str, _data: bytes, *, timeout: float) -> Any:
        del timeout
        if self.wrong:
            answer = self.wrong.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return SimpleNamespace(data=answer)
        info = {"created": "then", "state": {"last_seq": 7}, "config": {}}
        return SimpleNamespace(data=orjson.dumps({"num_pending": 0} if "CONSUMER" in subject else info))


class Noting:
    def __init__(self) -> None:
        self.reached = asyncio.Event()

    def entry(self, entry: Entry) -> None:
        raise AssertionError(entry)

    def caught_up(self, revision: int) -> None:
        assert revision == 7
        self.reached.set()

    def lost(self, error: Exception) -> None:
        raise AssertionError(error)


async def test_it_keeps_trying_whatever_goes_wrong() -> None:
    sink = Noting()
    follower = Follower(
        cast("Connection", OddBroker()),
        Bucket("b"),
        ManualClock(),
        sink,
        after=0,
        on_tombstone=lambda _key, _revision: None,
    )
    follower.start()
    async with asyncio.timeout(60):
        await sink.reached.wait()
    await follower.stop()

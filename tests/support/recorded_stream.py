"""A `Stream` without a peer: keeps what is sent; what it receives is given beforehand."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence

import orjson

from mesh.objects.types import Json


class RecordedStream:
    def __init__(self, incoming: Sequence[tuple[int, bytes]] = (), *, leaves: bool = False) -> None:
        self._incoming = list(incoming)
        self._leaves = leaves
        self.sent: dict[int, bytearray] = defaultdict(bytearray)
        self.closed = False

    async def send(self, channel: int, data: bytes) -> None:
        self.sent[channel] += data

    async def receive(self) -> tuple[int, bytes] | None:
        if self._incoming:
            return self._incoming.pop(0)
        if not self._leaves:
            await asyncio.Event().wait()
        return None

    async def close(self) -> None:
        self.closed = True

    def text(self, channel: int) -> str:
        return self.sent[channel].decode()

    def json(self, channel: int) -> Json:
        return orjson.loads(self.sent[channel])

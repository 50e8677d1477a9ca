"""The transport without a wire: a client in the same process as the API server's pipeline.

Scheduler and controllers use it when they share the API server's process. Answers take the same path as any other
client's, so that nothing can depend on sharing memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import orjson

from mesh.api.port import Api, Request, Response, Stream, User, WatchEvent
from mesh.errors import BadRequest

_PORTION = 50
"""Watch events in a row after which everybody else in the process has a turn."""


class LocalTransport:
    """Calls `api` directly, as `user`."""

    def __init__(self, api: Api, user: User) -> None:
        self._api = api
        self._user = user

    async def send(self, request: Request) -> Response:
        """One request, one answer."""
        return await self._api.handle(request, self._user)

    async def watch(self, request: Request) -> AsyncIterator[WatchEvent]:
        """The events of one watch request, decoded."""
        events = await self._api.watch(request, self._user)
        number = 0
        try:
            async for data in events:
                event = orjson.loads(data)
                yield WatchEvent(event["type"], event["object"])
                number += 1
                if not number % _PORTION:
                    await asyncio.sleep(0)
        finally:
            await events.aclose()

    async def connect(self, request: Request) -> Stream:
        """Not offered: nothing in the API server's own process opens byte streams."""
        raise BadRequest(f"{request.path}: byte streams are not served inside the API server's own process")

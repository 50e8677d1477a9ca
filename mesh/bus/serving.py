"""Serving one byte stream: a handler that may still refuse until it first touches the stream."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from mesh.api.port import Stream
from mesh.bus.streams import FrameStream
from mesh.errors import ApiError, InternalError, Unavailable

log = logging.getLogger("covey.bus")

_GRACE = 5.0
"""Seconds that a handler may go on after its peer has gone."""


class _LazyStream:
    """Opens the real stream when it is first used: until then the request can still be refused."""

    def __init__(self, accept: Callable[[], Awaitable[FrameStream]]) -> None:
        self._accept = accept
        self._lock = asyncio.Lock()
        self.opened: asyncio.Future[FrameStream] = asyncio.get_running_loop().create_future()

    async def open(self) -> FrameStream:
        """The stream, accepted now if it was not yet."""
        async with self._lock:
            if not self.opened.done():
                self.opened.set_result(await self._accept())
        return self.opened.result()

    async def send(self, channel: int, data: bytes) -> None:
        await (await self.open()).send(channel, data)

    async def receive(self) -> tuple[int, bytes] | None:
        return await (await self.open()).receive()

    async def close(self) -> None:
        await (await self.open()).close()


async def serve_stream(
    handler: Callable[[Stream], Awaitable[None]],
    *,
    accept: Callable[[], Awaitable[FrameStream]],
    refuse: Callable[[ApiError], Awaitable[None]],
) -> None:
    """Run `handler` to its end. `accept` answers the request and returns the stream, `refuse` answers with an error.

    A handler whose peer is gone has a few seconds to notice, and is cancelled then.
    """
    lazy = _LazyStream(accept)
    work: asyncio.Future[None] = asyncio.ensure_future(handler(lazy))
    both: set[asyncio.Future[Any]] = {work, lazy.opened}
    try:
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if lazy.opened.done():
            stream = lazy.opened.result()
            await asyncio.wait({work, stream.ended}, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait({work}, timeout=_GRACE)
    finally:
        work.cancel()
        await asyncio.wait({work})
    error = None if work.cancelled() else work.exception()
    if error is not None and not isinstance(error, ApiError):
        log.error("stream handler failed", exc_info=error)
        error = InternalError("internal error")
    if not lazy.opened.done():
        if error is None:
            await (await lazy.open()).close()
        else:
            await refuse(error)
    elif error is None:
        await lazy.opened.result().close()
    else:
        await lazy.opened.result().abort(Unavailable(str(error)))

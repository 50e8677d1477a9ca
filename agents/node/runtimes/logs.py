"""Reading a container's log, and following it over rotation and over restarts of the daemon.

Docker keeps the files (json-file, 10 MiB x 5) and follows over their rotation. A reader that is slow stops reading the
socket, the daemon waits: nobody's memory grows. When the daemon goes away while we follow, reading resumes at the last
stamp seen; if it stays away, or the container has a TTY (no frames, so no stamps to find), `RuntimeAway` ends it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from agents.node.ports import RuntimeAway, RuntimeFailure
from agents.node.runtimes.engine import Engine, Parameters, Refused
from agents.node.runtimes.frames import STDOUT, Demultiplexer, LogLines, joined, unix_time

_RETURN_SECONDS: Final = 30
"""How long a follower waits for a daemon that went away: a restart of dockerd takes a few seconds."""


@dataclass(frozen=True, slots=True)
class LogQuery:
    """What to read: see `Runtime.logs`."""

    follow: bool
    tail: int | None
    since: datetime | None
    timestamps: bool


async def read_log(engine: Engine, container_id: str, query: LogQuery) -> AsyncIterator[tuple[int, bytes]]:
    """The log as (1 or 2, bytes), oldest first."""
    try:
        inspected = await engine.request("GET", f"/containers/{container_id}/json")
        if inspected["Config"]["Tty"]:
            async with engine.stream("GET", f"/containers/{container_id}/logs", params=_parameters(query)) as content:
                async for chunk in content.iter_any():
                    yield STDOUT, chunk
            return
        lines = LogLines(timestamps=query.timestamps)
        attempts = 0
        while True:
            try:
                async with aclosing(_stamped(engine, container_id, query, lines)) as pieces:
                    async for piece in pieces:
                        attempts = 0
                        yield piece
                if not query.follow:
                    return
                # Docker ends a follower when the container ends, sometimes before its last line: look once more.
                query = replace(query, follow=False)
                lines.resume()
            except RuntimeAway:
                attempts += 1
                if not query.follow or attempts > _RETURN_SECONDS:
                    raise
                await asyncio.sleep(1)
                lines.resume()
    except Refused as refused:
        raise RuntimeFailure("LogError", refused.message) from refused


async def _stamped(
    engine: Engine, container_id: str, query: LogQuery, lines: LogLines
) -> AsyncGenerator[tuple[int, bytes], None]:
    """One read of a log without TTY, from `lines.since` on if something has been read before."""
    params = dict(_parameters(query), timestamps=1)
    if lines.since:
        params |= {"since": unix_time(lines.since), "tail": "all"}
    demultiplexer = Demultiplexer()
    async with engine.stream("GET", f"/containers/{container_id}/logs", params=params) as content:
        while chunk := await content.readany():
            messages = [(stream, lines.message(stream, data)) for stream, data in demultiplexer.feed(chunk)]
            for piece in joined([message for message in messages if message[1]]):
                yield piece


def _parameters(query: LogQuery) -> Parameters:
    params: dict[str, str | int] = {"stdout": 1, "stderr": 1, "timestamps": int(query.timestamps)}
    if query.follow:
        params["follow"] = 1
    if query.tail is not None:
        params["tail"] = query.tail
    if query.since is not None:
        params["since"] = f"{query.since.timestamp():.6f}"
    return params

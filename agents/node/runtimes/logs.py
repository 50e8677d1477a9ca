"""Reading a container's log, and following it over rotation and over restarts of the daemon.

Docker keeps the files (json-file, 10 MiB x 5) and follows over their rotation. A reader that is slow stops reading the
socket, the daemon waits: nobody's memory grows. When the daemon goes away while we follow, or its follower may have lost
a file because we were slow (log_file.py), reading resumes at the last stamp passed on; if the daemon stays away, or the
container has a TTY (no frames, so no stamps to find), `RuntimeAway` ends it.
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
from agents.node.runtimes.log_file import LogFile

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
        path = inspected.get("LogPath") or ""
        attempts = 0
        while True:
            try:
                async with aclosing(_followed(engine, container_id, query, lines, path)) as pieces:
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


async def _followed(
    engine: Engine, container_id: str, query: LogQuery, lines: LogLines, path: str
) -> AsyncGenerator[tuple[int, bytes], None]:
    """Reads of a log without TTY, each from `lines.since` on if something has been read before, until one comes to its
    end. What comes when the file at `path` has been rotated away is not passed on: there may be a gap before it."""
    while True:
        with LogFile(path) as file:
            chunks = _chunks(engine, container_id, query, lines.since)
            async with aclosing(chunks):
                demultiplexer = Demultiplexer()
                first = True
                async for chunk in chunks:
                    # The first is from files that the daemon had opened together: so every read gets further.
                    if not first and query.follow and file.left_behind():
                        break
                    first = False
                    messages = [(stream, lines.message(stream, data)) for stream, data in demultiplexer.feed(chunk)]
                    for piece in joined([message for message in messages if message[1]]):
                        yield piece
                else:
                    return
        lines.resume()


async def _chunks(engine: Engine, container_id: str, query: LogQuery, since: str) -> AsyncGenerator[bytes, None]:
    """One answer of the daemon, with stamps, as it comes."""
    params = dict(_parameters(query), timestamps=1)
    if since:
        params |= {"since": unix_time(since), "tail": "all"}
    async with engine.stream("GET", f"/containers/{container_id}/logs", params=params) as content:
        while chunk := await content.readany():
            yield chunk


def _parameters(query: LogQuery) -> Parameters:
    params: dict[str, str | int] = {"stdout": 1, "stderr": 1, "timestamps": int(query.timestamps)}
    if query.follow:
        params["follow"] = 1
    if query.tail is not None:
        params["tail"] = query.tail
    if query.since is not None:
        params["since"] = f"{query.since.timestamp():.6f}"
    return params

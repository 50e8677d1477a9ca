"""The log of a container, as `kubectl logs` asks for it. Checks and sentences as kubelet's (validateContainerLogStatus)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import datetime, timedelta

from agents.node.podspec import reported_statuses
from agents.node.ports import Runtime, RuntimeFailure
from agents.node.worker import PodWorker
from mesh.api.port import Stream
from mesh.errors import BadRequest, InternalError, NotFound, Unavailable
from mesh.objects.meta import name_of, parse_time
from mesh.objects.types import Json, Object

IN_WORDS = {
    "ErrImagePull": "image can't be pulled",
    "ImagePullBackOff": "trying and failing to pull image",
}
STREAMS = {"Stdout": {1}, "Stderr": {2}}


def container_id(pod: Object, status: Object, name: str, *, previous: bool) -> str:
    """Id of the container whose log is meant; raises `BadRequest` or `NotFound` in kubelet's words."""
    known = next((s for s in reported_statuses(status) if s["name"] == name), None)
    where = f'"{name}" in pod "{name_of(pod)}"'
    if known is None:
        raise NotFound(f"container {where} is not available")
    state, last = known["state"], known["lastState"].get("terminated") or {}
    if previous:
        if not last.get("containerID"):
            raise BadRequest(f"previous terminated container {where} not found")
        return _plain(last["containerID"])
    if "running" in state or (state.get("terminated") or {}).get("containerID"):
        return _plain(known["containerID"])
    if last.get("containerID"):
        return _plain(last["containerID"])
    reason = (state.get("waiting") or {}).get("reason")
    if reason is None:
        raise BadRequest(f"container {where} is waiting to start - no logs yet")
    raise BadRequest(f"container {where} is waiting to start: {IN_WORDS.get(reason, reason)}")


def _plain(text: str) -> str:
    """`docker://<id>` without the scheme."""
    return text.partition("://")[2]


async def send_log(
    runtime: Runtime, worker: PodWorker, params: Mapping[str, Json], stream: Stream, *, now: datetime
) -> None:
    """Write the log to channel 1 until its end, its limit, or until the reader has left."""
    found = container_id(
        worker.pod, worker.status, str(params.get("container", "")), previous=bool(params.get("previous"))
    )
    since: datetime | None = None
    if (seconds := params.get("sinceSeconds")) is not None:
        since = now - timedelta(seconds=int(seconds))
    elif text := params.get("sinceTime"):
        try:
            since = parse_time(str(text))
        except ValueError as error:
            raise BadRequest(f"sinceTime: invalid time {text!r}") from error
    tail = params.get("tailLines")
    pieces = runtime.logs(
        found,
        follow=bool(params.get("follow")),
        tail=None if tail is None else int(tail),
        since=since,
        timestamps=bool(params.get("timestamps")),
    )
    limit = params.get("limitBytes")
    wanted = STREAMS.get(str(params.get("stream") or ""), {1, 2})
    writing = asyncio.ensure_future(_write(pieces, stream, None if limit is None else int(limit), wanted))
    if not params.get("follow"):
        await writing
        return
    leaving = asyncio.ensure_future(_until_left(stream))
    try:
        await asyncio.wait({writing, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if writing.done():
            writing.result()
    finally:
        for task in (writing, leaving):
            task.cancel()
        await asyncio.gather(writing, leaving, return_exceptions=True)


async def _write(pieces: AsyncIterator[tuple[int, bytes]], stream: Stream, limit: int | None, wanted: set[int]) -> None:
    try:
        async for source, piece in pieces:
            if source not in wanted:
                continue
            data = piece if limit is None else piece[:limit]
            await stream.send(1, data)
            if limit is not None:
                limit -= len(data)
                if limit <= 0:
                    return
    except RuntimeFailure as error:
        raise InternalError(f"the log cannot be read: {error.message}") from error


async def _until_left(stream: Stream) -> None:
    """Return when the reader closes; what it sends means nothing."""
    try:
        while await stream.receive() is not None:
            pass
    except Unavailable:
        return

"""The status writer: what the API shows in the end is what the node last said, whoever else writes."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from agents.node.status_writer import StatusWriter
from mesh.client.client import Client
from mesh.errors import ApiError, TooManyRequests, Unavailable
from mesh.objects.meta import thaw
from mesh.objects.types import Object


def pod(revision: int, phase: str) -> Object:
    metadata = {"name": "p", "namespace": "default", "uid": "u", "resourceVersion": str(revision)}
    return {"metadata": metadata, "status": status(phase)}


def status(phase: str) -> Object:
    return {"phase": phase, "conditions": []}


class SlowClient:
    """Answers a patch when it is told to; `news` happens while the answer is on its way."""

    def __init__(self) -> None:
        self.patches: list[Object] = []
        self.answer: asyncio.Future[Object] = asyncio.get_running_loop().create_future()

    async def patch(self, *args: Any, **_: Any) -> Object:
        self.patches.append(thaw(args[3]["status"]))
        answer = self.answer
        try:
            return await answer
        finally:
            self.answer = asyncio.get_running_loop().create_future()


async def test_an_answer_that_is_older_than_the_news_does_not_hide_it() -> None:
    client = SlowClient()
    writer = StatusWriter(cast("Client", client))
    first = pod(1, "Pending")
    writer.seen(first)
    writer.report(first, status("Running"))
    await asyncio.sleep(0)
    later = pod(3, "Unknown")  # somebody else has written over revision 2, which is ours
    writer.seen(later)
    client.answer.set_result(pod(2, "Running"))
    await writer.flush("u")
    writer.report(later, status("Running"))
    await asyncio.sleep(0)
    assert client.patches == [{"phase": "Running"}, {"phase": "Running"}]
    await writer.close()


async def test_news_that_are_older_than_an_answer_do_not_hide_it() -> None:
    client = SlowClient()
    writer = StatusWriter(cast("Client", client))
    first = pod(1, "Pending")
    writer.report(first, status("Running"))
    await asyncio.sleep(0)
    client.answer.set_result(pod(3, "Running"))
    await writer.flush("u")
    writer.seen(pod(2, "Pending"))
    writer.report(pod(2, "Pending"), status("Running"))
    assert writer._wanted == {}
    assert len(client.patches) == 1
    await writer.close()


@pytest.mark.looptime
@pytest.mark.parametrize(
    "busy", [TooManyRequests("Too many requests, please try again later."), Unavailable("no answer")]
)
async def test_a_server_that_is_busy_or_away_is_told_later(busy: ApiError) -> None:
    client = SlowClient()
    writer = StatusWriter(cast("Client", client))
    writer.report(pod(1, "Pending"), status("Running"))
    await asyncio.sleep(0)
    client.answer.set_exception(busy)
    await asyncio.sleep(1)
    assert client.patches == [{"phase": "Running"}, {"phase": "Running"}]
    await writer.close()

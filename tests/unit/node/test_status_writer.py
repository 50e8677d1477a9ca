"""The status writer: what the API shows in the end is what the node last said, whoever else writes."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from agents.node.status_writer import StatusWriter
from mesh.client.client import Client
from mesh.errors import (
    ApiError,
    Conflict,
    Forbidden,
    InternalError,
    Invalid,
    NotFound,
    Timeout,
    TooManyRequests,
    Unavailable,
)
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
        found, self.answer = await self.answer, asyncio.get_running_loop().create_future()
        return found


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


class RefusingClient:
    """Refuses so many patches, then stores them."""

    def __init__(self, *refusals: ApiError) -> None:
        self.refusals = list(refusals)
        self.patches: list[Object] = []

    async def patch(self, *args: Any, **_: Any) -> Object:
        self.patches.append(thaw(args[3]["status"]))
        if self.refusals:
            raise self.refusals.pop(0)
        return pod(2, self.patches[-1]["phase"])


@pytest.mark.looptime
@pytest.mark.parametrize("refusal", [TooManyRequests, InternalError, Timeout, Unavailable, Forbidden])
async def test_a_status_is_written_when_the_server_can_again(refusal: type[ApiError]) -> None:
    client = RefusingClient(refusal("not now"), refusal("not now"))
    writer = StatusWriter(cast("Client", client))
    writer.report(pod(1, "Pending"), status("Running"))
    await writer.flush("u")
    assert client.patches == [{"phase": "Running"}] * 3
    await writer.close()


@pytest.mark.looptime
async def test_a_newer_status_takes_the_place_of_one_that_waits() -> None:
    client = RefusingClient(TooManyRequests("not now", retry_after_seconds=7))
    writer = StatusWriter(cast("Client", client))
    writer.report(pod(1, "Pending"), status("Running"))
    await asyncio.sleep(6)
    writer.report(pod(1, "Pending"), status("Failed"))
    await asyncio.sleep(0.5)
    assert client.patches == [{"phase": "Running"}], "not before the server has asked to be asked"
    await writer.flush("u")
    assert client.patches == [{"phase": "Running"}, {"phase": "Failed"}]
    await writer.close()


@pytest.mark.looptime
@pytest.mark.parametrize("refusal", [Invalid, NotFound, Conflict])
async def test_what_is_refused_for_good_is_not_asked_again(refusal: type[ApiError]) -> None:
    client = RefusingClient(refusal("never"))
    writer = StatusWriter(cast("Client", client))
    writer.report(pod(1, "Pending"), status("Running"))
    await writer.flush("u")
    await asyncio.sleep(60)
    assert len(client.patches) == 1
    await writer.close()

"""Waiting for objects while no server answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from cli.session import Session
from cli.waiting import await_gone
from mesh.api.port import Request, Response, Stream, WatchEvent
from mesh.client.client import Client
from mesh.errors import Unavailable
from mesh.objects.kinds import PODS


class Absent:
    """A way to API servers of which none is there for so many requests; then none of the pods is."""

    def __init__(self, failures: int) -> None:
        self.failures = failures

    async def send(self, request: Request) -> Response:
        self.failures -= 1
        if self.failures >= 0:
            raise Unavailable("no API server is there")
        return Response(200, b'{"metadata":{"resourceVersion":"1"},"items":[]}')

    async def watch(self, request: Request) -> AsyncIterator[WatchEvent]:
        raise AssertionError("nothing is there to be watched")
        yield WatchEvent("", {})

    async def connect(self, request: Request) -> Stream:
        raise AssertionError("nothing is connected to")


@pytest.mark.looptime
@pytest.mark.parametrize(("failures", "told"), [(4, 0), (40, 1)])
async def test_who_waits_for_a_server_is_told_once(
    capsys: pytest.CaptureFixture[str], failures: int, told: int
) -> None:
    session = Session(Client(Absent(failures), user_agent="test"), "default")
    await asyncio.gather(*(await_gone(session, PODS, name, "default", "") for name in ("a", "b")))
    line = "Warning: no API server is there; waiting for a server that answers\n"
    assert capsys.readouterr().err == line * told

"""No 500 for anything a client can send: seeded requests of every kind and brokenness against the whole pipeline."""

from __future__ import annotations

import asyncio
import logging
import random
from pathlib import Path

import orjson
import pytest

from controlplane.apiserver.server import refusal
from mesh.api.port import Request
from mesh.errors import ApiError
from tests.support.apiserver import ADMIN, FakeNodes, deployment, pod, running, service
from tests.support.request_fuzz import request

REQUESTS = 1500
PARENT = "/api/v1/namespaces/default"


def told(asked: Request, seed: int) -> str:
    return f"seed {seed}: {asked}"


@pytest.mark.parametrize("seed", range(6))
async def test_no_request_breaks_the_server(seed: int, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rng = random.Random(seed)
    caplog.set_level(logging.ERROR)
    async with running(tmp_path, nodes=FakeNodes()) as api:
        for _ in range(REQUESTS):
            if rng.random() < 0.02:  # what requests are about exists, however often it was deleted
                await api.call("POST", f"{PARENT}/pods", pod("seed"))
                await api.call("POST", f"{PARENT}/services", service("seed"))
                await api.call("POST", "/apis/apps/v1/namespaces/default/deployments", deployment("seed"))
            asked = request(rng)
            answer = await api.server.api.handle(asked, ADMIN)
            assert 200 <= answer.status < 500, f"{told(asked, seed)} answered {answer.status} {answer.body!r}"
            assert not caplog.records, told(asked, seed)
            if answer.status >= 400 and asked.path not in {"/livez/none", "/readyz/store"}:
                status = orjson.loads(answer.body)
                assert (status["kind"], status["code"]) == ("Status", answer.status), told(asked, seed)
                assert status["message"], told(asked, seed)


@pytest.mark.parametrize("seed", range(4))
async def test_no_watch_breaks_the_server(seed: int, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A watch is refused with a Status or opens; nothing else."""
    rng = random.Random(seed)
    opened = 0
    async with running(tmp_path) as api:
        await api.ok("POST", f"{PARENT}/pods", pod("seed"))
        for _ in range(400):
            asked = request(rng)
            query = (*asked.query, ("watch", "true"))
            asked = Request("GET", asked.path.rstrip("/"), query, b"", asked.content_type, asked.accept)
            try:
                watch = await api.server.api.watch(asked, ADMIN)
            except ApiError as error:
                if refusal(error).status >= 500:
                    pytest.fail(f"{told(asked, seed)} refused with {error!r}")
                continue
            except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
                pytest.fail(f"{told(asked, seed)} raised {error!r}")
            opened += 1
            try:
                async with asyncio.timeout(0.001):
                    await anext(aiter(watch))
            except (TimeoutError, StopAsyncIteration):
                pass  # nothing to tell, or the client asked for an end at once
            finally:
                await watch.aclose()
        assert opened > 20
        assert not [record for record in caplog.records if record.levelno >= logging.ERROR]

"""Pulls that share their work."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping

import orjson
import pytest

from agents.node.images import Images
from agents.node.observed import Failure
from agents.node.ports import Image, RuntimeFailure
from agents.node.runtimes.fake import FakeRuntime
from mesh.objects.types import Object
from tests.support.node_world import LoopClock

pytestmark = pytest.mark.looptime

APP: Object = {"name": "a", "image": "registry.test/app:1", "imagePullPolicy": "Always"}


class Private(FakeRuntime):
    """A registry that lets in only who knows the password."""

    pulls = 0

    async def pull(self, reference: str, *, credentials: Mapping[str, str] | None = None) -> Image:
        self.pulls += 1
        await asyncio.sleep(1)
        if (credentials or {}).get("password") != "right":
            raise RuntimeFailure("ErrImagePull", "unauthorized")
        return await super().pull(reference, credentials=credentials)


def secret(password: str) -> Object:
    auths = {"auths": {"registry.test": {"username": "u", "password": password}}}
    return {"metadata": {"name": "s"}, "data": {".dockerconfigjson": base64.b64encode(orjson.dumps(auths)).decode()}}


async def test_a_pull_is_shared_only_among_equal_credentials() -> None:
    clock = LoopClock()
    runtime = Private(clock)
    images = Images(runtime, clock)
    logins: list[list[Object]] = [[secret("right")], [], [secret("wrong")], [secret("right")]]
    ensuring = (images.ensure(APP, f"pod-{n}", login, lambda *_: None) for n, login in enumerate(logins))
    results = await asyncio.gather(*ensuring)
    assert [isinstance(result, Failure) for result in results] == [False, True, True, False]
    assert runtime.pulls == 3

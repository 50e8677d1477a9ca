"""Images on the node: what their names say, pulls that share their work, and what may be collected."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping
from dataclasses import replace
from typing import cast

import orjson
import pytest

from agents.node.checkpoints import MemoryCheckpoints
from agents.node.image_names import image_id
from agents.node.images import Images
from agents.node.keeper import CheckpointKeeper
from agents.node.objects import ReferencedObjects
from agents.node.observed import Failure
from agents.node.ports import Image, RuntimeFailure
from agents.node.runtimes.fake import FakeRuntime
from mesh.objects.types import Object
from tests.support.node_world import LoopClock, make_pod, node_world

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


def images_on(runtime: FakeRuntime, checkpoints: MemoryCheckpoints | None = None) -> tuple[Images, CheckpointKeeper]:
    keeper = CheckpointKeeper(checkpoints or MemoryCheckpoints(), cast("ReferencedObjects", None))
    return Images(runtime, LoopClock(), keeper), keeper


async def test_a_bad_name_is_told_in_its_own_words() -> None:
    images, _ = images_on(FakeRuntime(LoopClock()))
    told: list[tuple[str, str]] = []
    bad = {"name": "a", "image": "Bad//Name", "imagePullPolicy": "IfNotPresent"}
    failure = await images.ensure(bad, "u", [], lambda _type, reason, message: told.append((reason, message)))
    assert isinstance(failure, Failure)
    assert failure.reason == "InvalidImageName"
    assert told == [("InspectFailed", failure.message), ("Failed", "Error: InvalidImageName")]


@pytest.mark.looptime
async def test_a_pull_is_shared_only_among_equal_credentials() -> None:
    runtime = Private(LoopClock())
    images, _ = images_on(runtime)
    logins: list[list[Object]] = [[secret("right")], [], [secret("wrong")], [secret("right")]]
    ensuring = (images.ensure(APP, f"pod-{n}", login, lambda *_: None) for n, login in enumerate(logins))
    results = await asyncio.gather(*ensuring)
    assert [isinstance(result, Failure) for result in results] == [False, True, True, False]
    assert runtime.pulls == 3


@pytest.mark.looptime
async def test_images_of_an_earlier_agent_are_collected_and_no_others() -> None:
    runtime, disk = FakeRuntime(LoopClock()), MemoryCheckpoints()
    await runtime.pull("the/users:1")
    images, keeper = images_on(runtime, disk)
    writing = asyncio.create_task(keeper.run())
    pulled = await images.ensure(APP, "p", [], lambda *_: None)
    assert isinstance(pulled, Image)
    await asyncio.sleep(1)
    writing.cancel()

    images, keeper = images_on(runtime, disk)
    await images.collect(lambda: False)
    assert [image.tags for image in await runtime.images()] == [("the/users:1",)]
    writing = asyncio.create_task(keeper.run())
    await asyncio.sleep(1)
    writing.cancel()
    assert disk.load_node("images") == []


@pytest.mark.looptime
async def test_an_image_of_the_users_that_was_asked_for_again_is_not_collected() -> None:
    runtime = FakeRuntime(LoopClock())
    await runtime.pull(str(APP["image"]))
    images, _ = images_on(runtime)
    assert isinstance(await images.ensure(APP, "p", [], lambda *_: None), Image)
    await images.collect(lambda: False)
    assert len(await runtime.images()) == 1


@pytest.mark.parametrize(
    ("reference", "digests", "shown"),
    [
        ("covey/hello:1", [], "sha256:id"),
        ("nginx", ["nginx@sha256:1"], "docker.io/library/nginx@sha256:1"),
        ("team/app:2", ["team/app@sha256:1"], "docker.io/team/app@sha256:1"),
        ("docker.io/team/app", ["team/app@sha256:1"], "docker.io/team/app@sha256:1"),
        ("localhost:5000/app:2", ["nginx@sha256:1", "localhost:5000/app@sha256:2"], "localhost:5000/app@sha256:2"),
        ("localhost:5000/app@sha256:2", ["localhost:5000/app@sha256:2"], "localhost:5000/app@sha256:2"),
        ("retagged:1", ["nginx@sha256:1", "r.test/x@sha256:2"], "docker.io/library/nginx@sha256:1"),
    ],
)
def test_what_a_container_shows_as_its_image(reference: str, digests: list[str], shown: str) -> None:
    assert image_id(Image("sha256:id", (), tuple(digests), 1), reference) == shown


class Digesting(FakeRuntime):
    """A registry that names what it gives."""

    async def pull(self, reference: str, *, credentials: Mapping[str, str] | None = None) -> Image:
        image = await super().pull(reference, credentials=credentials)
        return replace(image, digests=("registry.test/app@sha256:1",))


@pytest.mark.looptime
async def test_a_pod_shows_the_digest_also_after_a_restart_of_the_agent() -> None:
    async with node_world() as world:
        await world.stop()
        world.runtime = Digesting(world.clock)
        await world.start()
        world.create(make_pod(containers=[APP]))
        shown = await world.until_phase("Running")
        assert shown["status"]["containerStatuses"][0]["imageID"] == "registry.test/app@sha256:1"
        await world.restart()
        await world.until(lambda: bool(world.agent.workers))
        await asyncio.sleep(5)
        assert world.pod()["status"]["containerStatuses"][0]["imageID"] == "registry.test/app@sha256:1"

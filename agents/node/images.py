"""Images on the node: pull policies, pulls that share their work, back-off after failures, events, collection.

https://kubernetes.io/docs/concepts/containers/images/
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from collections.abc import Callable, Mapping, Sequence, Set
from datetime import timedelta
from typing import Protocol, TypeAlias

from agents.node.backoff import doubled
from agents.node.image_names import policy_of, registry_of
from agents.node.keeper import CheckpointKeeper
from agents.node.observed import Failure
from agents.node.ports import Image, Runtime, RuntimeAway, RuntimeFailure
from mesh.clock import Clock
from mesh.objects.types import Object

log = logging.getLogger(__name__)

NAME = "images"
"""Under which checkpoints keep the ids of images that we fetched."""
PARALLEL_PULLS = 3
"""How many images are fetched at the same time."""


class Say(Protocol):
    """Records an event about the container that an image is for."""

    def __call__(self, event_type: str, reason: str, message: str) -> None:
        """One event."""


def credentials_for(reference: str, secrets: Sequence[Object]) -> dict[str, str] | None:
    """Username and password for the image's registry from the pod's imagePullSecrets; None when none of them fits."""
    registry = registry_of(reference)
    aliases = {registry} | ({"index.docker.io", "registry-1.docker.io"} if registry == "docker.io" else set())
    for secret in secrets:
        try:
            found = _login(_auths(secret), aliases)
        except (ValueError, TypeError, AttributeError):  # no JSON, no base64, or of another shape
            log.warning("image.secret_unreadable secret=%s", secret["metadata"].get("name"))
            continue
        if found is not None:
            return found
    return None


def _login(auths: Mapping[str, Mapping[str, str]], aliases: Set[str]) -> dict[str, str] | None:
    """The first entry for one of a registry's names as username and password, or as identitytoken."""
    for host, entry in auths.items():
        if host.removeprefix("https://").removeprefix("http://").split("/", 1)[0] not in aliases:
            continue
        if entry.get("identitytoken"):
            return {"identitytoken": str(entry["identitytoken"])}
        if entry.get("username"):
            return {"username": str(entry["username"]), "password": str(entry.get("password", ""))}
        user, _, password = base64.b64decode(entry.get("auth", "")).decode().partition(":")
        return {"username": user, "password": password}
    return None


def _auths(secret: Object) -> dict[str, dict[str, str]]:
    """The registries of a `kubernetes.io/dockerconfigjson` (or older `dockercfg`) secret."""
    data = secret.get("data") or {}
    if text := data.get(".dockerconfigjson"):
        found: dict[str, dict[str, str]] = json.loads(base64.b64decode(text)).get("auths") or {}
        return found
    if text := data.get(".dockercfg"):
        older: dict[str, dict[str, str]] = json.loads(base64.b64decode(text))
        return older
    return {}


_Pull: TypeAlias = tuple[str, tuple[tuple[str, str], ...]]
"""Reference and credentials."""


class Images:
    """Makes images present. One instance for each node; pulls of one image by several pods are one pull."""

    def __init__(self, runtime: Runtime, clock: Clock, keeper: CheckpointKeeper) -> None:
        self._runtime = runtime
        self._clock = clock
        self._keeper = keeper
        self._slots = asyncio.Semaphore(PARALLEL_PULLS)
        self._pulls: dict[_Pull, asyncio.Task[Image]] = {}
        self._delays: dict[tuple[str, str], int] = {}
        """Seconds that the last failure of (pod, image) had to wait."""
        self._used: dict[str, float] = dict.fromkeys(keeper.noted(NAME) or (), clock.monotonic())
        """Ids of images that this node's agents fetched, and when a container last wanted each: only these may be
        collected. What an earlier agent fetched counts as wanted when this one began."""

    async def ensure(self, container: Object, pod_uid: str, secrets: Sequence[Object], say: Say) -> Image | Failure:
        """The container's image, or why it is not there and when to try again, after having told the events."""
        reference, policy = str(container["image"]), policy_of(container)
        try:
            image = await self._runtime.image(reference)
        except RuntimeAway:
            raise
        except RuntimeFailure as error:
            unnamed = error.reason == "InvalidImageName"  # its message names the image itself
            words = error.message if unnamed else f'Failed to inspect image "{reference}": {error.message}'
            say("Warning", "InspectFailed", words)
            say("Warning", "Failed", f"Error: {error.reason}")
            return self._fail(pod_uid, reference, error.reason, error.message)
        if image is not None and policy != "Always":
            self._note_use(image)
            say(
                "Normal",
                "Pulled",
                f'Container image "{reference}" already present on machine and can be accessed by the pod',
            )
            return image
        if policy == "Never":
            message = f'Container image "{reference}" is not present with pull policy of Never'
            say("Warning", "ErrImageNeverPull", message)
            say("Warning", "Failed", "Error: ErrImageNeverPull")
            return self._fail(pod_uid, reference, "ErrImageNeverPull", message)
        return await self._pull(reference, pod_uid, credentials_for(reference, secrets), say)

    async def _pull(
        self, reference: str, pod_uid: str, credentials: Mapping[str, str] | None, say: Say
    ) -> Image | Failure:
        say("Normal", "Pulling", f'Pulling image "{reference}"')
        asked = self._clock.monotonic()
        # Only with equal credentials: a pod must neither profit from another's login nor fail because of it.
        pull = reference, tuple(sorted((credentials or {}).items()))
        task = self._pulls.get(pull)
        if task is None:
            task = asyncio.ensure_future(self._fetch(reference, credentials))
            self._pulls[pull] = task
            task.add_done_callback(lambda _: self._pulls.pop(pull, None))
        try:
            # Another pod may wait for the same pull: losing interest in it here must not end it.
            image = await asyncio.shield(task)
        except RuntimeAway:
            raise
        except RuntimeFailure as error:
            say("Warning", "Failed", f'Failed to pull image "{reference}": {error.message}')
            say("Warning", "Failed", f"Error: {error.reason}")
            return self._fail(pod_uid, reference, error.reason, error.message)
        took = f"{self._clock.monotonic() - asked:.3g}s"
        say(
            "Normal",
            "Pulled",
            f'Successfully pulled image "{reference}" in {took} ({took} including waiting). '
            f"Image size: {image.size_bytes} bytes.",
        )
        self._delays.pop((pod_uid, reference), None)
        return image

    async def _fetch(self, reference: str, credentials: Mapping[str, str] | None) -> Image:
        async with self._slots:
            before = {image.id for image in await self._runtime.images()}
            image = await self._runtime.pull(reference, credentials=credentials)
        if image.id not in before:  # else somebody's own, of which the registry had nothing newer
            self._used[image.id] = self._clock.monotonic()
            self._keeper.note(NAME, sorted(self._used))
        self._note_use(image)
        return image

    def _note_use(self, image: Image) -> None:
        if image.id in self._used:
            self._used[image.id] = self._clock.monotonic()

    async def collect(self, free_enough: Callable[[], bool]) -> None:
        """Remove images that we pulled and nobody uses, the longest unused first, until `free_enough()`."""
        in_use = {container.image_id for container in await self._runtime.containers()}
        for image_id in sorted(self._used, key=lambda i: self._used[i]):
            if free_enough():
                return
            if image_id in in_use:
                continue
            try:
                await self._runtime.remove_image(image_id)
            except RuntimeAway:
                raise
            except RuntimeFailure as error:
                log.info("image.kept image=%s reason=%s", image_id, error.message)
                continue
            log.info("image.collected image=%s", image_id)
            del self._used[image_id]
            self._keeper.note(NAME, sorted(self._used))

    def _fail(self, pod_uid: str, reference: str, reason: str, message: str) -> Failure:
        """A failure whose next try waits twice as long as the last one did."""
        now = self._clock.now()
        seconds = doubled(self._delays.get((pod_uid, reference), 0))
        self._delays[(pod_uid, reference)] = seconds
        return Failure(reason, message, now, now + timedelta(seconds=seconds))

    def forget(self, pod_uid: str) -> None:
        """The pod is gone: its back-off too."""
        for key in [k for k in self._delays if k[0] == pod_uid]:
            del self._delays[key]

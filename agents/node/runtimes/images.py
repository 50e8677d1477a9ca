"""Images on the node: look up, pull with credentials, list, remove, and how to run them."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Mapping

from agents.node.ports import Image, RuntimeFailure
from agents.node.runtimes import translate
from agents.node.runtimes.engine import Engine, Parameters, Refused, escaped
from agents.node.runtimes.references import InvalidReference, Reference, is_image_id, parse
from mesh.objects.types import Json

STALLED_SECONDS = 60.0
"""After so long without a sign of progress a pull has failed (kubelet's --image-pull-progress-deadline)."""


class Images:
    """The image side of one daemon."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._configs: dict[str, translate.ImageConfig] = {}

    async def find(self, reference: str) -> Image | None:
        """The image if it is present; raises InvalidImageName, ImageInspectError."""
        name = reference if is_image_id(reference) else str(_parsed(reference))
        inspected = await self._inspect(name)
        return translate.image(inspected) if inspected is not None else None

    async def config(self, image_id: str) -> translate.ImageConfig:
        """How to run the image `image_id`; raises CreateContainerError when it is gone."""
        if image_id not in self._configs:
            inspected = await self._inspect(image_id)
            if inspected is None:
                raise RuntimeFailure("CreateContainerError", f"Error response from daemon: No such image: {image_id}")
            self._configs[image_id] = translate.ImageConfig.read(inspected)
        return self._configs[image_id]

    async def pull(self, reference: str, credentials: Mapping[str, str] | None) -> Image:
        """Fetch an image; raises ErrImagePull with the daemon's own words, or when nothing has come for a minute."""
        parsed = _parsed(reference)
        params = {"fromImage": parsed.name, "tag": parsed.digest or parsed.tag}
        headers = {"X-Registry-Auth": _registry_auth(credentials, parsed)} if credentials else {}
        loop = asyncio.get_running_loop()
        last: Json = {}
        failure = ""
        try:
            async with (
                asyncio.timeout(STALLED_SECONDS) as patience,
                self._engine.stream("POST", "/images/create", params=params, headers=headers) as content,
            ):
                async for line in content:
                    patience.reschedule(loop.time() + STALLED_SECONDS)
                    last = json.loads(line) if line.strip() else last
                    failure = _pull_error(last) or failure
        except Refused as refused:
            raise refused.because("ErrImagePull") from refused
        except TimeoutError as error:  # the daemon gives the pull up when we hang up
            seen = f"{last.get('id', '')} {last.get('status', '')} {last.get('progress', '')}".strip()
            words = f'no progress for {STALLED_SECONDS:g}s, latest progress: "{seen}"'
            raise RuntimeFailure("ErrImagePull", f'Cancel pulling image "{reference}" because of {words}') from error
        if failure:
            raise RuntimeFailure("ErrImagePull", failure)
        image = await self.find(reference)
        if image is None:
            raise RuntimeFailure("ErrImagePull", f"{reference} was pulled, but is not there")
        return image

    async def all(self) -> list[Image]:
        """All images with a name or an id of their own, without intermediate layers."""
        return [translate.image(entry) for entry in await self._engine.request("GET", "/images/json")]

    async def remove(self, image_id: str) -> None:
        """Remove an image with all its names; gone already is fine, in use is a `RuntimeFailure`."""
        params: Parameters = {"all": 1, "filters": json.dumps({"ancestor": [image_id]})}
        if users := await self._engine.request("GET", "/containers/json", params=params):
            names = ", ".join(sorted(user["Names"][0].removeprefix("/") for user in users))
            raise RuntimeFailure("RuntimeError", f"conflict: unable to delete {image_id}: used by {names}")
        try:
            # Force, because an id with several names is not removed otherwise. It would also take the image from
            # under ended containers: hence the question before.
            await self._engine.request("DELETE", f"/images/{escaped(image_id)}", params={"force": 1})
        except Refused as refused:
            if refused.status != 404:
                raise
        self._configs.pop(image_id, None)

    async def _inspect(self, name: str) -> Json:
        try:
            return await self._engine.request("GET", f"/images/{escaped(name)}/json")
        except Refused as refused:
            if refused.status == 404:
                return None
            raise refused.because("ImageInspectError") from refused


def _parsed(reference: str) -> Reference:
    try:
        return parse(reference)
    except InvalidReference as error:
        raise RuntimeFailure("InvalidImageName", str(error)) from error


def _pull_error(report: Json) -> str:
    """The error in one line of a pull's progress, "" if it is only progress."""
    return str((report.get("errorDetail") or {}).get("message") or report.get("error") or "")


def _registry_auth(credentials: Mapping[str, str], reference: Reference) -> str:
    """The header X-Registry-Auth: base64url of JSON (https://docs.docker.com/reference/api/engine/#authentication)."""
    auth = {"serveraddress": reference.registry, **credentials}
    return base64.urlsafe_b64encode(json.dumps(auth).encode()).decode()

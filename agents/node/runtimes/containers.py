"""Containers on a Docker daemon: made, led through their first steps, stopped, removed, and what is known of them."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path
from typing import Final

from agents.node.ports import ContainerSpec, ContainerStatus, RuntimeFailure, State
from agents.node.runtimes import translate
from agents.node.runtimes.engine import Engine, Parameters, Refused
from agents.node.runtimes.entry import EntryDirectory
from agents.node.runtimes.labels import HOSTNAME, KIND_CONTAINER, Owner
from mesh.objects.types import Json

_FIRST_STEPS_SECONDS: Final = 20.0
"""How long a started container may take to execute its command: milliseconds, on a machine that is not drowning."""


class Containers:
    """All containers of one node but sandboxes. `entries` holds their entry directories, and is made when absent."""

    def __init__(self, engine: Engine, owner: Owner, entries: Path, node: translate.Host) -> None:
        self._engine = engine
        self._owner = owner
        self._entries = entries
        self._entries.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._left = {path.name for path in entries.iterdir()}
        """Entry directories of an earlier agent's, until it is known which containers there are."""
        self._node = node
        self._ended: dict[str, ContainerStatus] = {}
        """Statuses of ended containers: they do not change any more, and asking for each costs a request."""

    async def clear_up(self) -> None:
        """Remove the entry directories that a crash has left."""
        existing = {entry["Names"][0].removeprefix("/") for entry in await self._list()}
        for name in self._left - existing:
            EntryDirectory(self._entries / name).remove()
        self._left.clear()

    async def create(self, spec: ContainerSpec, image: translate.ImageConfig) -> str:
        """See `Runtime.create_container`; raises CreateContainerError."""
        command = translate.command_line(spec, image)
        if not command:
            raise RuntimeFailure("CreateContainerError", "Error response from daemon: No command specified")
        name = self._owner.container_name(spec)
        entry = EntryDirectory(self._entries / name)
        self._left.discard(name)
        entry.prepare(spec.hostname)
        body = translate.container_body(self._owner, spec, image, str(entry.path), self._node)
        try:
            answer = await self._engine.request("POST", "/containers/create", params={"name": name}, body=body)
        except Refused as refused:
            if refused.status == 409:
                return str((await self._engine.request("GET", f"/containers/{name}/json"))["Id"])
            entry.remove()
            raise refused.because("CreateContainerError") from refused
        return str(answer["Id"])

    async def start(self, container_id: str) -> None:
        """See `Runtime.start_container`; raises RunContainerError, also when its command cannot be executed."""
        inspected = await self.inspect(container_id)
        if inspected is None:
            raise RuntimeFailure("RunContainerError", f"No such container: {container_id}")
        if inspected["State"]["Status"] != "created":
            return
        config = inspected["Config"]
        command = config["Cmd"][0]
        paths = translate.candidates(command, config["Env"])
        entry = self._entry(inspected)
        with entry.listening() as listener:
            first_steps = asyncio.create_task(entry.hand_over(listener, config["Labels"][HOSTNAME], command, paths))
            try:
                await self._engine.request("POST", f"/containers/{container_id}/start")
                await asyncio.wait_for(first_steps, _FIRST_STEPS_SECONDS)
            except Refused as refused:
                raise refused.because("RunContainerError") from refused
            except RuntimeFailure:
                await self._engine.request("POST", f"/containers/{container_id}/wait")  # it is ending
                raise
            except TimeoutError as error:
                failure = entry.fail(f"its first process did not report within {_FIRST_STEPS_SECONDS:g} s")
                await self._kill(container_id)
                raise failure from error
            finally:
                first_steps.cancel()
                await asyncio.gather(first_steps, return_exceptions=True)

    async def stop(self, container_id: str, grace_seconds: float) -> None:
        """See `Runtime.stop_container`. A second call with a shorter time shortens the first one's."""
        try:
            await self._engine.request(
                "POST", f"/containers/{container_id}/stop", params={"t": math.ceil(grace_seconds)}, timeout=None
            )
        except Refused as refused:
            if refused.status != 404:
                raise

    async def remove(self, container_id: str) -> None:
        """See `Runtime.remove_container`. One that runs is refused."""
        inspected = await self.inspect(container_id)
        if inspected is None:
            return
        try:
            await self._engine.request("DELETE", f"/containers/{container_id}", params={"v": 1})
        except Refused as refused:
            if refused.status != 404:
                raise
        self._ended.pop(container_id, None)
        self._entry(inspected).remove()

    async def all(self, pod_uid: str = "") -> list[ContainerStatus]:
        """See `Runtime.containers`."""
        listed = await self._list(**({"pod_uid": pod_uid} if pod_uid else {}))
        statuses = await asyncio.gather(*(self._status(entry["Id"], entry["State"]) for entry in listed))
        if not pod_uid:
            self._ended = {entry["Id"]: known for entry in listed if (known := self._ended.get(entry["Id"]))}
        return [status for status in statuses if status is not None]

    async def inspect(self, container_id: str) -> Json:
        """The answer of inspect, None if there is no such container."""
        try:
            return await self._engine.request("GET", f"/containers/{container_id}/json")
        except Refused as refused:
            if refused.status == 404:
                return None
            raise

    async def _list(self, **selected: str) -> Json:
        params: Parameters = {"all": 1, "filters": self._owner.filters(kind=KIND_CONTAINER, **selected)}
        return await self._engine.request("GET", "/containers/json", params=params)

    async def _status(self, container_id: str, listed_state: str) -> ContainerStatus | None:
        if listed_state != "exited":
            self._ended.pop(container_id, None)
        elif known := self._ended.get(container_id):
            return known
        inspected = await self.inspect(container_id)
        if inspected is None:
            return None
        status = translate.container_status(inspected, self._entry(inspected).start_error())
        if status.state is State.EXITED:
            self._ended[container_id] = status
        return status

    async def _kill(self, container_id: str) -> None:
        try:
            await self._engine.request("POST", f"/containers/{container_id}/kill")
        except Refused as refused:
            if refused.status not in {404, 409}:  # gone, or ended
                raise

    def _entry(self, inspected: Json) -> EntryDirectory:
        return EntryDirectory(self._entries / inspected["Name"].removeprefix("/"))

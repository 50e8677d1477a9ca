"""Follows the container runtime: passes its doorbells on to the pods' workers, and reads sandboxes anew now and then."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import TypeVar

from agents.node.ports import UNSUPPORTED, ContainerStatus, Runtime, RuntimeFailure, RuntimeInfo, SandboxStatus
from agents.node.workers import Workers

log = logging.getLogger(__name__)

T = TypeVar("T", SandboxStatus, ContainerStatus)

RELIST_SECONDS = 60.0
RETRY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Inventory:
    """What is on the node, by pod UID, without warm sandboxes."""

    sandboxes: Mapping[str, list[SandboxStatus]]
    containers: Mapping[str, list[ContainerStatus]]
    sandbox_ids: frozenset[str]
    """All there are, warm ones too."""

    def without(self, uids: Set[str]) -> Inventory:
        """What belongs to other pods than these."""
        return Inventory(
            {uid: found for uid, found in self.sandboxes.items() if uid not in uids},
            {uid: found for uid, found in self.containers.items() if uid not in uids},
            self.sandbox_ids,
        )


class RuntimeWatch:
    """One node's runtime, for its workers."""

    def __init__(self, node: str, runtime: Runtime, workers: Workers) -> None:
        self._node = node
        self._runtime = runtime
        self._workers = workers
        self._bell = asyncio.Event()

    async def info(self) -> RuntimeInfo:
        """What the runtime is; waits for one that is away or starting. Raises `RuntimeFailure` when it cannot serve."""
        while True:
            try:
                return await self._runtime.info()
            except RuntimeFailure as error:
                if error.reason == UNSUPPORTED:
                    raise
                await self._pause(error)

    async def inventory(self) -> Inventory:
        """Everything on the node; waits for a runtime that is away."""
        while True:
            try:
                return await self.look()
            except RuntimeFailure as error:
                await self._pause(error)

    async def look(self) -> Inventory:
        """Everything on the node. Raises `RuntimeFailure`."""
        sandboxes = await self._runtime.sandboxes()
        containers = await self._runtime.containers()
        return Inventory(group(sandboxes), group(containers), frozenset(s.id for s in sandboxes))

    async def run(self) -> None:
        """Follow it until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow())
            tasks.create_task(self._relist_forever())

    async def _follow(self) -> None:
        """The runtime's doorbells; after a break everything is read again."""
        while True:
            try:
                async for event in self._runtime.events():
                    self._event(event.pod_uid, event.container_id)
            except RuntimeFailure as error:
                await self._pause(error)
            else:
                await asyncio.sleep(RETRY_SECONDS)

    def _event(self, pod_uid: str, container_id: str) -> None:
        if not pod_uid and not container_id:
            self._bell.set()
            return
        worker = self._workers.get(pod_uid)
        if worker is None:
            return
        worker.ring_runtime()
        if any(s.id == container_id for s in worker.memory.sandboxes):
            self._bell.set()

    async def _relist_forever(self) -> None:
        """Read all sandboxes now and then, and whenever one of them has changed."""
        while True:
            try:
                async with asyncio.timeout(RELIST_SECONDS):
                    await self._bell.wait()
            except TimeoutError:
                pass
            self._bell.clear()
            try:
                await self._relist()
            except RuntimeFailure as error:
                self._log(error)

    async def _relist(self) -> None:
        versions = {uid: worker.sandboxes_version for uid, worker in self._workers.items()}
        by_pod = group(await self._runtime.sandboxes())
        for uid, version in versions.items():
            if (worker := self._workers.get(uid)) is not None:
                worker.sandboxes_seen(by_pod.get(uid, []), version)

    async def _pause(self, error: RuntimeFailure) -> None:
        self._log(error)
        await asyncio.sleep(RETRY_SECONDS)

    def _log(self, error: RuntimeFailure) -> None:
        log.warning("runtime.away node=%s reason=%s", self._node, error)


def group(statuses: list[T]) -> dict[str, list[T]]:
    """Statuses by pod UID, without warm sandboxes."""
    result: dict[str, list[T]] = {}
    for status in statuses:
        if status.pod_uid:
            result.setdefault(status.pod_uid, []).append(status)
    return result

"""What is found on the node without a worker: offered to the pod it belongs to, removed when nobody claims it."""

from __future__ import annotations

import asyncio
import logging

from agents.node.context import NodeContext
from agents.node.memory import PodMemory
from agents.node.network_port import NetworkFailure
from agents.node.ports import RuntimeFailure, State
from agents.node.runtime_watch import Inventory

log = logging.getLogger(__name__)

GRACE_SECONDS = 30
"""For a pod of which nobody knows any more how long it may take."""


class Orphans:
    """Sandboxes and containers by pod UID that have no worker yet."""

    def __init__(self, node: NodeContext) -> None:
        self._node = node
        self._left: dict[str, PodMemory] = {}

    def found(self, inventory: Inventory) -> None:
        """What is on the node."""
        sandboxes, containers = inventory.sandboxes, inventory.containers
        for uid in sandboxes.keys() | containers.keys():
            self._left[uid] = PodMemory(
                sandboxes=list(sandboxes.get(uid, [])), containers=list(containers.get(uid, []))
            )

    def claim(self, uid: str) -> PodMemory | None:
        """What belongs to this pod, for its worker; None when there is nothing."""
        return self._left.pop(uid, None)

    async def remove(self, known: set[str]) -> None:
        """Remove what belongs to no known pod, their directories and cgroups too. Only after the API has been read. What
        cannot be removed now is logged, and left for the next call."""
        left = {uid: PodMemory() for uid in self._node.files.pods() | self._node.cgroups.pods()} | self._left
        strays = [(uid, memory) for uid, memory in left.items() if uid not in known]
        await asyncio.gather(*(self._try(uid, memory) for uid, memory in strays))

    async def _try(self, uid: str, memory: PodMemory) -> None:
        try:
            await self._remove(uid, memory)
        except (RuntimeFailure, NetworkFailure, OSError) as error:
            log.warning("orphan.left uid=%s reason=%s", uid, error)
        else:
            self._left.pop(uid, None)

    async def _remove(self, uid: str, memory: PodMemory) -> None:
        log.info("orphan.remove uid=%s containers=%d", uid, len(memory.containers))
        for container in memory.containers:
            if container.state is State.RUNNING:
                await self._node.runtime.stop_container(container.id, grace_seconds=GRACE_SECONDS)
            await self._node.runtime.remove_container(container.id)
        for sandbox in memory.sandboxes:
            await self._node.runtime.remove_sandbox(sandbox.id)
            await self._node.network.detach(sandbox.id)
        await self._node.cgroups.remove(uid)
        await self._node.files.remove(uid)

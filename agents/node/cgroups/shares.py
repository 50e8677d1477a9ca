"""Keeps what the node's classes of pods weigh in step with the pods that are there (kubelet's qosContainerManager)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping

from agents.node.cgroups.pods import PodCgroups
from agents.node.resources import class_resources, node_resources
from mesh.objects.types import Object

log = logging.getLogger(__name__)

LOOK_SECONDS = 60.0


class ClassShares:
    """One node's. `pods` are those that run or are about to."""

    def __init__(
        self, cgroups: PodCgroups, allocatable: Mapping[str, str], pods: Callable[[], Iterable[Object]]
    ) -> None:
        self._cgroups = cgroups
        self._whole = node_resources(allocatable)
        self._pods = pods
        self._bell = asyncio.Event()

    def ring(self) -> None:
        """A pod has come or gone."""
        self._bell.set()

    async def run(self) -> None:
        """Write the weights whenever the bell rings, and now and then unasked, until cancelled. A kernel that refuses
        (more memory is in use than the node may give) is asked again."""
        while True:
            self._bell.clear()
            try:
                await self._cgroups.divide(self._whole, class_resources(self._pods()))
            except OSError as error:
                log.warning("cgroups.not_divided reason=%s", error)
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._bell.wait()
            except TimeoutError:
                continue

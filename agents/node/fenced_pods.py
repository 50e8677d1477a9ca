"""Between the fence and the workers of exclusive pods: it is told whom to guard, they are told whom it has ended."""

from __future__ import annotations

import asyncio
import logging

from agents.node.cgroups.pods import PodCgroups
from agents.node.fence import Guarded
from agents.node.fence_guard import Fence
from agents.node.podspec import exclusive
from agents.node.resources import qos_class
from agents.node.worker import PodWorker
from agents.node.workers import Workers
from mesh.client.informer import Informer
from mesh.objects.meta import uid_of

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.5


class FencedPods:
    """One node's exclusive pods. `pods` is the API's list, `seconds` the fence time."""

    def __init__(self, fence: Fence, seconds: float, workers: Workers, cgroups: PodCgroups, pods: Informer) -> None:
        self._fence = fence
        self._seconds = seconds
        self._workers = workers
        self._cgroups = cgroups
        self._pods = pods
        self._settled = False

    def settle(self) -> None:
        """Every pod that the API knows of has its worker: from now on the workers alone say whom to guard."""
        self._settled = True
        self.guard()

    def guard(self) -> None:
        """Tell the fence which cgroups to end when the node is out of touch. Until `settle` it goes on guarding what an
        earlier agent had it guard: we may not remember every pod that runs."""
        pods = {uid: worker.pod for uid, worker in self._workers.items() if exclusive(worker.pod)}
        cgroups = {uid: self._cgroups.parent(uid, qos_class(pod)) for uid, pod in pods.items()}
        if not self._settled:
            cgroups = self._fence.guarded().cgroups | cgroups
        self._fence.guard(Guarded(self._seconds, cgroups))

    def greet(self, worker: PodWorker) -> None:
        """A new worker: its pod may have been ended while no agent ran."""
        if worker.uid in self._fence.fenced():
            worker.fenced()

    async def run(self) -> None:
        """Tell workers what has become of their pods, until cancelled. The fence's own note is kept until the pod has
        gone: an agent that is killed meanwhile finds it again."""
        while True:
            for uid in self._fence.fenced():
                worker = self._workers.get(uid)
                if worker is not None:
                    worker.fenced()
                elif self._pods.has_synced and all(uid_of(pod) != uid for pod in self._pods.list()):
                    self._forget(uid)
            await asyncio.sleep(LOOK_SECONDS)

    def _forget(self, uid: str) -> None:
        try:
            self._fence.forget(uid)
        except OSError as error:  # the next look tries again
            log.warning("fence.not_forgotten uid=%s reason=%s", uid, error)

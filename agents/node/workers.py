"""The workers of a node's pods: who they are, and that they keep working."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping

from agents.node.worker import PodWorker
from mesh.objects.meta import key_of, name_of, namespace_of
from mesh.objects.types import Object

log = logging.getLogger(__name__)

PAUSE_SECONDS = 1.0


class Workers(Mapping[str, PodWorker]):
    """Workers by pod UID, each in a task of its own."""

    def __init__(self) -> None:
        self._workers: dict[str, PodWorker] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._closed = False

    def __getitem__(self, uid: str) -> PodWorker:
        return self._workers[uid]

    def __iter__(self) -> Iterator[str]:
        return iter(self._workers)

    def __len__(self) -> int:
        return len(self._workers)

    def named(self, namespace: str, name: str, uid: str = "") -> PodWorker | None:
        """The worker of a pod by name; when one of that name is still ending, the newer."""
        found = [
            w
            for w in self._workers.values()
            if namespace_of(w.pod) == namespace and name_of(w.pod) == name and uid in {"", w.uid}
        ]
        return max(found, key=lambda w: str(w.pod["metadata"].get("creationTimestamp", "")), default=None)

    def sandbox_of(self, address: str) -> str:
        """Id of the sandbox that has a pod address, "" for none."""
        for worker in self._workers.values():
            if address in worker.memory.addresses and worker.memory.sandboxes:
                return worker.memory.sandboxes[-1].id
        return ""

    def pods(self) -> list[Object]:
        """The pods that have not been torn down."""
        return [w.pod for w in self._workers.values() if not w.memory.finished]

    def namespaces(self) -> set[str]:
        """Those that the pods are in."""
        return {namespace_of(worker.pod) for worker in self._workers.values()}

    def start(self, worker: PodWorker) -> None:
        """Let a worker work."""
        self._workers[worker.uid] = worker
        task = asyncio.create_task(worker.run(), name=f"pod {key_of(worker.pod)}")
        self._tasks[worker.uid] = task
        task.add_done_callback(lambda done: self._stopped(worker, done))

    def remove(self, uid: str) -> None:
        """A worker is through."""
        self._workers.pop(uid, None)
        self._tasks.pop(uid, None)

    def _stopped(self, worker: PodWorker, task: asyncio.Task[None]) -> None:
        """A worker that fell is a fault of ours: it is logged, and works again after a while."""
        if task.cancelled() or task.exception() is None:
            return
        log.error("pod.worker_failed uid=%s", worker.uid, exc_info=task.exception())
        asyncio.get_running_loop().call_later(PAUSE_SECONDS, self._restart, worker)

    def _restart(self, worker: PodWorker) -> None:
        if self._closed:
            return
        if self._workers.get(worker.uid) is worker and self._tasks[worker.uid].done():
            self.start(worker)
            worker.ring_runtime()

    async def close(self) -> None:
        """Stop working, for good; containers go on."""
        self._closed = True
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

"""Keeps pods' checkpoints current: writes one when a pod says something that a restarted agent would need."""

from __future__ import annotations

import asyncio
import logging

from agents.node.checkpoints import Checkpoint, Checkpoints
from agents.node.objects import ReferencedObjects
from agents.node.observed import Verdict
from mesh.objects.meta import uid_of
from mesh.objects.types import Object

log = logging.getLogger(__name__)

RETRY_SECONDS = 2.0
"""After a write that the disk refused: pods go on, and the newest of each waits for room."""


class CheckpointKeeper:
    """Writes in the background, newest first; a pod's worker never waits for the disk."""

    def __init__(self, checkpoints: Checkpoints, objects: ReferencedObjects) -> None:
        self._checkpoints = checkpoints
        self._objects = objects
        self._due: dict[str, Checkpoint | None] = {}
        """By UID; None for a pod to forget."""
        self._bell = asyncio.Event()
        self._kept: dict[str, object] = {}
        """By UID: what of the pod was last handed over, to write only what says something new."""

    def remember(self, pod: Object, status: Object, verdict: Verdict | None) -> None:
        """The pod as it is now. Returns at once."""
        uid = uid_of(pod)
        objects = self._objects.known(uid)
        versions = {r: o["metadata"].get("resourceVersion") for r, o in objects.items()}
        meta = {k: v for k, v in pod["metadata"].items() if k not in {"resourceVersion", "managedFields"}}
        essence = (meta, pod["spec"], status.get("phase"), status.get("startTime"), verdict, versions)
        if self._kept.get(uid) != essence:
            self._kept[uid] = essence
            self._due[uid] = Checkpoint(pod | {"status": status}, objects, verdict)
            self._bell.set()

    def forget(self, uid: str) -> None:
        """Nothing is left of this pod."""
        self._kept.pop(uid, None)
        self._due[uid] = None
        self._bell.set()

    async def run(self) -> None:
        """Write what is due, until cancelled."""
        while True:
            await self._bell.wait()
            self._bell.clear()
            while self._due:
                uid, checkpoint = self._due.popitem()
                try:
                    await self._write(uid, checkpoint)
                except OSError:
                    log.exception("checkpoint.not_written uid=%s", uid)
                    self._due.setdefault(uid, checkpoint)  # unless a newer one has come meanwhile
                    await asyncio.sleep(RETRY_SECONDS)

    async def _write(self, uid: str, checkpoint: Checkpoint | None) -> None:
        if checkpoint is None:
            await self._checkpoints.remove(uid)
        else:
            await self._checkpoints.save(uid, checkpoint)

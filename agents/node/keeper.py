"""Keeps checkpoints current: writes one when a pod, or the node, says something that a restarted agent would need."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial

from agents.node.checkpoints import Checkpoint, Checkpoints
from agents.node.objects import ReferencedObjects
from agents.node.observed import Verdict
from mesh.objects.meta import uid_of
from mesh.objects.types import Json, Object

log = logging.getLogger(__name__)

RETRY_SECONDS = 2.0
"""After a write that the disk refused: pods go on, and the newest of each waits for room."""


class CheckpointKeeper:
    """Writes in the background, what has waited longest first; a pod's worker never waits for the disk."""

    def __init__(self, checkpoints: Checkpoints, objects: ReferencedObjects) -> None:
        self._checkpoints = checkpoints
        self._objects = objects
        self._due: dict[str, Callable[[], Awaitable[None]]] = {}
        """What to write, by a pod's UID or a name of the node's: only the newest of each."""
        self._bell = asyncio.Event()
        self._kept: dict[str, object] = {}
        """By the same: what was last handed over, to write only what says something new."""

    def remember(self, pod: Object, status: Object, verdict: Verdict | None) -> None:
        """The pod as it is now. Returns at once."""
        uid = uid_of(pod)
        objects = self._objects.known(uid)
        versions = {r: o["metadata"].get("resourceVersion") for r, o in objects.items()}
        meta = {k: v for k, v in pod["metadata"].items() if k not in {"resourceVersion", "managedFields"}}
        essence = (meta, pod["spec"], status.get("phase"), status.get("startTime"), verdict, versions)
        if self._kept.get(uid) != essence:
            self._kept[uid] = essence
            self._put(uid, partial(self._checkpoints.save, uid, Checkpoint(pod | {"status": status}, objects, verdict)))

    def forget(self, uid: str) -> None:
        """Nothing is left of this pod."""
        self._kept.pop(uid, None)
        self._put(uid, partial(self._checkpoints.remove, uid))

    def note(self, name: str, value: Json) -> None:
        """Something of the node's own, as it is now. Returns at once."""
        if self._kept.get(name) != value:
            self._kept[name] = value
            self._put(name, partial(self._checkpoints.save_node, name, value))

    def noted(self, name: str) -> Json:
        """What an earlier agent has noted under a name; None for nothing."""
        return self._checkpoints.load_node(name)

    def _put(self, key: str, write: Callable[[], Awaitable[None]]) -> None:
        self._due[key] = write
        self._bell.set()

    async def run(self) -> None:
        """Write what is due, until cancelled."""
        while True:
            await self._bell.wait()
            self._bell.clear()
            while self._due:
                key = next(iter(self._due))
                write = self._due.pop(key)
                try:
                    await write()
                except OSError:
                    log.exception("checkpoint.not_written of=%s", key)
                    self._due.setdefault(key, write)  # unless a newer one has come meanwhile
                    await asyncio.sleep(RETRY_SECONDS)
                except TypeError:  # it is no JSON, and never will be
                    log.exception("checkpoint.not_written of=%s", key)

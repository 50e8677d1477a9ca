"""Writes pods' status to the API: the newest value of each pod, only what differs, again until it has arrived.

A pod's worker never waits for it. With no broker in reach the newest status waits here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from agents.node.status import status_patch
from mesh.api.port import STRATEGIC_MERGE_PATCH
from mesh.client.client import Client
from mesh.client.informer import revision_of
from mesh.errors import ApiError, Conflict, NotFound, Unavailable
from mesh.objects.kinds import PODS
from mesh.objects.meta import name_of, namespace_of, uid_of
from mesh.objects.types import Json, Object

log = logging.getLogger(__name__)

FIRST_WAIT, LONGEST_WAIT = 0.2, 5.0


class StatusWriter:
    """One task for each pod whose status has yet to be written."""

    def __init__(self, client: Client, silenced: Callable[[], bool] = lambda: False) -> None:
        """While `silenced`, the controller says that no pod of this node is ready (`touch.py`)."""
        self._client = client
        self._silenced = silenced
        self._wanted: dict[str, tuple[Object, Object]] = {}
        self._shown: dict[str, Object] = {}
        """By UID: the newest version of the pod that the API is known to hold."""
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def report(self, pod: Object, status: Object) -> None:
        """Make the API show `status` for `pod`. Returns at once."""
        uid = uid_of(pod)
        if self._patch(pod, status) is None:
            self._wanted.pop(uid, None)
            return
        self._wanted[uid] = (pod, status)
        known = self._tasks.get(uid)
        if known is None or known.done():
            task = asyncio.ensure_future(self._write(uid))
            self._tasks[uid] = task
            task.add_done_callback(lambda done: self._ended(uid, done))

    def _ended(self, uid: str, task: asyncio.Task[None]) -> None:
        if self._tasks.get(uid) is task:
            del self._tasks[uid]

    def _patch(self, pod: Object, status: Object) -> Json | None:
        if self._silenced():
            conditions = [c for c in status["conditions"] if c["type"] != "Ready"]
            status = {**status, "conditions": conditions}
        return status_patch(pod, status, self._base(pod))

    def _base(self, pod: Object) -> Object:
        shown: Object = self._shown.get(uid_of(pod), pod).get("status") or {}
        return shown

    def seen(self, pod: Object) -> None:
        """The API has shown this version of the pod. The answer to a write of ours and the informer's news of a later
        one, somebody else's, may come in either order: the revision tells which is newer."""
        known = self._shown.get(uid_of(pod))
        if known is None or revision_of(known) < revision_of(pod):
            self._shown[uid_of(pod)] = pod

    async def flush(self, uid: str) -> None:
        """Wait until what was reported for this pod has been written, or refused for good."""
        while (task := self._tasks.get(uid)) is not None:
            await asyncio.wait({task})

    def forget(self, uid: str) -> None:
        """The pod is gone: nothing is left to report."""
        self._wanted.pop(uid, None)
        self._shown.pop(uid, None)
        if (task := self._tasks.get(uid)) is not None:
            task.cancel()

    async def _write(self, uid: str) -> None:
        wait = FIRST_WAIT
        while uid in self._wanted:
            pod, status = self._wanted.pop(uid)
            patch = self._patch(pod, status)
            if patch is None:
                continue
            try:
                stored = await self._client.patch(
                    PODS,
                    name_of(pod),
                    namespace_of(pod),
                    patch,
                    content_type=STRATEGIC_MERGE_PATCH,
                    subresource="status",
                )
                self.seen(stored)
                wait = FIRST_WAIT
            except (NotFound, Conflict):
                # Deleted, or another pod of the same name: nobody is left to tell.
                self._wanted.pop(uid, None)
            except ApiError as error:
                log.log(
                    logging.DEBUG if isinstance(error, Unavailable) else logging.WARNING,
                    "status.refused pod=%s/%s reason=%s",
                    namespace_of(pod),
                    name_of(pod),
                    error,
                )
                if final(error):
                    continue
                self._wanted.setdefault(uid, (pod, status))  # unless a newer one has come meanwhile
                await asyncio.sleep(max(wait, error.retry_after_seconds))
                wait = min(wait * 2, LONGEST_WAIT)

    async def close(self) -> None:
        """Stop writing."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def final(refusal: ApiError) -> bool:
    """Whether the same status would be refused again. What the server could not do, had no time for, or does not let us
    do yet (its rules change) is worth another try."""
    return refusal.code < 500 and refusal.code not in {401, 403, 408, 429}

"""Watching pods from outside, as a user's client does: when each was seen running, and when it was gone."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable

from mesh.client.client import Client
from mesh.objects.kinds import PODS
from mesh.objects.meta import name_of
from mesh.objects.types import Object

PATIENCE_SECONDS = 300.0


class PodWatch:
    """The pods of one namespace as one watch shows them, and the time of each one's first running."""

    def __init__(self) -> None:
        self.pods: dict[str, Object] = {}
        self.running: dict[str, float] = {}
        """`time.perf_counter()` when a pod was first seen with all its containers running."""
        self.bound: dict[str, float] = {}
        """The same for its node."""
        self._changed = asyncio.Event()

    def see(self, kind: str, pod: Object) -> None:
        """One event."""
        name, now = name_of(pod), time.perf_counter()
        if kind == "DELETED":
            self.pods.pop(name, None)
        else:
            self.pods[name] = pod
            if pod["spec"].get("nodeName"):
                self.bound.setdefault(name, now)
            if is_running(pod):
                self.running.setdefault(name, now)
        self._changed.set()

    async def until(self, true: Callable[[], bool], what: str) -> None:
        """Wait for events until `true`."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not true():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise RuntimeError(f"{what}: not after {PATIENCE_SECONDS:.0f} s; {len(self.pods)} pods are there") from None


def is_running(pod: Object) -> bool:
    """Whether the pod's phase is Running and each container runs."""
    status = pod.get("status") or {}
    states = [c.get("state") or {} for c in status.get("containerStatuses") or ()]
    return status.get("phase") == "Running" and bool(states) and all("running" in state for state in states)


@contextlib.asynccontextmanager
async def watching(client: Client, namespace: str = "default") -> AsyncIterator[PodWatch]:
    """A watch on all pods of the namespace while the block runs; its end by itself fails the block."""
    seen = PodWatch()
    listing = await client.list(PODS, namespace)
    for pod in listing.items:
        seen.see("ADDED", pod)

    async def follow() -> None:
        async for event in client.watch(PODS, namespace, resource_version=listing.resource_version):
            if event.type != "BOOKMARK":
                seen.see(event.type, event.object)
        raise RuntimeError("the watch on pods ended")

    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(follow())
        yield seen
        task.cancel()

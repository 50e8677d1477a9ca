"""Records Events about objects: what `kubectl describe` and `covey events` show.

Recording never waits and never fails: an Event that finds the queue full or cannot be written is counted and lost.
Which Events become one is decided in `mesh.client.correlator`.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections import deque

from prometheus_client import Counter

from mesh.client.client import Client
from mesh.client.correlator import Correlator, Series
from mesh.clock import Clock
from mesh.errors import ApiError, NotFound
from mesh.objects.kinds import EVENTS
from mesh.objects.meta import format_time, name_of
from mesh.objects.types import Object

log = logging.getLogger(__name__)

_LOST = Counter("covey_events_lost_total", "Events that were not written, by reason.", ["reason"])
MOST_WAITING = 8000
"""Events that may wait to be written."""
AT_ONCE = 16
"""Objects whose Events are being written at the same time by a server."""

About = tuple[str, str]
"""The object that an Event is about: its namespace and name."""


class EventBroadcaster:
    """Writes the Events of one process; `run` does so until cancelled."""

    def __init__(self, client: Client, clock: Clock, *, at_once: int = AT_ONCE) -> None:
        self._client = client
        self._clock = clock
        self._at_once = at_once
        self._waiting: dict[About, deque[Object]] = {}
        """The Events about one object are written one after the other, so that they stay in order and are counted."""
        self._count = 0
        self._ready: asyncio.Queue[About] = asyncio.Queue()
        self._correlator = Correlator()
        self._number = itertools.count()

    def recorder(self, component: str, *, host: str = "") -> EventRecorder:
        """A recorder in the name of `component` ("replicaset-controller"); `host` is the node of a node agent."""
        return EventRecorder(self, self._clock, component, host)

    def next_number(self) -> int:
        """A number no other Event of this process has."""
        return next(self._number)

    def offer(self, event: Object) -> None:
        """Queue an Event for writing, or lose it. Returns at once."""
        now = self._clock.monotonic()
        if not self._correlator.admit(event, now):
            _LOST.labels("rate").inc()
            return
        self._correlator.combine(event, now)
        if self._count >= MOST_WAITING:
            _LOST.labels("queue").inc()
            return
        self._count += 1
        involved = event["involvedObject"]
        about = (involved.get("namespace", ""), involved["name"])
        if about not in self._waiting:
            self._waiting[about] = deque()
            self._ready.put_nowait(about)
        self._waiting[about].append(event)

    async def run(self) -> None:
        """Write what was recorded, until cancelled. May be called again; what was being written then is lost."""
        slots = asyncio.Semaphore(self._at_once)
        async with asyncio.TaskGroup() as tasks:
            while True:
                await slots.acquire()
                tasks.create_task(self._write_all(await self._ready.get(), slots))

    async def _write_all(self, about: About, slots: asyncio.Semaphore) -> None:
        """The Events about one object, until none waits."""
        waiting = self._waiting[about]
        try:
            while waiting:
                event = waiting.popleft()
                self._count -= 1
                try:
                    await self._write(event)
                except ApiError as error:
                    _LOST.labels("refused").inc()
                    log.warning(
                        "event.lost reason=%s about=%s error=%s", event["reason"], event["involvedObject"], error
                    )
        finally:
            self._count -= len(waiting)
            del self._waiting[about]
            slots.release()

    async def _write(self, event: Object) -> None:
        """Create the Event, or raise the count of the one that says the same."""
        series = self._correlator.series(event)
        if series is not None:
            patch = {"count": series.count + 1, "lastTimestamp": event["lastTimestamp"], "message": event["message"]}
            try:
                await self._client.patch(EVENTS, series.name, series.namespace, patch)
            except NotFound:
                # Events live for a while only: begin a new one.
                self._correlator.expired(event)
            else:
                series.count += 1
                self._correlator.written(event, series)
                return
        meta = (await self._client.create(EVENTS, event))["metadata"]
        self._correlator.written(event, Series(meta["namespace"], meta["name"]))


class EventRecorder:
    """Records Events in the name of one component; made by `EventBroadcaster.recorder`."""

    def __init__(self, broadcaster: EventBroadcaster, clock: Clock, component: str, host: str) -> None:
        self._broadcaster = broadcaster
        self._clock = clock
        self._component = component
        self._host = host

    def record(
        self, about: Object, event_type: str, reason: str, message: str, action: str = "", *, field_path: str = ""
    ) -> None:
        """Record an Event of type Normal or Warning about an object. Returns at once.

        `about` needs kind, apiVersion and metadata only; `field_path` names a part of it: "spec.containers{web}".
        """
        meta = about["metadata"]
        now = self._clock.now()
        involved = {
            "kind": about.get("kind", ""),
            "namespace": meta.get("namespace", ""),
            "name": meta["name"],
            "uid": meta.get("uid", ""),
            "apiVersion": about.get("apiVersion", ""),
            "resourceVersion": meta.get("resourceVersion", ""),
            "fieldPath": field_path,
        }
        # The number keeps the names of two Events of one instant apart, on virtual time too.
        stamp = int(now.timestamp() * 1_000_000) * 1000 + self._broadcaster.next_number()
        event: Object = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                "name": f"{name_of(about)}.{stamp:x}",
                "namespace": meta.get("namespace") or "default",
            },
            "involvedObject": {k: v for k, v in involved.items() if v},
            "type": event_type,
            "reason": reason,
            "message": message,
            "source": {"component": self._component} | ({"host": self._host} if self._host else {}),
            "reportingComponent": self._component,
            "reportingInstance": self._host,
            "firstTimestamp": format_time(now),
            "lastTimestamp": format_time(now),
            "count": 1,
            "eventTime": None,
        }
        if action:
            event["action"] = action
        self._broadcaster.offer(event)

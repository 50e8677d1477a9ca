"""The scheduler's loop: informers fill the node table and the queue, `place` decides, bindings go to the API.

Nothing is decided here. A placed pod is counted on its node at once ("assumed"); when its binding is refused it is
taken back. All bindings of a pass are under way at the same time, so that the store commits them together.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging

from prometheus_client import Counter, Histogram

from controlplane.scheduler.nodes import NodeTable
from controlplane.scheduler.plan import DEFAULT_SCORING, Memory, Placement, place
from controlplane.scheduler.queue import SchedulingQueue
from controlplane.scheduler.request import PodRequest, pod_request
from controlplane.scheduler.scores import Scoring
from mesh.api.port import STRATEGIC_MERGE_PATCH
from mesh.client.client import Client
from mesh.client.events import EventRecorder
from mesh.client.informer import Informer
from mesh.clock import Clock
from mesh.errors import ApiError, Conflict, NotFound
from mesh.objects.kinds import PODS
from mesh.objects.meta import format_time, is_deleting, name_of, uid_of
from mesh.objects.types import Object
from mesh.turns import Turns

log = logging.getLogger(__name__)

_ATTEMPTS = Counter("covey_scheduler_attempts_total", "Scheduling attempts by result", ["result"])
_PASS = Histogram("covey_scheduler_pass_seconds", "Time to decide about one batch of pods")

NAME = "default-scheduler"
BATCH = 250
"""Pods decided about in one pass, between which the loop sees to everything else: some tens of milliseconds."""
MOST_BINDINGS = 500
"""Bindings under way at the same time: as many as the store commits in one group."""

_DONE = frozenset({"Succeeded", "Failed"})


class Scheduler:
    """Assigns nodes to pods that name this scheduler and have none yet."""

    def __init__(
        self,
        client: Client,
        pods: Informer,
        nodes: Informer,
        recorder: EventRecorder,
        clock: Clock,
        *,
        name: str = NAME,
        scoring: Scoring = DEFAULT_SCORING,
    ) -> None:
        self._client, self._pods, self._nodes = client, pods, nodes
        self._recorder, self._clock = recorder, clock
        self._name, self._scoring = name, scoring
        self._table = NodeTable()
        self._queue = SchedulingQueue()
        self._memory = Memory()
        self._waiting: dict[str, PodRequest] = {}
        """Every pod that has no node yet, by UID, also while its binding is under way."""
        self._doorbell = asyncio.Event()
        self._bindings: set[asyncio.Task[None]] = set()
        self._room = asyncio.Event()
        self._turns = Turns()

    async def run(self) -> None:
        """Schedule until cancelled. The informers are run by the caller.

        May be called again (a new term of leadership): nobody told us what went meanwhile, and bindings were cut short,
        so every term begins with nothing known.
        """
        self._table, self._queue, self._memory = NodeTable(), SchedulingQueue(), Memory()
        self._waiting.clear()
        try:
            async with self._nodes.telling(self._node_changed), self._pods.telling(self._pod_changed):
                await self._nodes.synced()
                await self._pods.synced()
                while True:
                    await self._pass()
        finally:
            for task in self._bindings:
                task.cancel()

    async def _pass(self) -> None:
        """Wait until there is something to place, and place one batch of it."""
        now = self._clock.monotonic()
        at = self._queue.next_at(now)
        if at is None or at > now:
            self._doorbell.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._doorbell.wait(), None if at is None else at - now)
        batch = self._queue.take(self._clock.monotonic(), BATCH)
        with _PASS.time():
            placements = place(self._table, batch, self._memory, self._scoring)
        for placement in placements:
            if placement.node:
                work = self._bind(placement)
            else:  # rests before anything is awaited: a node that comes meanwhile must find it and wake it
                self._queue.rest(placement.pod, self._clock.monotonic())
                work = self._refuse(placement)
            task = asyncio.create_task(work)
            self._bindings.add(task)
            task.add_done_callback(self._bound)
        while len(self._bindings) > MOST_BINDINGS - BATCH:
            self._room.clear()
            await self._room.wait()
        await asyncio.sleep(0)

    def _bound(self, task: asyncio.Task[None]) -> None:
        self._bindings.discard(task)
        self._room.set()
        if not task.cancelled() and (error := task.exception()):
            log.error("scheduler.binding-failed", exc_info=error)

    async def _bind(self, placement: Placement) -> None:
        pod = placement.pod
        await self._turns.take()
        try:
            await self._client.bind(pod.key.namespace, pod.key.name, placement.node, uid=pod.uid)
        except (NotFound, Conflict) as error:
            # Gone, or somebody else was faster: what the informer says next is what counts.
            log.info("scheduler.lost-pod pod=%s reason=%s", pod.key, error)
            _ATTEMPTS.labels("lost").inc()
            self._try_again(pod)
        except ApiError as error:
            log.warning("scheduler.bind-refused pod=%s node=%s reason=%s", pod.key, placement.node, error)
            _ATTEMPTS.labels("error").inc()
            self._try_again(pod)
        else:
            _ATTEMPTS.labels("scheduled").inc()
            message = f"Successfully assigned {pod.key} to {placement.node}"
            self._recorder.record(_reference(pod), "Normal", "Scheduled", message, "Binding")

    def _try_again(self, pod: PodRequest) -> None:
        """Stop counting an assumed pod and let it rest, unless the informer has seen it bound or gone meanwhile: a
        binding whose answer was lost may have taken effect."""
        if pod.uid in self._waiting:
            self._table.remove_pod(pod.uid)
            self._queue.rest(pod, self._clock.monotonic(), woken=True)
            self._doorbell.set()

    async def _refuse(self, placement: Placement) -> None:
        """Tell the pod's owner why it is pending: an event each time, the condition when its text changes."""
        pod = placement.pod
        _ATTEMPTS.labels("unschedulable").inc()
        self._recorder.record(_reference(pod), "Warning", "FailedScheduling", placement.message, "Scheduling")
        seen = self._pods.get(pod.key)
        if seen is None or uid_of(seen) != pod.uid or _says(seen, placement.message):
            return
        condition = {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": placement.message,
            "lastProbeTime": None,
            "lastTransitionTime": format_time(self._clock.now()),
        }
        patch = {"metadata": {"uid": pod.uid}, "status": {"conditions": [condition]}}
        try:
            await self._client.patch(
                PODS, pod.key.name, pod.key.namespace, patch, content_type=STRATEGIC_MERGE_PATCH, subresource="status"
            )
        except (NotFound, Conflict):
            log.debug("scheduler.lost-pod pod=%s", pod.key)
        except ApiError as error:
            log.warning("scheduler.condition-refused pod=%s reason=%s", pod.key, error)

    def _node_changed(self, old: Object | None, new: Object | None) -> None:
        before = self._table.generation
        if new is None:
            assert old is not None
            self._table.remove_node(name_of(old))
        else:
            self._table.put_node(new)
        if self._table.generation != before:
            self._wake()

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        if old is not None and (new is None or uid_of(old) != uid_of(new)):
            self._forget(uid_of(old))
            old = None
        if new is None:
            return
        uid, node = uid_of(new), new["spec"].get("nodeName", "")
        if (new.get("status") or {}).get("phase") in _DONE:
            self._forget(uid)
        elif node:
            asked = self._waiting.pop(uid, None)
            self._queue.remove(uid)
            if asked is not None or old is None or old["spec"] != new["spec"]:  # else it is counted already
                self._table.put_pod(asked or pod_request(new), node)
        elif self._wants_node(new):
            self._consider(pod_request(new))

    def _wants_node(self, pod: Object) -> bool:
        spec = pod["spec"]
        named = spec.get("schedulerName", NAME) == self._name
        return named and not spec.get("schedulingGates") and not is_deleting(pod)

    def _consider(self, pod: PodRequest) -> None:
        """Queue a pod that is new, or that asks for something else than before (a condition we wrote is no reason)."""
        if self._waiting.get(pod.uid) == pod:
            return
        self._waiting[pod.uid] = pod
        self._queue.put(pod)
        self._doorbell.set()

    def _forget(self, uid: str) -> None:
        self._waiting.pop(uid, None)
        self._queue.remove(uid)
        if self._table.remove_pod(uid):
            self._wake()

    def _wake(self) -> None:
        self._queue.wake()
        self._doorbell.set()


def _reference(pod: PodRequest) -> Object:
    """The pod as an Event refers to it."""
    metadata = {"namespace": pod.key.namespace, "name": pod.key.name, "uid": pod.uid}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata}


def _says(pod: Object, message: str) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(c.get("type") == "PodScheduled" and c.get("message") == message for c in conditions)

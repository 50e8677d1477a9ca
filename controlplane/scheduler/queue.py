"""Pods waiting for a node: by priority, then by age; those that found no place rest until something changed. Pure.

Source: kube-scheduler's scheduling queue (active, back-off and unschedulable pods; back-off 1 s doubling to 10 s; pods
that nothing woke are tried again after five minutes).
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

from controlplane.scheduler.request import PodRequest

FIRST_BACK_OFF = 1.0
LONGEST_BACK_OFF = 10.0
LONGEST_REST = 300.0


@dataclass(slots=True)
class _Resting:
    pod: PodRequest
    since: float
    ready_at: float
    woken: bool


class SchedulingQueue:
    """Times are seconds of a monotonic clock, given by the caller."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, str, int, str]] = []
        self._active: dict[str, PodRequest] = {}
        self._resting: dict[str, _Resting] = {}
        self._attempts: dict[str, int] = {}
        self._counter = 0

    def __len__(self) -> int:
        return len(self._active) + len(self._resting)

    @property
    def active(self) -> int:
        """How many pods could be tried now."""
        return len(self._active)

    def put(self, pod: PodRequest) -> None:
        """A new pod, or one whose fields changed: try it now."""
        self._resting.pop(pod.uid, None)
        self._activate(pod)

    def remove(self, uid: str) -> None:
        """The pod is bound, or gone."""
        self._active.pop(uid, None)
        self._resting.pop(uid, None)
        self._attempts.pop(uid, None)

    def rest(self, pod: PodRequest, now: float, *, woken: bool = False) -> None:
        """The pod found no place. `woken` brings it back as soon as its back-off is over: its binding failed, or
        something changed while it was being placed."""
        attempts = self._attempts[pod.uid] = self._attempts.get(pod.uid, 0) + 1
        back_off = min(FIRST_BACK_OFF * 2.0 ** min(attempts - 1, 10), LONGEST_BACK_OFF)
        self._resting[pod.uid] = _Resting(pod, now, now + back_off, woken)

    def wake(self) -> None:
        """Something changed that may make room: every resting pod is tried once its back-off is over."""
        for resting in self._resting.values():
            resting.woken = True

    def next_at(self, now: float) -> float | None:
        """When there will be something to try: `now`, a later time, or None when all is quiet."""
        if self._active:
            return now
        times = [r.ready_at if r.woken else r.since + LONGEST_REST for r in self._resting.values()]
        return min(times) if times else None

    def take(self, now: float, most: int) -> list[PodRequest]:
        """Up to `most` pods to place now, in the order in which they must be placed."""
        for uid, resting in list(self._resting.items()):
            if (resting.woken and resting.ready_at <= now) or resting.since + LONGEST_REST <= now:
                del self._resting[uid]
                self._activate(resting.pod)
        taken: list[PodRequest] = []
        while self._heap and len(taken) < most:
            priority, created, _, uid = heapq.heappop(self._heap)
            pod = self._active.get(uid)
            if pod is not None and (-pod.priority, pod.created) == (priority, created):
                del self._active[uid]
                taken.append(pod)
        return taken

    def _activate(self, pod: PodRequest) -> None:
        self._counter += 1
        self._active[pod.uid] = pod
        heapq.heappush(self._heap, (-pod.priority, pod.created, self._counter, pod.uid))

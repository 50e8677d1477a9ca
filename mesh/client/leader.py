"""Leader election on a Lease: at most one process of a group works at a time.

Whoever holds the Lease renews it; the others take it over once they have seen it unchanged for its whole duration, on
their own clock (no two machines' clocks are compared). A leader that cannot renew stops its work before the others may
start: `renew_deadline` is counted from when the last successful renewal was *sent*, and what is cancelled then must end
within `lease_duration - renew_deadline`. Every write is a compare-and-set. Behaviour: client-go's
tools/leaderelection.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from prometheus_client import Gauge

from mesh.client.client import Client
from mesh.clock import Clock
from mesh.errors import AlreadyExists, ApiError, Conflict, NotFound, Unavailable
from mesh.objects.kinds import LEASES
from mesh.objects.meta import format_micro_time, thaw
from mesh.objects.types import Object

log = logging.getLogger(__name__)

_LEADING = Gauge("covey_leader", "Whether this process leads, by election.", ["election"])


@dataclass(frozen=True, slots=True)
class Timing:
    """All in seconds. A group is leaderless for at most `lease_duration` plus one `retry_period` and its jitter."""

    lease_duration: float = 6.0
    renew_deadline: float = 4.0
    retry_period: float = 1.0

    def __post_init__(self) -> None:
        if not self.lease_duration > self.renew_deadline > self.retry_period > 0:
            raise ValueError("lease_duration must exceed renew_deadline, and that retry_period")


DEFAULT_TIMING = Timing()


class LeaderElector:
    """One candidate, `identity`, for the Lease `name` in `namespace`."""

    def __init__(
        self,
        client: Client,
        clock: Clock,
        rng: random.Random,
        *,
        name: str,
        identity: str,
        namespace: str = "kube-system",
        timing: Timing = DEFAULT_TIMING,
    ) -> None:
        self._client = client
        self._clock = clock
        self._rng = rng
        self._name = name
        self._identity = identity
        self._namespace = namespace
        self._timing = timing
        self._lease: Object | None = None
        self._changed_at = 0.0
        self._leading = False

    @property
    def leading(self) -> bool:
        """Whether this process leads now."""
        return self._leading

    @property
    def holder(self) -> str:
        """Who held the Lease when it was last looked at; "" for nobody."""
        return "" if self._lease is None else str(_spec_of(self._lease).get("holderIdentity") or "")

    async def run(self, lead: Callable[[], Awaitable[None]]) -> None:
        """Stand for election for ever; whenever elected, run `lead` and cancel it when the lease is lost.

        `lead` has to run until it is cancelled; if it fails, its error ends this too. Cancelled from outside, it
        cancels `lead`, waits for its end, and then gives the Lease back so that another can start at once.
        """
        while True:
            renewed_at = await self._acquire()
            log.info("leader.elected election=%s identity=%s", self._name, self._identity)
            await self._term(lead, renewed_at)
            log.warning("leader.lost election=%s identity=%s holder=%s", self._name, self._identity, self.holder)

    async def _term(self, lead: Callable[[], Awaitable[None]], renewed_at: float) -> None:
        """One term of leadership, until the lease is lost."""
        self._set_leading(leading=True)
        work = asyncio.ensure_future(lead())
        renewing = asyncio.create_task(self._renew_until_lost(renewed_at))
        try:
            await asyncio.wait((work, renewing), return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()
                raise RuntimeError(f"the work of leader election {self._name} ended by itself")
            renewing.result()
        except asyncio.CancelledError:
            await _end(work)
            await _end(renewing)
            await self._release()
            raise
        finally:
            await _end(work)
            await _end(renewing)
            self._set_leading(leading=False)

    async def _acquire(self) -> float:
        """Wait until the Lease is ours; returns when the request that took it was sent."""
        while True:
            sent = self._clock.monotonic()
            if await self._try(self._timing.renew_deadline):
                return sent
            # Up to 1.2 times longer, so that candidates do not all come at once.
            await asyncio.sleep(self._timing.retry_period * self._rng.uniform(1.0, 2.2))

    async def _renew_until_lost(self, renewed_at: float) -> None:
        """Renew in time; returns when the lease is lost."""
        pause = self._timing.retry_period
        while self.holder == self._identity:
            left = renewed_at + self._timing.renew_deadline - self._clock.monotonic()
            if left <= 0:
                return
            await asyncio.sleep(min(pause, left))
            sent = self._clock.monotonic()
            left = renewed_at + self._timing.renew_deadline - sent
            # What failed is tried again sooner: every second that an interruption outlasts costs the leadership.
            pause = self._timing.retry_period / 4
            if left > 0 and await self._try(left):
                renewed_at = sent
                pause = self._timing.retry_period

    async def _try(self, seconds: float) -> bool:
        """Take or renew the Lease once, within `seconds`; whether it is ours then."""
        try:
            async with asyncio.timeout(seconds):
                return await self._take_or_renew()
        except TimeoutError:
            log.warning("leader.unanswered election=%s seconds=%.1f", self._name, seconds)
        except (Conflict, AlreadyExists):
            log.debug("leader.contended election=%s", self._name)
        except Unavailable as error:
            log.debug("leader.unavailable election=%s error=%s", self._name, error)
        except ApiError as error:
            log.warning("leader.refused election=%s error=%s", self._name, error)
        return False

    async def _take_or_renew(self) -> bool:
        if self._leading:
            # A leader renews what it knows, unread: its work depends on it, and half the calls are half the waiting. Who
            # finds the Lease changed (by others, or by a renewal of ours whose answer was lost) looks at it after all.
            with contextlib.suppress(Conflict, NotFound):
                return await self._write()
        try:
            self._observe(await self._client.get(LEASES, self._name, self._namespace))
        except NotFound:
            meta = {"namespace": self._namespace, "name": self._name}
            spec = self._spec(transitions=0, acquired="")
            lease: Object = {"apiVersion": LEASES.api_version, "kind": LEASES.kind, "metadata": meta, "spec": spec}
            self._observe(await self._client.create(LEASES, lease))
            return True
        if self.holder not in {"", self._identity} and not self._expired():
            return False
        return await self._write()

    async def _write(self) -> bool:
        """Make the Lease ours, as it was last seen; raises `Conflict` when it is no longer so."""
        lease = thaw(self._lease)
        old, ours = _spec_of(lease), self.holder == self._identity
        transitions = int(old.get("leaseTransitions") or 0) + (not ours)
        lease["spec"] = self._spec(transitions=transitions, acquired=old.get("acquireTime", "") if ours else "")
        self._observe(await self._client.update(LEASES, lease))
        return True

    def _expired(self) -> bool:
        """Whether the Lease has been seen unchanged for the duration that its holder promised."""
        promised = 0.0 if self._lease is None else float(_spec_of(self._lease).get("leaseDurationSeconds") or 0)
        duration = promised or self._timing.lease_duration
        return self._clock.monotonic() >= self._changed_at + duration

    def _observe(self, lease: Object) -> None:
        """Note when the Lease was first seen in this state."""
        if self._lease is None or self._lease["metadata"]["resourceVersion"] != lease["metadata"]["resourceVersion"]:
            self._changed_at = self._clock.monotonic()
        self._lease = lease

    def _spec(self, *, transitions: int, acquired: str) -> Object:
        now = format_micro_time(self._clock.now())
        return {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": max(round(self._timing.lease_duration), 1),
            "acquireTime": acquired or now,
            "renewTime": now,
            "leaseTransitions": transitions,
        }

    async def _release(self) -> None:
        """Give the Lease back, if that is possible at once; else it runs out."""
        if self._lease is None or self.holder != self._identity:
            return
        lease = thaw(self._lease)
        now = format_micro_time(self._clock.now())
        del lease["spec"]["holderIdentity"]
        lease["spec"] |= {"leaseDurationSeconds": 1, "renewTime": now, "acquireTime": now}
        try:
            async with asyncio.timeout(1.0):
                self._observe(await self._client.update(LEASES, lease))
        except (ApiError, TimeoutError) as error:
            log.info("leader.not_released election=%s error=%s", self._name, error)

    def _set_leading(self, *, leading: bool) -> None:
        self._leading = leading
        _LEADING.labels(self._name).set(leading)


def _spec_of(lease: Object) -> Object:
    """`spec`, which a Lease made by somebody else may lack."""
    return lease.get("spec") or {}


async def _end(task: asyncio.Future[None]) -> None:
    """Cancel a task and wait for its end; what it failed with is raised by whoever awaits its result."""
    task.cancel()
    await asyncio.wait((task,))
    if not task.cancelled() and task.exception() is not None:
        log.debug("leader.ended error=%r", task.exception())

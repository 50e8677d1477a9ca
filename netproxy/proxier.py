"""The proxy's loop: doorbells from the caches in, changes of the rule table out to a back end.

The first change is written at once; what arrives while it is being written is written together, so a burst of a
thousand changes costs a few passes. A refusal by the kernel leads to a full sync, with growing pauses.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Protocol

from mesh.clock import Clock
from mesh.objects.meta import Key, key_of
from mesh.plan.controller import Cache
from netproxy.backend import Backend, KernelRefused
from netproxy.flows import affected
from netproxy.hostports import host_port_rules, owner_of, pod_of
from netproxy.model import Frontend, NodeView, Rules, rules_of
from netproxy.plan import Changes, RuleTable

log = logging.getLogger(__name__)

BY_SERVICE = "netproxy.service"
"""Index of EndpointSlices by the `namespace/name` of their Service."""

_CHECK_SECONDS = 1.0
"""How often to look whether somebody else touched our rules. Mostly that is one question to the kernel."""
_CHECK_SHARE = 0.02
"""Where looking takes long it is done more rarely: it may take this share of the time."""
_GUARD_SECONDS = 10.0
_RETRY_SECONDS = (0.5, 30.0)


class Flows(Protocol):
    """Connection tracking, as far as the proxy touches it."""

    async def reconcile(self, rules: Rules, frontends: Collection[Frontend] | None) -> None:
        """Delete every flow to these frontends (None: to any Service) that is led to what is no backend of theirs."""


class Guard(Protocol):
    """Something beside the Service rules that must stay in place."""

    async def ensure(self) -> None:
        """Put it in place unless it is."""


@dataclass(slots=True)
class Statistics:
    """What the loop has done so far; read by tests, benches and whoever reports on the proxy."""

    full_syncs: int = 0
    passes: int = 0
    refusals: int = 0
    written: int = 0
    """Kernel entries written."""
    last_latency: float = 0.0
    """Seconds from the oldest doorbell of the last pass until the kernel had it."""


class Proxier:
    """One node's proxy. `run` ends only when cancelled, and leaves the rules in place."""

    def __init__(
        self, *, services: Cache, slices: Cache, pods: Cache, backend: Backend, flows: Flows, guard: Guard, clock: Clock
    ) -> None:
        self._services = services
        self._slices = slices
        self._pods = pods
        self._backend = backend
        self._flows = flows
        self._guard = guard
        self._clock = clock
        self._node = NodeView("")
        self.table = RuleTable()
        self._dirty: dict[Key, float] = {}
        self._doorbell = asyncio.Event()
        self._must_sync = True
        self._must_check = True
        self._guarded = -_GUARD_SECONDS
        self.synced = asyncio.Event()
        """Set once the kernel has held the whole table."""
        self.statistics = Statistics()

    def wake(self, owner: Key) -> None:
        """A Service or one of its EndpointSlices changed, or (`hostports.owner_of`) a pod of this node."""
        self._dirty.setdefault(owner, self._clock.monotonic())
        self._doorbell.set()

    def set_node(self, node: NodeView) -> None:
        """What is known of the node we are on; a change concerns every Service and pod."""
        if node == self._node:
            return
        self._node = node
        for service in self._services.list():
            self.wake(key_of(service))
        for pod in self._pods.list():
            if (owner := owner_of(pod)) is not None:
                self.wake(owner)

    async def run(self) -> None:
        """Sync everything once, then follow changes for ever. The caches must have synced, the node must be set."""
        pause = _RETRY_SECONDS[0]
        while True:
            try:
                if self._must_check:
                    await self._check()
                if self._dirty or self._must_sync:
                    await self._pass()
                pause = _RETRY_SECONDS[0]
                await self._doorbell.wait()
                self._doorbell.clear()
            except KernelRefused as error:
                self._must_sync = True
                self.statistics.refusals += 1
                log.warning("proxy.refused retry_seconds=%g reason=%s", pause, error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, _RETRY_SECONDS[1])

    async def _pass(self) -> None:
        """Write what has changed since the last pass, all of it together."""
        dirty, self._dirty = self._dirty, {}
        changes = self._replan(dirty)
        first = self._must_sync
        try:
            written = await self._write(changes)
        except BaseException:
            # The table has moved on, the kernel has not: only a full sync brings them together.
            self._must_sync = True
            raise
        frontends = None if first else affected(changes)
        if frontends is None or frontends:
            await self._flows.reconcile(self.table.rules, frontends)
        self.statistics.passes += 1
        self.statistics.written += written
        if dirty:
            self.statistics.last_latency = self._clock.monotonic() - min(dirty.values())
        if first or changes:
            word = "proxy.synced" if first else "proxy.applied"
            log.log(
                logging.INFO if first else logging.DEBUG,
                "%s services=%d frontends=%d written=%d seconds=%.4f",
                word, len(self.table.services()), len(self.table.rules), written, self.statistics.last_latency,
            )  # fmt: skip

    def _replan(self, dirty: Iterable[Key]) -> Changes:
        """Recompute the rules of these Services and pods."""
        changes = [self.table.replace(owner, self._rules(owner)) for owner in dirty]
        return tuple(change for batch in changes for change in batch)

    def _rules(self, owner: Key) -> Rules:
        if (key := pod_of(owner)) is not None:
            pod = self._pods.get(key)
            return host_port_rules(pod, self._node) if pod is not None else {}
        service = self._services.get(owner)
        if service is None:
            return {}
        return rules_of(service, self._slices.index(BY_SERVICE, str(owner)), self._node)

    async def _write(self, changes: Changes) -> int:
        if not self._must_sync:
            return await self._backend.apply(changes) if changes else 0
        written = await self._backend.sync(self.table.rules)
        self._must_sync = False
        self.synced.set()
        self.statistics.full_syncs += 1
        return written

    async def _check(self) -> None:
        """See whether somebody else touched what we wrote, and whether the guard is in place."""
        self._must_check = False
        began = self._clock.monotonic()
        try:
            foreign = not self._must_sync and not await self._backend.intact()
            if foreign:
                log.warning("proxy.foreign_change somebody else changed or removed our rules; writing them again")
                self._must_sync = True
            if foreign or began - self._guarded >= _GUARD_SECONDS:
                self._guarded = began
                await self._ensure_guard()
        finally:
            self._check_later(self._clock.monotonic() - began)

    async def _ensure_guard(self) -> None:
        """A guard that cannot be put in place says nothing about our rules: it is tried again in its own time."""
        try:
            await self._guard.ensure()
        except KernelRefused as error:
            log.warning("proxy.unguarded retry_seconds=%g reason=%s", _GUARD_SECONDS, error)

    def _check_later(self, took: float) -> None:
        """Ring for the next check, the last of which took so many seconds."""
        asyncio.get_running_loop().call_later(max(_CHECK_SECONDS, took / _CHECK_SHARE), self._ask_for_check)

    def _ask_for_check(self) -> None:
        self._must_check = True
        self._doorbell.set()


def service_of(namespace: str, labels: dict[str, str]) -> Key | None:
    """The Service that an EndpointSlice belongs to; None for one of a headless Service or of none."""
    if "service.kubernetes.io/headless" in labels:
        return None
    name = labels.get("kubernetes.io/service-name", "")
    return Key(namespace, name) if name else None

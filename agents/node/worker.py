"""One pod's worker: doorbells in, one pass after the other, until nothing of the pod is left on the node.

A pass reads the pod's containers, reports its status, plans, and carries the plan out. Long actions run beside it;
the others one by one, and are abandoned when the pod has to end: what they left half done, the next pass will find.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime

from agents.node.actions import Action, StopContainer, background_key
from agents.node.back_off_events import back_off_events
from agents.node.context import NodeContext
from agents.node.executor import PodExecutor
from agents.node.memory import PodMemory
from agents.node.network_port import NetworkFailure
from agents.node.observed import Observed, Verdict, has_ended
from agents.node.plan import plan
from agents.node.plan_termination import must_end
from agents.node.podspec import exclusive, place_of
from agents.node.ports import ContainerStatus, RuntimeAway, RuntimeFailure, SandboxStatus
from agents.node.prober import PodProbes
from agents.node.status import pod_status
from agents.node.termination_message import last_words
from agents.node.volumes import VolumeError
from mesh.errors import ApiError
from mesh.objects.meta import is_deleting, name_of, namespace_of, parse_time, uid_of
from mesh.objects.types import Object

log = logging.getLogger(__name__)

FENCED = Verdict("Fenced", "The node was out of touch with the control plane for too long and ended the pod")
RUNTIME_AWAY_SECONDS = 1.0
FAULT_SECONDS = 5.0


@dataclass(slots=True)
class _Running:
    """A long action under way."""

    task: asyncio.Task[None]
    ends_by: float
    """Monotonic time by which a stop will have killed its container."""


class PodWorker:
    """Runs one pod (one UID). `done()` is called once nothing of it is left and the API no longer has it."""

    def __init__(
        self,
        pod: Object,
        context: NodeContext,
        *,
        memory: PodMemory | None = None,
        on_end: Callable[[str], None],
        on_status: Callable[[Object, Object], None],
    ) -> None:
        self.pod = pod
        self.memory = memory or PodMemory()
        self.status: Object = dict(pod.get("status") or {})
        self.sandboxes_version = 0
        """Counts changes of what is known about sandboxes, so that an older reading does not undo a newer."""
        self._context = context
        self._executor = PodExecutor(pod, self.memory, context)
        self._probes = PodProbes(context, self.memory, self._executor.event, self.ring)
        self._on_end = on_end
        self._on_status = on_status
        self._bell = asyncio.Event()
        self._stale = memory is not None
        self._gone = False
        self._frozen = False
        self._again_at: datetime | None = None
        self._background: dict[str, _Running] = {}
        self._inline: asyncio.Task[None] | None = None
        if self.memory.started_at is None:
            known = self.status.get("startTime")
            self.memory.started_at = parse_time(known) if known else context.clock.now()
        self._bell.set()

    @property
    def uid(self) -> str:
        """The pod's UID."""
        return uid_of(self.pod)

    def ring(self) -> None:
        """Something may have changed: run a pass."""
        self._bell.set()

    def ring_runtime(self) -> None:
        """Something happened to a container: read them again."""
        self._stale = True
        self._bell.set()

    def update(self, pod: Object) -> None:
        """The API shows a newer version of the pod."""
        self.pod = self._executor.pod = pod
        if is_deleting(pod):
            self._abandon()
        self._bell.set()

    def gone(self) -> None:
        """The API no longer has the pod: end it, and tell nobody."""
        self._gone = True
        self._context.status.forget(self.uid)
        self._abandon()
        self._bell.set()

    def fenced(self) -> None:
        """The fence has killed this pod's containers: it has failed, and must not start again here."""
        if self.memory.verdict is None:
            log.warning("pod.fenced pod=%s", self._name())
            self.memory.verdict = FENCED
            self.ring_runtime()

    def objects_changed(self) -> None:
        """A ConfigMap or Secret that the pod names has changed."""
        self.memory.retry_config()
        if self.memory.volumes_ready and not self._gone and not is_deleting(self.pod):
            self._spawn("refresh", self._refresh, 0)
        self._bell.set()

    def sandboxes_seen(self, sandboxes: list[SandboxStatus], version: int) -> None:
        """What a fresh listing shows of this pod, if nothing was learned since the listing began."""
        if version == self.sandboxes_version:
            self.memory.sandboxes = list(sandboxes)
            self.ring_runtime()

    async def run(self) -> None:
        """Work until the pod has ended for good, or until cancelled (then its containers go on)."""
        try:
            while not (self._executor.deleted or (self._gone and self.memory.finished and not self._left_over())):
                await self._wait()
                await self._context.turns.take()
                try:
                    await self._pass()
                except RuntimeAway as error:
                    log.warning("pod.runtime_away pod=%s reason=%s", self._name(), error)
                    await self._pause(RUNTIME_AWAY_SECONDS)
                except (RuntimeFailure, NetworkFailure, ApiError, OSError) as error:
                    log.warning("pod.pass_failed pod=%s reason=%s", self._name(), error)
                    await self._pause(FAULT_SECONDS)
            self._on_end(self.uid)
        finally:
            await self._stop_everything()

    def _left_over(self) -> bool:
        return bool(self.memory.containers or self.memory.sandboxes)

    def _name(self) -> str:
        return f"{namespace_of(self.pod)}/{name_of(self.pod)}"

    async def _wait(self) -> None:
        """Until the bell rings, or until the plan asked to be made again."""
        timeout = None
        if self._again_at is not None:
            timeout = max((self._again_at - self._context.clock.now()).total_seconds(), 0.001)
        try:
            async with asyncio.timeout(timeout):
                await self._bell.wait()
        except TimeoutError:
            pass
        self._bell.clear()

    async def _pause(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self.ring_runtime()

    async def _pass(self) -> None:
        await self._read()
        now = self._context.clock.now()
        fence = self._context.fence
        self.memory.held = fence is not None and exclusive(self.pod) and fence.out_of_touch()
        observed = self.memory.observed(now)
        ending = must_end(self.pod, observed, now, gone=self._gone)
        self._report(observed, now, ending=ending)
        if ending:
            await self._cancel_starts()
        self._probes.sync(self.pod, observed, ending=ending)
        chosen = plan(self.pod, observed, now, gone=self._gone)
        self._again_at = chosen.again_at
        if self.memory.volumes_ready and not ending:
            self._renew_tokens(now)
        for action in chosen.actions:
            if key := background_key(action):
                self._begin(key, action)  # first: images come in while the sandbox is made
        for action in chosen.actions:
            if not background_key(action):
                self._bell.set()
                if not await self._do(action):
                    return

    def _renew_tokens(self, now: datetime) -> None:
        """Replace service account tokens in time."""
        due = self._context.tokens.renew_at(self.pod)
        if due is None:
            return
        if due <= now:
            self._spawn("refresh", self._refresh, 0)
        else:
            self._again_at = due if self._again_at is None else min(due, self._again_at)

    async def _read(self) -> None:
        """Containers as they are now; read again when something happened meanwhile."""
        while self._stale:
            self._stale = False
            self.memory.containers = await self._context.runtime.containers(self.uid)
        for container in self.memory.containers:
            if has_ended(container) and container.id not in self.memory.messages:
                self.memory.messages[container.id] = await self._last_words(container)

    async def _last_words(self, container: ContainerStatus) -> str:
        place = place_of(self.pod, container.name)
        if place is None:
            return ""
        return await last_words(self._context.files, self._context.runtime, self.uid, place.container, container)

    def _report(self, observed: Observed, now: datetime, *, ending: bool) -> None:
        """Compute the status, tell the API and the node's memory. Once containers are being removed it stays."""
        if self._frozen:
            return
        before = self.status
        self.status = pod_status(self.pod, observed, now, self._context.host, before)
        for told in back_off_events(self.pod, before, self.status):
            self._executor.event(*told)
        if not self._gone:
            self._context.status.report(self.pod, self.status)
        self._on_status(self.pod, self.status)
        if ending and not observed.running and (is_deleting(self.pod) or self._gone or observed.finished):
            self._frozen = True

    async def _do(self, action: Action) -> bool:
        """Carry out one action in order; False when it was abandoned because the pod has to end."""
        log.debug("pod.action pod=%s action=%s", self._name(), action)
        self._inline = asyncio.ensure_future(self._executor.run(action, self.status))
        try:
            await asyncio.wait({self._inline})
            if self._inline.cancelled():
                return False
            self._inline.result()
            return True
        finally:
            self.sandboxes_version += 1
            self._stale = True
            self._inline.cancel()
            self._inline = None

    def _abandon(self) -> None:
        """The pod has to end: what is being started now no longer matters."""
        if self._inline is not None and not self.memory.finished and not self._frozen:
            self._inline.cancel()

    def _begin(self, key: str, action: Action) -> None:
        """Start a long action, unless it is under way; a stop with much less time overtakes one with more."""
        now = self._context.clock.monotonic()
        ends_by = now + action.grace_seconds if isinstance(action, StopContainer) else 0.0
        known = self._background.get(key)
        busy = known is not None and not known.task.done()
        if known is not None and busy and (not isinstance(action, StopContainer) or ends_by > known.ends_by - 2):
            return
        log.debug("pod.action pod=%s action=%s", self._name(), action)
        self._spawn(key, lambda: self._executor.run(action, self.status), ends_by)

    def _spawn(self, key: str, work: Callable[[], Coroutine[None, None, None]], ends_by: float) -> None:
        known = self._background.get(key)
        if known is not None:
            known.task.cancel()
        task = asyncio.ensure_future(self._guard(key, work))
        self._background[key] = _Running(task, ends_by)

    async def _guard(self, key: str, work: Callable[[], Coroutine[None, None, None]]) -> None:
        """Run a long action; its faults are logged and planned around."""
        try:
            await work()
        except (RuntimeFailure, ApiError, VolumeError, OSError) as error:
            log.warning("pod.action_failed pod=%s action=%s reason=%s", self._name(), key, error)
            await asyncio.sleep(RUNTIME_AWAY_SECONDS)
        except Exception:  # a fault of ours: it must not become a circle of ever new attempts without a pause
            log.exception("pod.action_fell pod=%s action=%s", self._name(), key)
            await asyncio.sleep(FAULT_SECONDS)
        finally:
            current = self._background.get(key)
            if current is not None and current.task is asyncio.current_task():
                del self._background[key]
            self.ring_runtime()

    async def _refresh(self) -> None:
        await self._executor.volumes.refresh(self.pod, self.status)

    async def _cancel_starts(self) -> None:
        """Pulls and refreshes that nobody waits for any more."""
        for key in [k for k in self._background if not k.startswith("stop:")]:
            self._background[key].task.cancel()

    async def _stop_everything(self) -> None:
        await self._probes.close()
        tasks = [running.task for running in self._background.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

"""Runs controllers: doorbells become keys, keys become plans, plans become writes.

For each controller: a change in a watched cache wakes keys; a key is planned against the caches, its plan is carried
out, and the key rests until the caches have seen what was written, so that no plan is made in ignorance of the last
one (this takes the place of Kubernetes' "expectations"). Now and then every key runs unasked.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Mapping

from prometheus_client import Counter, Gauge, Histogram

from mesh.client.client import Client
from mesh.client.events import EventBroadcaster
from mesh.client.executor import Executor, Outcome, Result
from mesh.client.handlers import Handler
from mesh.client.informer import Informer
from mesh.client.queue import WorkQueue
from mesh.client.shared import SharedInformers
from mesh.clock import Clock
from mesh.errors import ApiError, NotFound
from mesh.objects.kinds import Resource
from mesh.objects.meta import Key, key_of
from mesh.objects.types import Object
from mesh.plan.actions import NOTHING, Plan, Read
from mesh.plan.controller import Caches, Controller, Failure, Observed, Watch
from mesh.turns import Turns

log = logging.getLogger(__name__)

_PASSES = Counter("covey_controller_passes_total", "Passes over a key, by outcome.", ["controller", "outcome"])
_ACTIONS = Counter("covey_controller_actions_total", "Actions asked for, by type.", ["controller", "action"])
_QUEUED = Gauge("covey_controller_queue_length", "Keys ready to run.", ["controller"])
_SECONDS = Histogram("covey_controller_pass_seconds", "Duration of one pass, writes included.", ["controller"])

_FREE_SECONDS = 0.02
_REST_FACTOR = 4
"""A key whose pass took longer than the first rests for this many times the excess."""
_PORTION = 50
"""Keys woken in a row; then everybody else in the process has a turn."""
MOST_WRITES = 128
"""Writes of all controllers together that are under way at a time: enough for the store to commit them in groups, few
enough for what must not wait behind them, above all the renewal of our own leadership in the same event loop."""
_MOST_READS = 5
"""So often may a plan ask for further live reads within one pass."""


class Runtime:
    """Runs controllers on shared informers, which somebody else runs.

    `workers` is how many keys of one controller are worked on at a time; `resync_seconds` is how often, roughly, every
    key runs unasked. `run` may be called again after it was cancelled (a new term of leadership).
    """

    def __init__(
        self,
        client: Client,
        informers: SharedInformers,
        events: EventBroadcaster,
        clock: Clock,
        rng: random.Random,
        *,
        workers: int = 32,
        resync_seconds: float = 600.0,
    ) -> None:
        self._client = client
        self._informers = informers
        self._events = events
        self._clock = clock
        self._rng = rng
        self._workers = workers
        self._resync_seconds = resync_seconds
        self._loops: dict[str, _Loop] = {}
        self._writing = asyncio.Semaphore(MOST_WRITES)
        self._turns = Turns()

    def add(self, controller: Controller) -> None:
        """Take a controller in, before `run`. Its caches and indexes exist from now on."""
        if controller.name in self._loops:
            raise ValueError(f"two controllers are named {controller.name}")
        caches: dict[Resource, Informer] = {}
        for watch in controller.watches:
            informer = self._informers.get_or_create(watch.resource)
            for name, function in watch.indexes.items():
                informer.add_index(name, function)
            caches[watch.resource] = informer
        executor = Executor(self._client, self._events.recorder(controller.name), self._writing, self._turns)
        self._loops[controller.name] = _Loop(self, controller, caches, executor)

    def ring(self, controller: str, key: Key) -> None:
        """Wake a key from outside the caches; without effect while `run` is not running."""
        self._loops[controller].ring(key)

    @property
    def idle(self) -> bool:
        """Whether no key is ready or running: what simulations and tests wait for."""
        return all(loop.idle for loop in self._loops.values())

    async def run(self) -> None:
        """Run all controllers until cancelled, each from when its caches are filled."""
        async with asyncio.TaskGroup() as tasks:
            for loop in self._loops.values():
                tasks.create_task(loop.run(self._workers, self._resync_seconds))

    async def read(self, read: Read) -> tuple[Object, ...]:
        """One live read for a plan; raises `ApiError`."""
        if not read.name:
            listing = await self._client.list(read.resource, read.namespace)
            return tuple(listing.items)
        try:
            return (await self._client.get(read.resource, read.name, read.namespace),)
        except NotFound:
            return ()

    def clock(self) -> Clock:
        """The clock that tells plans the time."""
        return self._clock

    def queue(self) -> WorkQueue[Key]:
        """A new work queue."""
        return WorkQueue(self._rng)

    def spread(self, seconds: float) -> float:
        """A time around `seconds`, so that loops do not fall into step."""
        return seconds * self._rng.uniform(0.8, 1.2)


class _Loop:
    """One controller at work."""

    def __init__(
        self, runtime: Runtime, controller: Controller, caches: Mapping[Resource, Informer], executor: Executor
    ) -> None:
        self._runtime = runtime
        self._controller = controller
        self._informers = caches
        self._caches: Caches = caches
        self._executor = executor
        self._queue: WorkQueue[Key] | None = None
        self._failures: dict[Key, Failure] = {}

    @property
    def idle(self) -> bool:
        return self._queue is None or self._queue.idle

    def ring(self, key: Key) -> None:
        if self._queue is not None:
            self._queue.add(key)

    async def run(self, workers: int, resync_seconds: float) -> None:
        """Run until cancelled."""
        for informer in self._informers.values():
            await informer.synced()
        self._queue = self._runtime.queue()
        self._failures.clear()
        try:
            async with contextlib.AsyncExitStack() as doorbells:
                # Each rings for every object already known: the first pass over everything.
                for watch in self._controller.watches:
                    telling = self._informers[watch.resource].telling(self._doorbell(watch))
                    await doorbells.enter_async_context(telling)
                await self._work_off(self._queue, workers, resync_seconds)
        finally:
            self._queue.close()
            self._queue = None

    async def _work_off(self, queue: WorkQueue[Key], workers: int, resync_seconds: float) -> None:
        """Take one key after the other, and all of them now and then, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._resync(resync_seconds))
            slots = asyncio.Semaphore(workers)
            while True:
                await slots.acquire()
                key = await queue.get()
                _QUEUED.labels(self._controller.name).set(len(queue))
                tasks.create_task(self._work(key, queue, slots))

    def _doorbell(self, watch: Watch) -> Handler:
        """What wakes the keys that a change of an object of `watch` concerns, in its old and in its new state."""

        def changed(old: Object | None, new: Object | None) -> None:
            for obj in (old, new):
                if obj is not None:
                    self._ring_for(watch, obj)

        return changed

    def _ring_for(self, watch: Watch, obj: Object) -> None:
        """Wake the keys that one object concerns."""
        try:
            for key in watch.keys(obj, self._caches):
                self.ring(key)
        except Exception:
            # A fault of ours in one map: it may not end the resync of everything else, and with it all controllers.
            log.exception("controller.map_failed controller=%s object=%s", self.name, key_of(obj))

    async def _resync(self, seconds: float) -> None:
        """Wake every key now and then, in case a doorbell was lost."""
        while True:
            await asyncio.sleep(self._runtime.spread(seconds))
            for watch in self._controller.watches:
                for number, obj in enumerate(self._informers[watch.resource].list(), 1):
                    self._ring_for(watch, obj)
                    if not number % _PORTION:
                        await asyncio.sleep(0)

    async def _work(self, key: Key, queue: WorkQueue[Key], slots: asyncio.Semaphore) -> None:
        """One pass over a key, and the rest until the caches have seen its writes."""
        name = self._controller.name
        started = self._runtime.clock().monotonic()
        try:
            plan, result = await self._pass(key)
        except Exception:
            # A fault of ours in one controller's plan: its other keys and the other controllers go on.
            log.exception("controller.plan_failed controller=%s key=%s", name, key)
            plan, result = NOTHING, Result(Outcome.RETRY_LATER)
        finally:
            slots.release()
        seconds = self._runtime.clock().monotonic() - started
        _SECONDS.labels(name).observe(seconds)
        _PASSES.labels(name, result.outcome.name.lower()).inc()
        await self._settle(result)
        if seconds > _FREE_SECONDS:
            # Much hangs on this key: let changes gather, or it would take all of the process for itself.
            await asyncio.sleep((seconds - _FREE_SECONDS) * _REST_FACTOR)
        self._judge(key, queue, plan, result)
        queue.done(key)

    async def _pass(self, key: Key) -> tuple[Plan, Result]:
        """Plan, with as many live reads as it takes, and carry it out."""
        answers: dict[Read, tuple[Object, ...]] = {}
        for _ in range(_MOST_READS):
            now = self._runtime.clock().now()
            plan = self._controller.plan(key, Observed(self._caches, now, answers, self._failures.get(key)))
            wanted = [read for read in plan.reads if read not in answers]
            if not wanted:
                break
            for read in wanted:
                try:
                    answers[read] = await self._runtime.read(read)
                except ApiError as error:
                    log.warning("controller.read_failed controller=%s key=%s error=%s", self.name, key, error)
                    return plan, Result(Outcome.RETRY_LATER)
        else:
            raise RuntimeError(f"the plan for {key} asks for ever more live reads")
        for action in plan.actions:
            log.info("controller.action controller=%s key=%s action=%s", self.name, key, action)
            _ACTIONS.labels(self.name, type(action).__name__).inc()
        return plan, await self._executor.execute(plan)

    @property
    def name(self) -> str:
        return self._controller.name

    async def _settle(self, result: Result) -> None:
        """Wait until the caches know of our own writes."""
        for resource, revision in result.revisions.items():
            if resource in self._informers:
                await self._informers[resource].reached(revision)
        for resource, key, uid in result.deleted:
            if resource in self._informers:
                await self._informers[resource].deletion_seen(key, uid)

    def _judge(self, key: Key, queue: WorkQueue[Key], plan: Plan, result: Result) -> None:
        """Decide when the key runs again."""
        if result.outcome is Outcome.DONE:
            self._failures.pop(key, None)
            queue.forget(key)
            if plan.again_after is not None:
                queue.add_after(key, plan.again_after.total_seconds())
            return
        if result.failure is not None:
            level = logging.DEBUG if result.outcome is Outcome.RETRY else logging.WARNING
            log.log(
                level,
                "controller.refused controller=%s key=%s outcome=%s action=%s error=%s",
                self.name,
                key,
                result.outcome.name.lower(),
                result.failure.action,
                result.failure.message,
            )
        if result.outcome is not Outcome.RETRY and result.failure is not None:
            first = key not in self._failures
            self._failures[key] = result.failure
            if first:
                # Once more at once, so that the controller can show the failure in a condition.
                queue.add(key)
                return
        if result.outcome is not Outcome.FATAL:
            queue.retry(key)

"""The node's part of the agent: hands pods to their workers, keeps the Node registered, adopts what already runs.

All ports come in from outside (`agents.main`, or a simulation). Nothing here decides about pods: that is
`agents.node.plan`.
"""

from __future__ import annotations

import asyncio
import logging
import random
from dataclasses import dataclass, field
from typing import TypeVar

from agents.node.cgroups import Cgroups
from agents.node.checkpoints import Checkpoint, Checkpoints
from agents.node.context import NodeContext
from agents.node.fence import Guarded
from agents.node.fence_guard import Fence
from agents.node.files import PodFiles
from agents.node.handlers import Reach
from agents.node.heartbeat import beat
from agents.node.images import Images
from agents.node.keeper import CheckpointKeeper
from agents.node.machine import Machine, PressureReader
from agents.node.memory import PodMemory
from agents.node.node_status import capacity
from agents.node.objects import Reference, ReferencedObjects
from agents.node.orphans import Orphans
from agents.node.podspec import exclusive
from agents.node.ports import (
    ContainerStatus,
    PodNetwork,
    Runtime,
    RuntimeAway,
    RuntimeFailure,
    RuntimeInfo,
    SandboxStatus,
)
from agents.node.registration import Registration
from agents.node.resources import pod_cgroup, refuse
from agents.node.status import Host
from agents.node.status_writer import StatusWriter
from agents.node.tokens import Tokens
from agents.node.worker import PodWorker
from mesh.bus.port import Bus
from mesh.client.client import Client
from mesh.client.events import EventBroadcaster
from mesh.client.shared import SharedInformers
from mesh.clock import Clock
from mesh.config import AgentConfig
from mesh.objects.kinds import NODES, PODS, SERVICES
from mesh.objects.meta import key_of, name_of, namespace_of, uid_of
from mesh.objects.quantity import to_int
from mesh.objects.types import Object
from mesh.turns import Turns

log = logging.getLogger(__name__)

T = TypeVar("T", SandboxStatus, ContainerStatus)

RELIST_SECONDS = 60.0
SWEEP_SECONDS = 60.0
FENCE_LOOK_SECONDS = 0.5
COLLECT_SECONDS = 300.0
COLLECT_ABOVE, COLLECT_UNTIL = 0.85, 0.80
"""Parts of the disk in use: kubelet's imageGCHighThresholdPercent and imageGCLowThresholdPercent."""
RUNTIME_RETRY_SECONDS = 1.0
EVENTS_AT_ONCE = 2
"""Objects whose Events are being written at the same time: few, since all nodes write to the same servers."""


@dataclass(slots=True)
class Ports:
    """Everything a node agent touches. `bus` None: nobody is told that we live (unit tests)."""

    client: Client
    bus: Bus | None
    runtime: Runtime
    network: PodNetwork
    files: PodFiles
    cgroups: Cgroups
    checkpoints: Checkpoints
    reach: Reach
    machine: Machine
    pressure: PressureReader
    clock: Clock
    rng: random.Random
    fence: Fence | None = None
    """None where no heartbeats are sent: then exclusive pods are not guarded."""
    node_hosts: str = ""
    node_resolv_conf: str = ""
    turns: Turns = field(default_factory=Turns)
    """For the passes of pod workers; nodes of one process share them."""


class NodeAgent:
    """One node's pods. `run` works until it is cancelled; containers go on after that."""

    def __init__(self, config: AgentConfig, ports: Ports, informers: SharedInformers) -> None:
        self.config = config
        self.ports = ports
        self.workers: dict[str, PodWorker] = {}
        """By pod UID."""
        self.adopted = asyncio.Event()
        """Set once everything found in the runtime belongs to somebody: warm sandboxes may be made from then on."""
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._pods = informers.get_or_create(PODS, field_selector=f"spec.nodeName={config.node}")
        self._services = informers.get_or_create(SERVICES)
        nodes = informers.get_or_create(NODES, field_selector=f"metadata.name={config.node}")
        self._events = EventBroadcaster(ports.client, ports.clock, at_once=EVENTS_AT_ONCE)
        self._status = StatusWriter(ports.client)
        self._objects = ReferencedObjects(ports.client, ports.rng, self._object_changed)
        self.registration = Registration(
            config,
            client=ports.client,
            nodes=nodes,
            runtime=ports.runtime,
            machine=ports.machine,
            pressure=ports.pressure,
            identity=ports.bus.identity if ports.bus is not None else "",
            clock=ports.clock,
        )
        self._context: NodeContext | None = None
        self._orphans = Orphans(ports.runtime, ports.network, ports.files)
        self._keeper = CheckpointKeeper(ports.checkpoints, self._objects)
        self._relist_bell = asyncio.Event()

    @property
    def context(self) -> NodeContext:
        """What workers share. Raises `RuntimeError` before `run` has heard from the runtime."""
        if self._context is None:
            raise RuntimeError("the node agent has not started yet")
        return self._context

    def worker_of(self, namespace: str, name: str, uid: str = "") -> PodWorker | None:
        """The worker of a pod by name; when one of that name is still ending, the newer."""
        found = [
            w
            for w in self.workers.values()
            if namespace_of(w.pod) == namespace and name_of(w.pod) == name and uid in {"", w.uid}
        ]
        return max(found, key=lambda w: str(w.pod["metadata"].get("creationTimestamp", "")), default=None)

    def sandbox_of(self, address: str) -> str:
        """Id of the sandbox that has a pod address, "" for none."""
        for worker in self.workers.values():
            if address in worker.memory.addresses and worker.memory.sandboxes:
                return worker.memory.sandboxes[-1].id
        return ""

    async def run(self) -> None:
        """Adopt what runs, then follow the API until cancelled. The informers are run by who made them."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._events.run())
                tasks.create_task(self.registration.run())
                tasks.create_task(self._keeper.run())
                if self.ports.bus is not None:
                    beating = beat(
                        self.ports.bus,
                        self.config.node,
                        self.config.heartbeat_seconds,
                        self.ports.clock,
                        self._answered,
                    )
                    tasks.create_task(beating)
                info = await self._runtime_info()
                self._context = self._make_context(info)
                sandboxes, containers = await self._list_runtime()
                self._adopt(sandboxes, containers)
                self.adopted.set()
                if self.ports.fence is not None:
                    tasks.create_task(self._look_at_fence(self.ports.fence))
                tasks.create_task(self._follow_runtime())
                tasks.create_task(self._relist_forever())
                tasks.create_task(self._collect_images())
                await self._services.synced()  # new containers get variables for every Service there is
                self._pods.add_handler(self._pod_changed)
                await self._pods.synced()
                tasks.create_task(self._settle())
        finally:
            await self._close()

    async def _close(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        await self._objects.close()
        await self._status.close()

    async def _runtime_info(self) -> RuntimeInfo:
        while True:
            try:
                return await self.ports.runtime.info()
            except RuntimeAway as error:
                log.warning("runtime.away node=%s reason=%s", self.config.node, error)
                await asyncio.sleep(RUNTIME_RETRY_SECONDS)

    def _make_context(self, info: RuntimeInfo) -> NodeContext:
        ports, amounts = self.ports, capacity(self.config, self.ports.machine)
        return NodeContext(
            config=self.config,
            client=ports.client,
            runtime=ports.runtime,
            network=ports.network,
            files=ports.files,
            cgroups=ports.cgroups,
            reach=ports.reach,
            images=Images(ports.runtime, ports.clock),
            objects=self._objects,
            tokens=Tokens(ports.client, ports.clock),
            recorder=self._events.recorder("kubelet", host=self.config.node),
            status=self._status,
            clock=ports.clock,
            fence=ports.fence,
            services=self._services.list,
            host=Host(tuple(self.config.addresses), info.name),
            runtime_info=info,
            allocatable=amounts,
            node_memory=to_int(amounts["memory"]),
            node_hosts=ports.node_hosts,
            node_resolv_conf=ports.node_resolv_conf,
            turns=ports.turns,
        )

    async def _list_runtime(self) -> tuple[dict[str, list[SandboxStatus]], dict[str, list[ContainerStatus]]]:
        """Everything on the node by pod UID; waits for a runtime that is away."""
        while True:
            try:
                sandboxes = await self.ports.runtime.sandboxes()
                containers = await self.ports.runtime.containers()
            except RuntimeFailure as error:
                log.warning("runtime.away node=%s reason=%s", self.config.node, error)
                await asyncio.sleep(RUNTIME_RETRY_SECONDS)
                continue
            await self.ports.network.retain(frozenset(s.id for s in sandboxes))
            return group(sandboxes), group(containers)

    def _adopt(self, sandboxes: dict[str, list[SandboxStatus]], containers: dict[str, list[ContainerStatus]]) -> None:
        """Give every pod we remember its worker back, with what still runs of it, before the API has been heard."""
        saved = self.ports.checkpoints.load()
        for checkpoint in saved.values():
            self._objects.restore(checkpoint.objects)
        self._orphans.found(sandboxes, containers)
        for uid, checkpoint in saved.items():
            known = self._pods.get(key_of(checkpoint.pod))
            newest = known if known is not None and uid_of(known) == uid else checkpoint.pod
            self._begin(newest, checkpoint)
        log.info("node.adopted node=%s pods=%d", self.config.node, len(saved))

    def _begin(self, pod: Object, checkpoint: Checkpoint | None = None) -> None:
        """A worker for a pod: with the sandboxes and containers that were found for it, if any."""
        uid = uid_of(pod)
        memory = self._orphans.claim(uid)
        fresh = memory is None and not (pod.get("status") or {}).get("startTime")
        if checkpoint is not None:
            memory = memory or PodMemory()
            memory.verdict = checkpoint.verdict
            memory.volumes_ready = self.ports.files.prepared(uid)
            if not pod.get("status"):
                pod = pod | {"status": checkpoint.pod.get("status") or {}}
        elif memory is not None:
            memory.volumes_ready = self.ports.files.prepared(uid)
        worker = PodWorker(pod, self.context, memory=memory, on_end=self._ended, on_status=self._remember)
        if fresh:
            others = [w.pod for w in self.workers.values() if not w.memory.finished]
            worker.memory.verdict = refuse(pod, others, self.context.allocatable)
            if worker.memory.verdict is not None:
                verdict = worker.memory.verdict
                self.context.recorder.record(pod, "Warning", verdict.reason, verdict.message)
        self.workers[uid] = worker
        self._tasks[uid] = asyncio.create_task(worker.run(), name=f"pod {key_of(pod)}")
        self._tasks[uid].add_done_callback(lambda task: self._worker_stopped(uid, task))
        self._guard()

    def _answered(self, sent: float) -> None:
        """A heartbeat has been answered: the node is in touch, as of the moment it was sent."""
        if self.ports.fence is not None:
            self.ports.fence.answered(sent)

    def _guard(self) -> None:
        """Tell the fence which cgroups to end when the node is out of touch."""
        if self.ports.fence is None:
            return
        config, driver = self.config, self.context.runtime_info.cgroup_driver
        uids = [uid for uid, worker in self.workers.items() if exclusive(worker.pod)]
        cgroups = {uid: pod_cgroup(config.cluster, config.node, uid, driver) for uid in uids}
        self.ports.fence.guard(Guarded(config.fence_seconds, cgroups))

    async def _look_at_fence(self, fence: Fence) -> None:
        """Take note of pods that the fence has ended, also of those it ended while no agent ran."""
        while True:
            for uid in fence.take_fenced():
                if (worker := self.workers.get(uid)) is not None:
                    log.warning("pod.fenced uid=%s", uid)
                    worker.fenced()
            await asyncio.sleep(FENCE_LOOK_SECONDS)

    def _worker_stopped(self, uid: str, task: asyncio.Task[None]) -> None:
        """A worker that fell is a fault of ours: it is logged, and the pod gets a new one after a while."""
        if task.cancelled() or task.exception() is None:
            return
        log.error("pod.worker_failed uid=%s", uid, exc_info=task.exception())
        worker = self.workers.get(uid)
        if worker is not None:
            asyncio.get_running_loop().call_later(RUNTIME_RETRY_SECONDS, self._restart, worker)

    def _restart(self, worker: PodWorker) -> None:
        if self.workers.get(worker.uid) is worker and self._tasks[worker.uid].done():
            self._tasks[worker.uid] = asyncio.create_task(worker.run(), name=f"pod {key_of(worker.pod)}")
            self._tasks[worker.uid].add_done_callback(lambda task: self._worker_stopped(worker.uid, task))
            worker.ring_runtime()

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        """A doorbell from the informer."""
        if new is None:
            if old is not None:
                self._status.forget(uid_of(old))
                if (worker := self.workers.get(uid_of(old))) is not None:
                    worker.gone()
            return
        uid = uid_of(new)
        worker = self.workers.get(uid)
        self._status.seen(new)
        if worker is None:
            self._begin(new)
        else:
            worker.update(new)

    async def _settle(self) -> None:
        """Once the API has been read: what it does not know of is removed, and nothing before that. Then now and then
        again: what could not be removed, and what came into being after its pod had gone."""
        present = {uid_of(pod) for pod in self._pods.list()}
        for uid, worker in list(self.workers.items()):
            if uid not in present:
                worker.gone()
        while True:
            await self._orphans.remove(known=set(self.workers))
            await asyncio.sleep(SWEEP_SECONDS)
            try:
                sandboxes = group(await self.ports.runtime.sandboxes())
                containers = group(await self.ports.runtime.containers())
            except RuntimeFailure as error:
                log.warning("runtime.away node=%s reason=%s", self.config.node, error)
                continue
            # A pod has its worker before it has anything else: what has none now belongs to nobody.
            ours = set(self.workers)
            self._orphans.found(without(sandboxes, ours), without(containers, ours))

    def _ended(self, uid: str) -> None:
        """A worker is through: nothing of its pod is left."""
        self.workers.pop(uid, None)
        self._tasks.pop(uid, None)
        self._keeper.forget(uid)
        self._guard()

    def _object_changed(self, reference: Reference, pod_uids: frozenset[str]) -> None:
        del reference
        for uid in pod_uids:
            if (worker := self.workers.get(uid)) is not None:
                worker.objects_changed()

    def _remember(self, pod: Object, status: Object) -> None:
        worker = self.workers.get(uid_of(pod))
        self._keeper.remember(pod, status, worker.memory.verdict if worker is not None else None)

    async def _collect_images(self) -> None:
        """Make room when the disk is nearly full."""

        def used() -> float:
            pressure = self.ports.pressure()
            return 1 - pressure.disk_free / pressure.disk_total

        while True:
            await asyncio.sleep(COLLECT_SECONDS)
            if used() < COLLECT_ABOVE:
                continue
            try:
                await self.context.images.collect(lambda: used() < COLLECT_UNTIL)
            except RuntimeFailure as error:
                log.warning("image.collection_failed node=%s reason=%s", self.config.node, error)

    async def _follow_runtime(self) -> None:
        """The runtime's doorbells; after a break everything is read again."""
        while True:
            try:
                async for event in self.ports.runtime.events():
                    self._runtime_event(event.pod_uid, event.container_id)
            except RuntimeFailure as error:
                log.warning("runtime.away node=%s reason=%s", self.config.node, error)
            await asyncio.sleep(RUNTIME_RETRY_SECONDS)

    def _runtime_event(self, pod_uid: str, container_id: str) -> None:
        if not pod_uid and not container_id:
            self._relist_bell.set()
            return
        worker = self.workers.get(pod_uid)
        if worker is None:
            return
        worker.ring_runtime()
        if any(s.id == container_id for s in worker.memory.sandboxes):
            self._relist_bell.set()

    async def _relist_forever(self) -> None:
        """Read all sandboxes now and then, and whenever one of them has changed."""
        while True:
            try:
                async with asyncio.timeout(RELIST_SECONDS):
                    await self._relist_bell.wait()
            except TimeoutError:
                pass
            self._relist_bell.clear()
            try:
                await self._relist()
            except RuntimeFailure as error:
                log.warning("runtime.away node=%s reason=%s", self.config.node, error)

    async def _relist(self) -> None:
        versions = {uid: worker.sandboxes_version for uid, worker in self.workers.items()}
        by_pod = group(await self.ports.runtime.sandboxes())
        for uid, version in versions.items():
            if (worker := self.workers.get(uid)) is not None:
                worker.sandboxes_seen(by_pod.get(uid, []), version)


def group(statuses: list[T]) -> dict[str, list[T]]:
    """Statuses by pod UID, without warm sandboxes."""
    result: dict[str, list[T]] = {}
    for status in statuses:
        if status.pod_uid:
            result.setdefault(status.pod_uid, []).append(status)
    return result


def without(by_pod: dict[str, list[T]], uids: set[str]) -> dict[str, list[T]]:
    """What belongs to other pods than these."""
    return {uid: statuses for uid, statuses in by_pod.items() if uid not in uids}

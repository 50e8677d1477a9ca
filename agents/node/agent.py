"""The node's part of the agent: hands pods to their workers, keeps the Node registered, adopts what already runs.

All ports come in from outside (`agents.main`, or a simulation). Nothing here decides about pods: that is
`agents.node.plan`.
"""

from __future__ import annotations

import asyncio
import logging

from agents.node.agent_ports import Ports
from agents.node.cgroups.shares import ClassShares
from agents.node.checkpoints import Checkpoint
from agents.node.context import NodeContext
from agents.node.fenced_pods import FencedPods
from agents.node.heartbeat import beat
from agents.node.image_room import keep_room
from agents.node.images import Images
from agents.node.keeper import CheckpointKeeper
from agents.node.memory import PodMemory
from agents.node.network_port import NetworkFailure
from agents.node.node_status import capacity
from agents.node.objects import Reference, ReferencedObjects
from agents.node.orphans import Orphans
from agents.node.ports import RuntimeInfo
from agents.node.registration import Registration
from agents.node.resources import refuse
from agents.node.runtime_watch import RuntimeWatch
from agents.node.services import NodeServices
from agents.node.status import Host
from agents.node.status_writer import StatusWriter
from agents.node.tokens import Tokens
from agents.node.touch import Touch, declared_unknown
from agents.node.worker import PodWorker
from agents.node.workers import Workers
from mesh.bus.port import Bus
from mesh.client.events import EventBroadcaster
from mesh.client.shared import SharedInformers
from mesh.config import AgentConfig
from mesh.objects.kinds import NODES, PODS, SERVICES
from mesh.objects.meta import Key, key_of, uid_of
from mesh.objects.quantity import to_int
from mesh.objects.types import Object

log = logging.getLogger(__name__)

SWEEP_SECONDS = 60.0
HEARTBEATS_MISSED = 3
"""After so many heartbeats without an answer the node is out of touch: before the leader declares it silent."""
EVENTS_AT_ONCE = 2
"""Objects whose Events are being written at the same time: few, since all nodes write to the same servers."""


class NodeAgent:
    """One node's pods. `run` works until it is cancelled; containers go on after that."""

    def __init__(self, config: AgentConfig, ports: Ports, informers: SharedInformers) -> None:
        self.config = config
        self.ports = ports
        self.workers = Workers()
        self.adopted = asyncio.Event()
        """Set once everything found in the runtime belongs to somebody: warm sandboxes may be made from then on."""
        self._pods = informers.get_or_create(PODS, field_selector=f"spec.nodeName={config.node}")
        nodes = informers.get_or_create(NODES, field_selector=f"metadata.name={config.node}")
        self._events = EventBroadcaster(ports.client, ports.clock, at_once=EVENTS_AT_ONCE)
        self._nodes = nodes
        self._touch = Touch(config.heartbeat_seconds * HEARTBEATS_MISSED)
        self._status = StatusWriter(ports.client, self._silenced)
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
            silenced=self._silenced,
        )
        self._keeper = CheckpointKeeper(ports.checkpoints, self._objects)
        self._service_cache = informers.get_or_create(SERVICES)
        self._services = NodeServices(self._service_cache, self._keeper, self.workers.namespaces)
        self._watch = RuntimeWatch(config.node, ports.runtime, self.workers)
        self._context: NodeContext | None = None
        self._orphans: Orphans
        self._shares: ClassShares
        self._fenced: FencedPods | None = None

    @property
    def context(self) -> NodeContext:
        """What workers share. Raises `RuntimeError` before `run` has heard from the runtime."""
        if self._context is None:
            raise RuntimeError("the node agent has not started yet")
        return self._context

    async def run(self) -> None:
        """Adopt what runs, then follow the API until cancelled. The informers are run by who made them."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._events.run())
                tasks.create_task(self.registration.run())
                tasks.create_task(self._keeper.run())
                if self.ports.bus is not None:
                    tasks.create_task(self._beat(self.ports.bus))
                self._equip(await self._watch.info())
                await self._adopt()
                self.adopted.set()
                if self._fenced is not None:
                    tasks.create_task(self._fenced.run())
                tasks.create_task(self._shares.run())
                tasks.create_task(self._watch.run())
                tasks.create_task(keep_room(self.context.images, self.ports.pressure))
                tasks.create_task(self._services.run())
                await self._service_cache.synced()  # new containers get variables for every Service there is
                self._pods.add_handler(self._pod_changed)
                await self._pods.synced()
                tasks.create_task(self._settle())
        finally:
            await self._close()

    async def _close(self) -> None:
        await self.workers.close()
        await self._objects.close()
        await self._status.close()

    async def _beat(self, bus: Bus) -> None:
        """Heartbeats; an answered one says that the node is in touch, as of the moment it was sent."""
        config = self.config
        await beat(bus, config.node, config.heartbeat_seconds, self.ports.clock, self._answered)

    def _equip(self, info: RuntimeInfo) -> None:
        """What can only be made once the runtime has said what it is."""
        context = self._context = self._make_context(info)
        self._orphans = Orphans(context)
        self._shares = ClassShares(context.cgroups, context.allocatable, self.workers.pods)
        if context.fence is not None:
            seconds = self.config.fence_seconds
            self._fenced = FencedPods(context.fence, seconds, self.workers, context.cgroups, self._pods)

    def _make_context(self, info: RuntimeInfo) -> NodeContext:
        ports, amounts = self.ports, capacity(self.config, self.ports.machine)
        return NodeContext(
            config=self.config,
            client=ports.client,
            runtime=ports.runtime,
            network=ports.network,
            files=ports.files,
            cgroups=ports.make_cgroups(info),
            reach=ports.reach,
            images=Images(ports.runtime, ports.clock, self._keeper),
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

    async def _adopt(self) -> None:
        """Give every pod we remember its worker back, with what still runs of it, before the API has been heard."""
        inventory = await self._watch.inventory()
        try:
            await self.ports.network.retain(inventory.sandbox_ids)
        except NetworkFailure as error:  # what cannot be given back now goes with the next sandbox
            log.warning("network.not_retained node=%s reason=%s", self.config.node, error)
        saved = self.ports.checkpoints.load()
        for checkpoint in saved.values():
            self._objects.restore(checkpoint.objects)
        self._orphans.found(inventory)
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
            worker.memory.verdict = refuse(pod, self.workers.pods(), self.context.allocatable)
            if worker.memory.verdict is not None:
                verdict = worker.memory.verdict
                self.context.recorder.record(pod, "Warning", verdict.reason, verdict.message)
        if self._fenced is not None:
            self._fenced.greet(worker)
        self.workers.start(worker)
        self._workers_changed()

    def _workers_changed(self) -> None:
        """A worker has come or gone."""
        if self._fenced is not None:
            self._fenced.guard()
        self._shares.ring()
        self._services.ring()

    def _answered(self, sent: float) -> None:
        """A heartbeat has been answered: the node is in touch, as of the moment it was sent."""
        if self._touch.answered(sent, self.ports.clock.boottime()):
            self.registration.ring()
            for worker in self.workers.values():
                worker.ring()
        if self.ports.fence is not None:
            self.ports.fence.answered(sent)

    def _silenced(self) -> bool:
        """Whether the controller has declared us unreachable, and our heartbeats do not prove the contrary."""
        if self.ports.bus is None or self._touch.holds(self.ports.clock.boottime()):
            return False
        return declared_unknown(self._nodes.get(Key("", self.config.node)))

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
        if self._fenced is not None:
            self._fenced.settle()
        present = {uid_of(pod) for pod in self._pods.list()}
        for uid, worker in list(self.workers.items()):
            if uid not in present:
                worker.gone()
        while True:
            await self._orphans.remove(known=set(self.workers))
            await asyncio.sleep(SWEEP_SECONDS)
            # A pod has its worker before it has anything else: what has none now belongs to nobody.
            self._orphans.found((await self._watch.inventory()).without(set(self.workers)))

    def _ended(self, uid: str) -> None:
        """A worker is through: nothing of its pod is left."""
        self.workers.remove(uid)
        self._keeper.forget(uid)
        self._workers_changed()

    def _object_changed(self, reference: Reference, pod_uids: frozenset[str]) -> None:
        del reference
        for uid in pod_uids:
            if (worker := self.workers.get(uid)) is not None:
                worker.objects_changed()

    def _remember(self, pod: Object, status: Object) -> None:
        worker = self.workers.get(uid_of(pod))
        self._keeper.remember(pod, status, worker.memory.verdict if worker is not None else None)

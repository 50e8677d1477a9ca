"""One simulated node: the real agent on a fake runtime, a model of the API, and the loop's (virtual) time."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from agents.node.agent import NodeAgent
from agents.node.agent_ports import Ports
from agents.node.cgroups.pods import MakeCgroups, NoCgroups
from agents.node.checkpoints import Checkpoints, MemoryCheckpoints
from agents.node.fence_guard import LoopFence
from agents.node.files import PodFiles
from agents.node.files_memory import MemoryFiles
from agents.node.machine import SIMULATED, at_ease
from agents.node.network_port import PodAddresses
from agents.node.reach_simulated import DialReach
from agents.node.runtimes.fake import FakeRuntime
from agents.node.runtimes.fake_policy import Policy
from agents.node.sysctls import NONE
from mesh.api.port import Request, WatchEvent
from mesh.bus.port import Bus
from mesh.client.client import Client
from mesh.client.shared import SharedInformers
from mesh.clock import Clock
from mesh.config import AgentConfig, BusConfig
from mesh.errors import Unavailable
from mesh.objects.fields import parse
from mesh.objects.kinds import EVENTS, NODES, PODS
from mesh.objects.meta import Key, format_time, is_deleting, thaw
from mesh.objects.strategic import strategic_merge_patch
from mesh.objects.types import Object
from tests.support.api_model import ApiModel, ModelTransport, parse_path

START = datetime(2026, 1, 1, tzinfo=UTC)


class LoopClock:
    """The running loop's time as a Clock."""

    def __init__(self) -> None:
        self._zero = asyncio.get_running_loop().time()

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time() - self._zero

    boottime = monotonic

    def now(self) -> datetime:
        return START + timedelta(seconds=self.monotonic())


class NodeTransport(ModelTransport):
    """What an agent needs beyond the model: field selectors, strategic merge, graceful deletion, tokens."""

    def __init__(self, model: ApiModel) -> None:
        super().__init__(model)
        self.down = False
        self.fail = self._fail

    def _fail(self, _request: Request) -> Unavailable | None:
        return Unavailable("no broker") if self.down else None

    def _answer(self, request: Request) -> Object:
        resource, namespace, name, subresource = parse_path(request.path)
        if request.method == "GET" and not name:
            answer = super()._answer(request)
            answer["items"] = [o for o in answer["items"] if selected(o, request)]
            return answer
        if request.method == "PATCH" and "strategic" in request.content_type:
            old = self.model.get(resource, Key(namespace, name))
            patch = orjson.loads(request.body)
            if patch.get("metadata", {}).get("uid", old["metadata"]["uid"]) != old["metadata"]["uid"]:
                return self.model.patch(resource, Key(namespace, name), patch)
            new = strategic_merge_patch(thaw(old), patch, resource.api_version, resource.kind)
            if resource is PODS and is_deleting(old):  # the model would let it go with any write
                return self.model._store("MODIFIED", resource, new)
            return self.model.update(resource, new, subresource)
        if subresource == "token":
            expires = format_time(self.model.now + timedelta(hours=1))
            return {"status": {"token": f"token-of-{name}", "expirationTimestamp": expires}}
        return super()._answer(request)

    async def watch(self, request: Request) -> AsyncIterator[WatchEvent]:
        async for event in super().watch(request):
            if selected(event.object, request):
                yield event


def selected(obj: Object, request: Request) -> bool:
    """Whether the request's field selector chooses the object."""
    fields = {"metadata.name": obj["metadata"]["name"], "spec.nodeName": obj.get("spec", {}).get("nodeName", "")}
    return parse(request.param("fieldSelector")).matches(fields)


class Addresses:
    """A pod network that only hands out addresses."""

    def __init__(self) -> None:
        self.given: dict[str, str] = {}
        self.sysctls: dict[str, dict[str, str]] = {}
        self._count = 0

    async def attach(self, sandbox_id: str, netns: str, sysctls: Mapping[str, str] = NONE) -> PodAddresses:
        self.sysctls[sandbox_id] = dict(sysctls)
        if sandbox_id not in self.given:
            self._count += 1
            self.given[sandbox_id] = f"10.64.0.{self._count}"
        return PodAddresses((self.given[sandbox_id],))

    async def detach(self, sandbox_id: str) -> None:
        self.given.pop(sandbox_id, None)

    async def retain(self, sandbox_ids: frozenset[str]) -> None:
        for gone in set(self.given) - sandbox_ids:
            del self.given[gone]


class NodeWorld:
    """A cluster of one node. What outlives the agent (runtime, disk, API) outlives `restart`."""

    def __init__(self, policy: Policy | None = None) -> None:
        self.clock: Clock = LoopClock()
        self.model = ApiModel(graceful=True)
        self.transport = NodeTransport(self.model)
        self.runtime: Any = FakeRuntime(self.clock, policy)
        self.network = Addresses()
        self.files: PodFiles = MemoryFiles()
        self.checkpoints: Checkpoints = MemoryCheckpoints()
        self.config = AgentConfig(
            node="n1",
            addresses=["192.0.2.1"],
            bus=BusConfig(servers=[], seed_file=""),
            state_dir="/nowhere",
            runtime="fake",
        )
        self.make_cgroups: MakeCgroups = lambda _: NoCgroups()
        self.fence: LoopFence | None = None
        self.bus: Bus | None = None
        """None: the agent sends no heartbeats."""
        self.agent: NodeAgent
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the agent."""
        client = Client(self.transport)
        informers = SharedInformers(client, random.Random(1), detect_mutations=True)
        ports = Ports(
            client=client,
            bus=self.bus,
            runtime=self.runtime,
            network=self.network,
            files=self.files,
            make_cgroups=self.make_cgroups,
            checkpoints=self.checkpoints,
            reach=DialReach(self.runtime, lambda address: self.agent.workers.sandbox_of(address)),  # noqa: PLW0108 - made below
            machine=SIMULATED,
            pressure=at_ease,
            clock=self.clock,
            rng=random.Random(2),
            fence=self.fence,
        )
        self.agent = NodeAgent(self.config, ports, informers)

        async def both() -> None:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(informers.run())
                tasks.create_task(self.agent.run())

        self._task = asyncio.create_task(both())
        await asyncio.sleep(0)

    async def stop(self) -> None:
        """The agent ends; containers go on."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def restart(self) -> None:
        """The agent ends and starts anew, without its memory."""
        await self.stop()
        await self.start()

    def create(self, pod: Object) -> Object:
        """A pod bound to this node."""
        self.model.now = self.clock.now()
        pod["spec"].setdefault("nodeName", "n1")
        return self.model.create(PODS, pod)

    def pod(self, name: str = "p") -> Object:
        """The pod as the API shows it."""
        return self.model.get(PODS, Key("default", name))

    def node(self) -> Object:
        """The Node as the API shows it."""
        return self.model.get(NODES, Key("", "n1"))

    def exists(self, name: str = "p") -> bool:
        return Key("default", name) in self.model.objects[PODS]

    def delete(self, name: str = "p", grace: int = 30) -> None:
        """What the API server does with a graceful deletion."""
        pod = thaw(self.pod(name))
        deadline = self.clock.now() + timedelta(seconds=grace)
        pod["metadata"] |= {"deletionTimestamp": format_time(deadline), "deletionGracePeriodSeconds": grace}
        self.model._store("MODIFIED", PODS, pod)

    def events(self, about: str = "p") -> list[tuple[str, str]]:
        """(reason, message) of what was recorded about a pod, in order."""
        found = sorted(self.model.all(EVENTS), key=lambda e: int(e["metadata"]["resourceVersion"]))
        return [(e["reason"], e["message"]) for e in found if e["involvedObject"]["name"] == about]

    async def until(self, holds: Callable[[], bool], within: float = 60.0) -> None:
        """Wait on virtual time until a condition holds."""
        async with asyncio.timeout(within):
            while not holds():  # noqa: ASYNC110 - on virtual time, over the world's outside
                await asyncio.sleep(0.05)

    async def until_phase(self, phase: str, name: str = "p", within: float = 60.0) -> Object:
        await self.until(lambda: self.pod(name).get("status", {}).get("phase") == phase, within)
        return self.pod(name)


@contextlib.asynccontextmanager
async def node_world(policy: Policy | None = None) -> AsyncIterator[NodeWorld]:
    """A running node that has its pod CIDR."""
    world = NodeWorld(policy)
    await world.start()
    await world.until(lambda: Key("", "n1") in world.model.objects[NODES])
    try:
        yield world
    finally:
        await world.stop()


def make_pod(name: str = "p", **spec: object) -> Object:
    """A pod of one container `a` unless `containers` says otherwise."""
    containers = spec.pop("containers", [{"name": "a", "image": "web:1", "imagePullPolicy": "IfNotPresent"}])
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"containers": containers, "restartPolicy": "Always", **spec},
        "status": {"phase": "Pending"},
    }


def state_of(pod: Object, container: str = "a") -> Object:
    """`state` of one container status."""
    statuses = pod["status"].get("initContainerStatuses", []) + pod["status"].get("containerStatuses", [])
    return next((s["state"] for s in statuses if s["name"] == container), {})


def conditions(pod: Object) -> dict[str, str]:
    """Condition types to their statuses."""
    return {c["type"]: c["status"] for c in pod["status"]["conditions"]}


__all__ = ["NodeWorld", "conditions", "is_deleting", "make_pod", "node_world", "state_of"]

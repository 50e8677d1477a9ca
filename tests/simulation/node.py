"""One simulated machine with a node agent: the real agent on a fake runtime, and what outlives the agent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from agents.network.fake import FakePodNetwork
from agents.node.agent import NodeAgent
from agents.node.agent_ports import Ports
from agents.node.calls import NodeCalls
from agents.node.cgroups.pods import NoCgroups
from agents.node.checkpoints import MemoryCheckpoints
from agents.node.fence_guard import LoopFence
from agents.node.files_memory import MemoryFiles
from agents.node.machine import SIMULATED, at_ease
from agents.node.ports import ContainerSpec, State
from agents.node.reach_simulated import DialReach
from agents.node.runtimes.fake import FakeRuntime
from agents.node.runtimes.fake_policy import Behaviour, Policy
from mesh.bus.api_client import BusTransport
from mesh.bus.calls import CallServer
from mesh.client.client import Client
from mesh.client.shared import SharedInformers
from mesh.clock import Clock
from mesh.config import AgentConfig, BusConfig
from mesh.objects.types import Object
from tests.simulation.process import Process, ProcessBus
from tests.simulation.virtual import MachineClock

if TYPE_CHECKING:
    from tests.simulation.world import World


class WatchedRuntime(FakeRuntime):
    """A fake runtime that tells the simulation of every change, as it happens."""

    def __init__(self, clock: Clock, policy: Policy, changed: Callable[[], None]) -> None:
        super().__init__(clock, policy)
        self._changed = changed

    def _ring(self, pod_uid: str, container_id: str) -> None:
        super()._ring(pod_uid, container_id)
        self._changed()

    def running(self) -> dict[str, str]:
        """Container id to pod UID, of all that run; read directly, also when the daemon is away."""
        return {i: c.spec.pod_uid for i, c in self._containers.items() if c.status.state is State.RUNNING}

    def present(self) -> set[str]:
        """UIDs of pods of which anything is left."""
        return {c.spec.pod_uid for c in self._containers.values()} | {s.pod_uid for s in self._sandboxes.values()}

    def sandbox_ids(self) -> set[str]:
        """All sandboxes, also those that have stopped."""
        return set(self._sandboxes)

    def live_sandboxes(self) -> dict[str, str]:
        """Sandbox id to pod UID, of all that run."""
        return {s.id: s.pod_uid for s in self._sandboxes.values() if s.state is State.RUNNING}


class Node:
    """A machine. The runtime, the disk, the pod network and the fence's watchdog outlive the agent."""

    def __init__(self, world: World, name: str, number: int) -> None:
        self.name = name
        self.identity = f"UN{name.upper()}"
        self.clock = MachineClock()
        self._world = world
        self._behave_rng = world.rng(f"{name} containers")
        policy = Policy(behave=self._behave, sandbox_delay=0.05, pull_delay=0.5)
        self.runtime = WatchedRuntime(self.clock, policy, world.containers_changed)
        self.network = FakePodNetwork()
        self.config = AgentConfig(
            node=name,
            addresses=[f"192.0.2.{number}"],
            bus=BusConfig(servers=[], seed_file=""),
            state_dir="/nowhere",
            runtime="fake",
        )
        self.informers: SharedInformers | None = None
        self.agent: NodeAgent | None = None
        self.powered = False
        self.agent_running = False
        self._files = MemoryFiles()
        self._checkpoints = MemoryCheckpoints()
        self._fence: LoopFence | None = None
        self._life = 0
        self._agent_process: Process | None = None
        self._watchdog: Process | None = None

    def _behave(self, spec: ContainerSpec) -> Behaviour:
        """Containers that start and stop at their own pace."""
        del spec
        rng = self._behave_rng
        return Behaviour(start_delay=rng.uniform(0.05, 0.5), stop_delay=rng.choice((0.1, 0.5, 2.0)))

    # Life of the machine

    def boot(self) -> None:
        """Power on: the watchdog and the agent start; nothing runs yet."""
        assert not self.powered
        self.powered = True
        self._fence = LoopFence(self.clock, self.config.fence_seconds, self._kill_pods)
        self._watchdog = Process(f"{self.name}/watchdog", _nothing)
        self._watchdog.spawn(self._fence.run())
        self.start_agent()

    async def lose_power(self) -> None:
        """Everything on the machine ends at once; the disk stays."""
        await self.crash_agent()
        if self._watchdog is not None:
            await self._watchdog.kill()
        self.runtime.power_off()
        self.powered = False

    def _kill_pods(self, uids: frozenset[str]) -> frozenset[str]:
        hit = frozenset(uid for uid in self.runtime.running().values() if uid in uids)
        if hit:
            self._world.trace.note(self.name, f"fence ends {len(hit)} pods")
            self.runtime.kill_pods(hit)
        return hit

    # Life of the agent

    def start_agent(self) -> None:
        """Start the agent, with what it finds on the machine."""
        assert self.powered
        assert not self.agent_running
        self._life += 1
        self.agent_running = True
        memory_bus = self._world.broker.connect(self.identity)
        if self.identity in self._world.cut_off:
            memory_bus.set_connected(up=False)
        process = Process(f"{self.name}/agent/{self._life}", memory_bus.close)
        self._agent_process = process
        process.spawn(self._main(ProcessBus(memory_bus, process), process))

    async def crash_agent(self) -> None:
        """Kill -9; containers go on."""
        if self.agent_running and self._agent_process is not None:
            self.agent_running = False
            self.agent = self.informers = None
            await self._agent_process.kill()

    async def _main(self, bus: ProcessBus, process: Process) -> None:
        try:
            await self._serve(bus)
        except Exception as error:  # noqa: BLE001 - whatever ends an agent is for the trace to tell
            self._world.fail("No process ends by itself.", f"{process.name} ended with {error!r}", error)

    async def _serve(self, bus: ProcessBus) -> None:
        world = self._world
        rng = world.rng(f"{self.name} life {self._life}")
        client = Client(BusTransport(bus), user_agent=f"covey-agent/{self.name}")
        informers = SharedInformers(client, rng, detect_mutations=True)
        ports = Ports(
            client=client,
            bus=bus,
            runtime=self.runtime,
            network=self.network,
            files=self._files,
            checkpoints=self._checkpoints,
            reach=DialReach(self.runtime, lambda address: agent.workers.sandbox_of(address)),  # noqa: PLW0108 - made below
            machine=SIMULATED,
            pressure=at_ease,
            clock=self.clock,
            rng=rng,
            fence=self._fence,
            make_cgroups=lambda _: NoCgroups(),
        )
        agent = NodeAgent(self.config, ports, informers)
        self.agent, self.informers = agent, informers
        calls = CallServer(bus)
        NodeCalls(agent).register(calls)
        await calls.start()
        async with asyncio.TaskGroup() as tasks:

            def configure(node: Object) -> None:
                tasks.create_task(self.network.configure(node["spec"].get("podCIDRs") or ()))

            agent.registration.on_node.append(configure)
            tasks.create_task(informers.run())
            tasks.create_task(agent.run())


async def _nothing() -> None:
    """A process that holds no connection."""

"""Entry point of `covey agent`: one node's pods, pod network and DNS in one process, over one connection to the broker.

The only place where real adapters are wired in. `run` serves a real node; `run_many` plays nodes with fake containers
in one process, each with its own identity and connection, for tests of scale.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import signal
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from agents.dns.cluster import open_dns
from agents.network.fake import FakePodNetwork
from agents.network.node import open_network
from agents.node.agent import NodeAgent
from agents.node.agent_ports import Ports
from agents.node.calls import NodeCalls
from agents.node.cgroups.pods import KernelCgroups, NoCgroups
from agents.node.checkpoints import DiskCheckpoints, MemoryCheckpoints
from agents.node.fence_guard import WatchdogFence
from agents.node.files_disk import DiskFiles
from agents.node.files_memory import MemoryFiles
from agents.node.machine import SIMULATED, at_ease, read_machine, read_pressure
from agents.node.network_port import PodNetwork
from agents.node.reach import SocketReach
from agents.node.reach_simulated import DialReach
from agents.node.runtimes.docker import DockerRuntime, DockerSettings
from agents.node.runtimes.fake import FakeRuntime
from mesh.bus.api_client import BusTransport
from mesh.bus.calls import CallServer
from mesh.bus.identities import load_signer
from mesh.bus.nats import NatsBus
from mesh.client.client import Client
from mesh.client.shared import SharedInformers
from mesh.clock import SystemClock
from mesh.collector import take_small_steps
from mesh.config import AgentConfig
from mesh.errors import CoveyError, Terminal
from mesh.objects.kinds import ENDPOINTSLICES, NODES, SERVICES
from mesh.objects.types import Object
from mesh.turns import Turns

log = logging.getLogger(__name__)

RESOLVERS = ("/run/systemd/resolve/resolv.conf", "/etc/resolv.conf")
"""Where the machine says whom it asks: systemd's own list first, since its stub is not in reach of pods."""

WARM_RETRY_SECONDS = 5.0


async def run(config: AgentConfig) -> None:
    """Serve the node until SIGTERM or SIGINT; its containers go on after that. Raises `Terminal` when it cannot."""
    await _until_told([config])


async def run_many(configs: Sequence[AgentConfig]) -> None:
    """Serve several nodes (with `runtime: fake`) in this process until SIGTERM or SIGINT."""
    take_small_steps()
    await _until_told(configs)


async def _until_told(configs: Sequence[AgentConfig]) -> None:
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    async with asyncio.TaskGroup() as tasks:
        turns = Turns()
        nodes = [tasks.create_task(_serve(config, turns), name=f"node {config.node}") for config in configs]
        await told.wait()
        for node in nodes:
            node.cancel()


async def _serve(config: AgentConfig, turns: Turns) -> None:
    """One node, from connecting to the broker to letting go of everything."""
    bus = NatsBus(config.bus.servers, load_signer(Path(config.bus.seed_file)), name=f"agent {config.node}")
    await bus.start(wait=0)  # with no broker in reach the node goes on with what it remembers
    client = Client(BusTransport(bus), user_agent=f"covey-agent/{config.node}")
    informers = SharedInformers(client, random.Random())
    serving = {"docker": _real_node, "fake": _fake_node}.get(config.runtime)
    if serving is None:
        raise Terminal(f"runtime {config.runtime!r} is not known: use docker or fake")
    try:
        async with serving(config, bus, client, informers, turns) as (agent, tasks):
            calls = CallServer(bus)
            NodeCalls(agent).register(calls)
            await calls.start()
            try:
                tasks.create_task(informers.run())
                await agent.run()
            finally:
                await calls.close()
    finally:
        await bus.close()


@contextlib.asynccontextmanager
async def _real_node(
    config: AgentConfig, bus: NatsBus, client: Client, informers: SharedInformers, turns: Turns
) -> AsyncIterator[tuple[NodeAgent, asyncio.TaskGroup]]:
    """Docker, the kernel, the disk."""
    state = _state_dir(config)
    clock = SystemClock()
    runtime = DockerRuntime(
        DockerSettings(
            cluster=config.cluster,
            node=config.node,
            state_dir=state / "runtime",
            socket=config.docker_socket,
            pause_image=config.pause_image,
            holder=config.holder,
        )
    )
    network = await open_network(config, informers.get_or_create(NODES))
    services, slices = informers.get_or_create(SERVICES), informers.get_or_create(ENDPOINTSLICES)
    dns = await open_dns(config, services, slices, clock, random.SystemRandom())
    reach = SocketReach()
    fence = WatchdogFence(state / "fence", config.fence_seconds, clock)
    ports = Ports(
        client=client,
        bus=bus,
        runtime=runtime,
        network=network.pods,
        files=DiskFiles(state / "pods"),
        make_cgroups=lambda info: KernelCgroups(config.cluster, config.node, info),
        checkpoints=DiskCheckpoints(state / "checkpoints"),
        reach=reach,
        machine=read_machine(config.state_dir),
        pressure=lambda: read_pressure(config.state_dir),
        clock=clock,
        rng=random.Random(),
        fence=fence,
        turns=turns,
        node_hosts=_hosts(),
        node_resolv_conf=_resolv_conf(),
    )
    agent = NodeAgent(config, ports, informers)

    async def keep_warm() -> None:
        await agent.adopted.wait()
        await begin_warming(runtime, network.pods, config)

    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(fence.keep_watched())
            tasks.create_task(network.run())
            tasks.create_task(keep_warm())
            yield agent, tasks
    finally:
        await runtime.close()
        await reach.close()
        await dns.close()
        await network.close()


async def begin_warming(runtime: DockerRuntime, pods: PodNetwork, config: AgentConfig) -> None:
    """Begin to keep warm sandboxes, however often it has to be tried: without them pods only start more slowly."""
    while True:
        try:
            return await runtime.keep_warm(pods, config.warm_sandboxes)
        except (CoveyError, OSError) as error:
            log.warning("node.not_warm node=%s retry_seconds=%g reason=%s", config.node, WARM_RETRY_SECONDS, error)
        await asyncio.sleep(WARM_RETRY_SECONDS)


@contextlib.asynccontextmanager
async def _fake_node(
    config: AgentConfig, bus: NatsBus, client: Client, informers: SharedInformers, turns: Turns
) -> AsyncIterator[tuple[NodeAgent, asyncio.TaskGroup]]:
    """Containers that are only records: for scale."""
    clock = SystemClock()
    runtime, network = FakeRuntime(clock), FakePodNetwork()
    ports = Ports(
        client=client,
        bus=bus,
        runtime=runtime,
        network=network,
        files=MemoryFiles(),
        make_cgroups=lambda _: NoCgroups(),
        checkpoints=MemoryCheckpoints(),
        reach=DialReach(runtime, lambda address: agent.workers.sandbox_of(address)),  # noqa: PLW0108 - made below
        machine=SIMULATED,
        pressure=at_ease,
        clock=clock,
        rng=random.Random(),
        turns=turns,
    )
    agent = NodeAgent(config, ports, informers)
    pending: set[asyncio.Task[None]] = set()

    def configure(node: Object) -> None:
        task = asyncio.ensure_future(network.configure(node["spec"].get("podCIDRs") or ()))
        pending.add(task)
        task.add_done_callback(pending.discard)

    agent.registration.on_node.append(configure)
    async with asyncio.TaskGroup() as tasks:
        yield agent, tasks


def _state_dir(config: AgentConfig) -> Path:
    """The agent's directory, made when absent; root's own, since Secrets lie in it."""
    state = Path(config.state_dir)
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    return state


def _hosts() -> str:
    """The machine's hosts file, for pods on the node's network."""
    return Path("/etc/hosts").read_text(encoding="utf-8")


def _resolv_conf() -> str:
    """The machine's resolver configuration, as pods with dnsPolicy Default get it."""
    for path in RESOLVERS:
        with contextlib.suppress(FileNotFoundError):
            return Path(path).read_text(encoding="utf-8")
    return ""

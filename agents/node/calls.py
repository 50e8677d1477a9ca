"""What servers may ask of this node over the bus: log, exec, attach, portforward, stats (docs/architecture.md)."""

from __future__ import annotations

from collections.abc import Mapping

from agents.node.agent import NodeAgent
from agents.node.call_forward import forward
from agents.node.call_log import send_log
from agents.node.call_process import attach, execute
from agents.node.ports import RuntimeFailure, State
from agents.node.worker import PodWorker
from mesh.api.port import Stream
from mesh.bus.calls import CallServer
from mesh.errors import NotFound
from mesh.objects.meta import format_micro_time, name_of, namespace_of
from mesh.objects.types import Json

Params = Mapping[str, Json]


class NodeCalls:
    """Serves calls about the pods of one agent."""

    def __init__(self, agent: NodeAgent) -> None:
        self._agent = agent

    def register(self, server: CallServer) -> None:
        """Offer all operations."""
        server.register_stream("log", self._log)
        server.register_stream("exec", self._exec)
        server.register_stream("attach", self._attach)
        server.register_stream("portforward", self._forward)
        server.register("stats", self._stats)

    def _worker(self, params: Params) -> PodWorker:
        namespace, name = str(params.get("namespace", "")), str(params.get("name", ""))
        worker = self._agent.workers.named(namespace, name, str(params.get("uid", "")))
        if worker is None:
            raise NotFound(f'pods "{name}" not found')
        return worker

    async def _log(self, params: Params, stream: Stream) -> None:
        ports = self._agent.ports
        await send_log(ports.runtime, self._worker(params), params, stream, now=ports.clock.now())

    async def _exec(self, params: Params, stream: Stream) -> None:
        await execute(self._agent.ports.runtime, self._worker(params), params, stream)

    async def _attach(self, params: Params, stream: Stream) -> None:
        await attach(self._agent.ports.runtime, self._worker(params), params, stream)

    async def _forward(self, params: Params, stream: Stream) -> None:
        await forward(self._agent.ports.runtime, self._worker(params), params, stream)

    async def _stats(self, params: Params) -> Json:
        """Usage of every running container: CPU time in nanoseconds since its start, working set in bytes."""
        del params
        return {"pods": [await self._pod_stats(worker) for worker in list(self._agent.workers.values())]}

    async def _pod_stats(self, worker: PodWorker) -> Json:
        containers = []
        for container in worker.memory.containers:
            if container.state is not State.RUNNING:
                continue
            try:
                usage = await self._agent.ports.runtime.stats(container.id)
            except RuntimeFailure:
                continue  # it ended while we asked: it uses nothing
            containers.append(
                {
                    "name": container.name,
                    "cpu_ns": usage.cpu_ns,
                    "memory_bytes": usage.memory_bytes,
                    "at": format_micro_time(usage.at),
                }
            )
        pod = worker.pod
        return {"namespace": namespace_of(pod), "name": name_of(pod), "uid": worker.uid, "containers": containers}

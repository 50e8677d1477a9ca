"""Runs the probes of one pod's containers: one task for each probe of each running container.

The thresholds are `agents.node.probe_state`; what a probe does is `agents.node.handlers`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from agents.node.context import NodeContext
from agents.node.handlers import Answer, http_headers, http_url, port_number, run_command
from agents.node.memory import PodMemory
from agents.node.observed import Observed
from agents.node.podspec import is_sidecar, places
from agents.node.ports import ContainerStatus, RuntimeAway, RuntimeFailure, State
from agents.node.probe_state import KINDS, ProbeSpec, Streak, health_after, initial_health, may_run, observe
from mesh.objects.types import Object

log = logging.getLogger(__name__)


class Tell(Protocol):
    """Records an event about a container."""

    def __call__(self, event_type: str, reason: str, message: str, container: str = "") -> None:
        """One event."""


class PodProbes:
    """The probes of one pod. Results go into the pod's memory, by container id; a change rings the worker."""

    def __init__(self, context: NodeContext, memory: PodMemory, tell: Tell, ring: Callable[[], None]) -> None:
        self._context = context
        self._memory = memory
        self._tell = tell
        self._ring = ring
        self._tasks: dict[str, list[asyncio.Task[None]]] = {}
        """By container id."""

    def sync(self, pod: Object, observed: Observed, *, ending: bool) -> None:
        """Probe exactly the containers that run; in a pod that ends only readiness still counts."""
        running: dict[str, tuple[Object, ContainerStatus]] = {}
        for place in places(pod):
            if place.list_field == "initContainers" and not is_sidecar(place.container):
                continue
            latest = observed.latest(place.container["name"])
            if latest is not None and latest.state is State.RUNNING and latest.id not in observed.hooks:
                running[latest.id] = (place.container, latest)
        for container_id in [c for c in self._tasks if c not in running]:
            for task in self._tasks.pop(container_id):
                task.cancel()
            self._memory.health.pop(container_id, None)
        if ending:
            for tasks in self._tasks.values():
                for task in tasks:
                    if not task.get_name().startswith("readiness"):
                        task.cancel()
            return
        for container_id, (container, latest) in running.items():
            if container_id not in self._tasks:
                self._begin(pod, container, latest)

    def _begin(self, pod: Object, container: Object, latest: ContainerStatus) -> None:
        health = initial_health(container)
        known = _reported(pod, latest)
        if known is not None and latest.id not in self._memory.health:
            # An adopted container is as well as it was reported, until its probes say otherwise.
            health = initial_health({}) if known else health
        self._memory.health.setdefault(latest.id, health)
        self._tasks[latest.id] = [
            asyncio.create_task(
                self._probe(kind, container[f"{kind}Probe"], container, latest), name=f"{kind} {latest.id}"
            )
            for kind in KINDS
            if f"{kind}Probe" in container
        ]

    async def _probe(self, kind: str, probe: Object, container: Object, running: ContainerStatus) -> None:
        spec, streak, clock = ProbeSpec.of(probe), Streak(), self._context.clock
        if running.started_at is not None:
            age = (clock.now() - running.started_at).total_seconds()
            await asyncio.sleep(max(spec.initial_delay - age, 0))
        while True:
            health = self._memory.health.get(running.id)
            if health is None or health.failed or (kind == "startup" and health.started):
                return
            if may_run(health, kind):
                try:
                    answer = await self._check(probe, spec, container, running.id)
                except RuntimeAway:
                    answer = None  # nothing is known, nothing may be concluded
                if answer is not None:
                    streak = observe(streak, spec, passed=answer.passed)
                    self._note(kind, answer, streak, spec=spec, container=container, container_id=running.id)
            # A readiness result is wanted as soon as possible after the start: look often until the container is up.
            waiting = kind != "startup" and not health.started
            await asyncio.sleep(min(1, spec.period) if waiting else spec.period)

    def _note(
        self, kind: str, answer: Answer, streak: Streak, *, spec: ProbeSpec, container: Object, container_id: str
    ) -> None:
        if not answer.passed:
            self._tell("Warning", "Unhealthy", f"{kind.capitalize()} probe failed: {answer.output}", container["name"])
        before = self._memory.health.get(container_id)
        if before is None:
            return
        after = health_after(before, kind, streak, spec, container)
        if after != before:
            log.info("probe.changed kind=%s container=%s health=%s", kind, container["name"], after)
            self._memory.health[container_id] = after
            self._ring()

    async def _check(self, probe: Object, spec: ProbeSpec, container: Object, container_id: str) -> Answer:
        """One try, within the probe's timeout."""
        reach, address = self._context.reach, self._address()
        try:
            if "exec" in probe:
                return await self._exec(probe, spec, container_id)
            if "httpGet" in probe:
                action = probe["httpGet"]
                return await reach.http(http_url(container, action, address), http_headers(action), spec.timeout)
            if "tcpSocket" in probe:
                action = probe["tcpSocket"]
                return await reach.tcp(
                    action.get("host") or address, port_number(container, action["port"]), spec.timeout
                )
            action = probe.get("grpc") or {}
            return await reach.grpc(address, int(action["port"]), action.get("service") or "", spec.timeout)
        except ValueError as error:
            return Answer(False, str(error))

    async def _exec(self, probe: Object, spec: ProbeSpec, container_id: str) -> Answer:
        command = list(probe["exec"].get("command") or ())
        try:
            async with asyncio.timeout(spec.timeout):
                code, output = await run_command(self._context.runtime, container_id, command)
        except TimeoutError:
            return Answer(False, f'command timed out: "{" ".join(command)}" timed out after {spec.timeout:g}s')
        except RuntimeAway:
            raise
        except RuntimeFailure as error:
            return Answer(False, error.message)
        return Answer(code == 0, output)

    def _address(self) -> str:
        addresses = self._memory.addresses or self._context.host.addresses
        return addresses[0] if addresses else "127.0.0.1"

    async def close(self) -> None:
        """Stop probing."""
        tasks = [task for tasks in self._tasks.values() for task in tasks]
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _reported(pod: Object, running: ContainerStatus) -> bool | None:
    """Whether the API already showed this very container as ready; None when it did not show it at all."""
    status = pod.get("status") or {}
    for known in (*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ())):
        if str(known.get("containerID", "")).endswith(running.id):
            return bool(known.get("ready"))
    return None

"""`FakeRuntime`: containers that exist only as records, on the event loop's (virtual) time, for simulation and scale.

It keeps the port's promises (the contract suite runs on it), starts nothing, and uses neither threads nor sockets. What
containers do is decided by a `Policy`, by image and name; thousands of them cost a timer each at most.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from datetime import datetime

from agents.node.ports import (
    ContainerSpec,
    ContainerStatus,
    Image,
    RuntimeAway,
    RuntimeEvent,
    RuntimeFailure,
    RuntimeInfo,
    SandboxSpec,
    SandboxStatus,
    State,
    Stats,
)
from agents.node.runtimes import fake_streams
from agents.node.runtimes.fake_container import FakeContainer
from agents.node.runtimes.fake_images import FakeImages, check_name
from agents.node.runtimes.fake_policy import Policy
from agents.node.runtimes.fake_streams import FakeProcess
from mesh.clock import Clock

SIGKILLED = 137


class FakeRuntime:
    """One node's containers, in memory. It outlives the agent that uses it, as a daemon would: keep it over a restart
    of the agent. `away` makes every call fail, as a daemon that is down."""

    def __init__(self, clock: Clock, policy: Policy | None = None) -> None:
        self.policy = policy or Policy()
        self.away = False
        self._clock = clock
        self._serial = 0
        self._sandboxes: dict[str, SandboxStatus] = {}
        self._containers: dict[str, FakeContainer] = {}
        self._images = FakeImages()
        self._listeners: set[asyncio.Queue[RuntimeEvent | None]] = set()

    async def info(self) -> RuntimeInfo:
        """See `Runtime.info`."""
        self._check()
        return RuntimeInfo(name="fake", version="1", cgroup_driver="cgroupfs")

    # Faults.

    def disconnect(self) -> None:
        """The daemon goes down: calls fail and event streams break, until `away` is set to False again."""
        self.away = True
        for queue in self._listeners:
            queue.put_nowait(None)

    def crash(self, container_id: str, exit_code: int = 1, *, oom_killed: bool = False) -> None:
        """A container's process ends by itself, now."""
        self._end(self._containers[container_id], exit_code, oom_killed=oom_killed)

    def kill_pods(self, pod_uids: frozenset[str]) -> None:
        """What the fence does by cgroup, behind the runtime's back: these pods' containers are dead, now."""
        for container in self._containers.values():
            if container.spec.pod_uid in pod_uids:
                self._end(container, SIGKILLED)

    def power_off(self) -> None:
        """The machine loses its power: nothing runs any more, and what was there is found stopped afterwards."""
        self.disconnect()
        for container in self._containers.values():
            self._end(container, SIGKILLED)
        self._sandboxes = {i: replace(s, state=State.EXITED, pid=0) for i, s in self._sandboxes.items()}
        self.away = False

    # Sandboxes.

    async def create_sandbox(self, spec: SandboxSpec) -> SandboxStatus:
        """See `Runtime.create_sandbox`."""
        await self._wait(self.policy.sandbox_delay)
        for status in self._sandboxes.values():
            if status.pod_uid == spec.pod_uid and status.state is State.RUNNING:
                return status
        sandbox_id = self._new_id("sandbox")
        status = SandboxStatus(
            id=sandbox_id,
            pod_uid=spec.pod_uid,
            state=State.RUNNING,
            pid=self._serial,
            netns=f"/fake/{sandbox_id}",
            created_at=self._clock.now(),
            labels=dict(spec.labels),
        )
        self._sandboxes[sandbox_id] = status
        self._ring(spec.pod_uid, sandbox_id)
        return status

    async def remove_sandbox(self, sandbox_id: str) -> None:
        """See `Runtime.remove_sandbox`."""
        self._check()
        for container in self._containers.values():
            if container.spec.sandbox_id == sandbox_id:
                self._end(container, SIGKILLED)
        if status := self._sandboxes.pop(sandbox_id, None):
            self._ring(status.pod_uid, sandbox_id)

    async def sandboxes(self) -> list[SandboxStatus]:
        """See `Runtime.sandboxes`."""
        self._check()
        return list(self._sandboxes.values())

    # Containers.

    async def create_container(self, spec: ContainerSpec) -> str:
        """See `Runtime.create_container`."""
        self._check()
        for container in self._containers.values():
            if (container.spec.pod_uid, container.spec.name, container.spec.attempt) == (
                spec.pod_uid,
                spec.name,
                spec.attempt,
            ):
                return container.status.id
        if not self._images.has(spec.image):
            raise RuntimeFailure("CreateContainerError", f"No such image: {spec.image}")
        if spec.sandbox_id not in self._sandboxes:
            raise RuntimeFailure("CreateContainerError", f"No such container: {spec.sandbox_id}")
        status = ContainerStatus(
            id=self._new_id("container"),
            sandbox_id=spec.sandbox_id,
            pod_uid=spec.pod_uid,
            name=spec.name,
            attempt=spec.attempt,
            state=State.CREATED,
            image=spec.image,
            image_id=spec.image,
            created_at=self._clock.now(),
            labels=dict(spec.labels),
        )
        self._containers[status.id] = FakeContainer(spec, status)
        self._ring(spec.pod_uid, status.id)
        return status.id

    async def start_container(self, container_id: str) -> None:
        """See `Runtime.start_container`."""
        container = self._get(container_id, "RunContainerError")
        if not container.is_new():
            return
        behaviour = container.behaviour = self.policy.behave(container.spec)
        await self._wait(behaviour.start_delay)
        if not container.is_new():
            return
        if behaviour.start_error:
            self._end(container, 128, message=behaviour.start_error)
            raise RuntimeFailure("RunContainerError", behaviour.start_error)
        if container.spec.sandbox_id not in self._sandboxes:
            raise RuntimeFailure("RunContainerError", f"cannot join sandbox {container.spec.sandbox_id}: not running")
        now = self._clock.now()
        self._serial += 1
        container.status = replace(container.status, state=State.RUNNING, started_at=now, pid=self._serial)
        container.log += [(now, 1, line) for line in behaviour.output.splitlines(keepends=True)]
        if behaviour.runs is not None:
            container.timer = asyncio.get_running_loop().call_later(
                behaviour.runs, lambda: self._end(container, behaviour.exit_code, oom_killed=behaviour.oom_killed)
            )
        self._ring(container.spec.pod_uid, container_id)

    async def stop_container(self, container_id: str, *, grace_seconds: float) -> None:
        """See `Runtime.stop_container`."""
        self._check()
        container = self._containers.get(container_id)
        if container is None or container.status.state is not State.RUNNING:
            return
        delay = container.behaviour.stop_delay
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(container.ended.wait(), min(delay, grace_seconds))
        self._end(container, SIGKILLED if delay > grace_seconds else container.behaviour.stop_code)

    async def remove_container(self, container_id: str) -> None:
        """See `Runtime.remove_container`."""
        self._check()
        container = self._containers.get(container_id)
        if container is None:
            return
        if container.status.state is State.RUNNING:
            raise RuntimeFailure("RuntimeError", f"cannot remove a running container {container_id}: stop it first")
        del self._containers[container_id]
        self._ring(container.spec.pod_uid, container_id)

    async def containers(self, pod_uid: str = "") -> list[ContainerStatus]:
        """See `Runtime.containers`."""
        self._check()
        return [c.status for c in self._containers.values() if not pod_uid or c.spec.pod_uid == pod_uid]

    async def events(self) -> AsyncIterator[RuntimeEvent]:
        """See `Runtime.events`."""
        self._check()
        queue: asyncio.Queue[RuntimeEvent | None] = asyncio.Queue()
        self._listeners.add(queue)
        try:
            yield RuntimeEvent("", "")
            while (event := await queue.get()) is not None:
                yield event
        finally:
            self._listeners.discard(queue)
        raise RuntimeAway("RuntimeAway", "the fake runtime is away")

    # Images.

    async def image(self, reference: str) -> Image | None:
        """See `Runtime.image`."""
        self._check()
        return self._images.find(reference)

    async def pull(
        self,
        reference: str,
        *,
        credentials: Mapping[str, str] | None = None,  # noqa: ARG002 - every image is public here
    ) -> Image:
        """See `Runtime.pull`; every image exists but the policy's `missing_images`."""
        check_name(reference)
        await self._wait(self.policy.pull_delay)
        return self._images.fetch(reference, self.policy.missing_images)

    async def images(self) -> list[Image]:
        """See `Runtime.images`."""
        self._check()
        return self._images.all()

    async def remove_image(self, image_id: str) -> None:
        """See `Runtime.remove_image`."""
        self._check()
        self._images.remove(image_id, used={container.spec.image for container in self._containers.values()})

    # Streams and numbers.

    async def exec(
        self,
        container_id: str,
        command: list[str],
        *,
        tty: bool,  # noqa: ARG002 - makes no difference to what these print
        stdin: bool,
    ) -> FakeProcess:
        """See `Runtime.exec`. It knows true, false, cat, echo and exit; anything else is not found (126)."""
        container = self._running(container_id, "ExecError")
        return fake_streams.executed(command, container.ended, stdin=stdin)

    async def attach(self, container_id: str, *, stdin: bool) -> FakeProcess:  # noqa: ARG002 - it reads nothing
        """See `Runtime.attach`; the process says nothing."""
        container = self._running(container_id, "AttachError")
        return fake_streams.attached(container.ended, lambda: container.status.exit_code)

    async def logs(
        self, container_id: str, *, follow: bool, tail: int | None, since: datetime | None, timestamps: bool
    ) -> AsyncIterator[tuple[int, bytes]]:
        """See `Runtime.logs`."""
        container = self._get(container_id, "LogError")
        chosen = [entry for entry in container.log if since is None or entry[0] >= since]
        for at, stream, line in chosen[-tail:] if tail else chosen if tail is None else []:
            yield stream, (f"{at:%Y-%m-%dT%H:%M:%S.%f}000Z ".encode() if timestamps else b"") + line
        if follow and container.status.state is State.RUNNING:
            await container.ended.wait()

    async def dial(self, sandbox_id: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """See `Runtime.dial`. An HTTP server answers for the pod: 200 if all that run in it are ready, else 503."""
        self._check()
        inside = [c for c in self._containers.values() if c.spec.sandbox_id == sandbox_id]
        running = [c for c in inside if c.status.state is State.RUNNING]
        if not running:
            raise RuntimeFailure("DialError", f"dial tcp4 127.0.0.1:{port}: connect: connection refused")
        return fake_streams.served(lambda: all(c.behaviour.ready for c in running))

    async def stats(self, container_id: str) -> Stats:
        """See `Runtime.stats`: one milli-CPU and one MiB."""
        container = self._running(container_id, "StatsError")
        now = self._clock.now()
        ran = now - (container.status.started_at or now)
        return Stats(cpu_ns=int(ran.total_seconds() * 1e6), memory_bytes=1 << 20, at=now)

    async def close(self) -> None:
        """See `Runtime.close`: the containers go on."""

    # Parts of the above.

    def _check(self) -> None:
        if self.away:
            raise RuntimeAway("RuntimeAway", "the fake runtime is away")

    async def _wait(self, seconds: float) -> None:
        self._check()
        if seconds:
            await asyncio.sleep(seconds)
            self._check()

    def _get(self, container_id: str, reason: str) -> FakeContainer:
        self._check()
        container = self._containers.get(container_id)
        if container is None:
            raise RuntimeFailure(reason, f"No such container: {container_id}")
        return container

    def _running(self, container_id: str, reason: str) -> FakeContainer:
        container = self._get(container_id, reason)
        if container.status.state is not State.RUNNING:
            raise RuntimeFailure(reason, f"Container {container_id} is not running")
        return container

    def _end(self, container: FakeContainer, exit_code: int, *, oom_killed: bool = False, message: str = "") -> None:
        if container.end(exit_code, self._clock.now(), oom_killed=oom_killed, message=message):
            self._ring(container.spec.pod_uid, container.status.id)

    def _ring(self, pod_uid: str, container_id: str) -> None:
        for queue in self._listeners:
            queue.put_nowait(RuntimeEvent(pod_uid, container_id))

    def _new_id(self, kind: str) -> str:
        self._serial += 1
        return f"fake-{kind}-{self._serial}"

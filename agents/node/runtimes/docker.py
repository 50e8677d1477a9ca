"""`DockerRuntime`: the port `Runtime` on Docker's Engine API (20.10 and newer; Podman's Docker-compatible socket).

This file is the table of contents: which request does what, and what its refusals mean to Kubernetes. The parts are
engine.py (HTTP), translate.py (bodies and statuses), sandboxes.py, containers.py, entry.py (hostname and exec),
images.py, logs.py, processes.py. Nothing about pods' policies may enter.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from agents.node.network_port import PodNetwork
from agents.node.ports import (
    UNSUPPORTED,
    ContainerSpec,
    ContainerStatus,
    Image,
    RuntimeAway,
    RuntimeEvent,
    RuntimeFailure,
    RuntimeInfo,
    SandboxSpec,
    SandboxStatus,
    Stats,
)
from agents.node.runtimes import namespaces, translate
from agents.node.runtimes.claims import Claims
from agents.node.runtimes.containers import Containers
from agents.node.runtimes.engine import Engine, Refused
from agents.node.runtimes.images import Images
from agents.node.runtimes.labels import KIND, KIND_SANDBOX, POD_UID, Owner
from agents.node.runtimes.logs import LogQuery, read_log
from agents.node.runtimes.machine import lowest_oom_score_adj
from agents.node.runtimes.processes import Attachment, ExecProcess
from agents.node.runtimes.sandboxes import Sandboxes


@dataclass(frozen=True, slots=True)
class DockerSettings:
    """What a `DockerRuntime` has to know. `holder` is the container whose network namespace is the node's, or ""."""

    cluster: str
    node: str
    state_dir: Path
    """A directory of its own: claims on warm sandboxes, containers' entry directories."""
    socket: str = "unix:///var/run/docker.sock"
    pause_image: str = "covey/pause:2"
    holder: str = ""


class DockerRuntime:
    """One node's containers on a Docker daemon. Made without I/O, inside a running event loop."""

    def __init__(self, settings: DockerSettings) -> None:
        self._engine = Engine(settings.socket)
        self._owner = Owner(settings.cluster, settings.node)
        node = translate.Host(settings.pause_image, settings.holder, lowest_oom_score_adj())
        self._images = Images(self._engine)
        self._sandboxes = Sandboxes(self._engine, self._owner, Claims(settings.state_dir / "claims"), node)
        self._containers = Containers(self._engine, self._owner, settings.state_dir / "entry", node)

    async def info(self) -> RuntimeInfo:
        """See `Runtime.info`. A daemon that cannot serve (rootless, remapped users) is refused with a sentence."""
        info, version = await asyncio.gather(
            self._engine.request("GET", "/info"), self._engine.request("GET", "/version")
        )
        for option in info.get("SecurityOptions") or ():
            if option in {"name=rootless", "name=userns"}:
                raise RuntimeFailure(
                    UNSUPPORTED,
                    f"the Docker daemon at {self._engine.path} runs with {option.removeprefix('name=')}: Covey puts "
                    "network interfaces into containers' namespaces, and needs a daemon that runs as root without "
                    "userns-remap. Point docker_socket to such a daemon.",
                )
        return RuntimeInfo(
            name="docker",
            version=str(version["Version"]),
            cgroup_driver=str(info.get("CgroupDriver") or "cgroupfs"),
        )

    async def keep_warm(self, network: PodNetwork, count: int) -> None:
        """Adopt the warm sandboxes that are there and keep `count` of them, wired by `network`, in the background.

        It also clears up what a crash has left. To be called again when it raises `RuntimeFailure` or `NetworkFailure`.
        """
        await self._containers.clear_up()
        await self._sandboxes.keep_warm(network, count)

    # Sandboxes and containers.

    async def create_sandbox(self, spec: SandboxSpec) -> SandboxStatus:
        """See `Runtime.create_sandbox`."""
        with self._starting():
            return await self._sandboxes.create(spec)

    async def remove_sandbox(self, sandbox_id: str) -> None:
        """See `Runtime.remove_sandbox`."""
        await self._sandboxes.remove(sandbox_id)

    async def sandboxes(self) -> list[SandboxStatus]:
        """See `Runtime.sandboxes`."""
        return await self._sandboxes.all()

    async def create_container(self, spec: ContainerSpec) -> str:
        """See `Runtime.create_container`; raises CreateContainerError."""
        image = await self._images.config(spec.image)
        with self._starting():
            return await self._containers.create(spec, image)

    async def start_container(self, container_id: str) -> None:
        """See `Runtime.start_container`; raises RunContainerError, also when its command cannot be executed."""
        with self._starting():
            await self._containers.start(container_id)

    async def stop_container(self, container_id: str, *, grace_seconds: float) -> None:
        """See `Runtime.stop_container`. A second call with a shorter time shortens the first one's."""
        await self._containers.stop(container_id, grace_seconds)

    async def remove_container(self, container_id: str) -> None:
        """See `Runtime.remove_container`. One that runs is refused."""
        await self._containers.remove(container_id)

    async def containers(self, pod_uid: str = "") -> list[ContainerStatus]:
        """See `Runtime.containers`."""
        return await self._containers.all(pod_uid)

    async def events(self) -> AsyncIterator[RuntimeEvent]:
        """See `Runtime.events`. The first says that we listen from now on, and names no pod."""
        filters = json.loads(self._owner.filters())
        filters |= {"type": ["container"], "event": ["create", "start", "die", "oom", "destroy"]}
        async with self._engine.stream("GET", "/events", params={"filters": json.dumps(filters)}) as content:
            yield RuntimeEvent("", "")
            async for line in content:
                if line.strip():
                    yield self._event(line)
        raise RuntimeAway("RuntimeAway", "the Docker daemon ended its event stream")

    # Images.

    async def image(self, reference: str) -> Image | None:
        """See `Runtime.image`; raises InvalidImageName, ImageInspectError."""
        return await self._images.find(reference)

    async def pull(self, reference: str, *, credentials: Mapping[str, str] | None = None) -> Image:
        """See `Runtime.pull`; raises InvalidImageName, ErrImagePull."""
        return await self._images.pull(reference, credentials)

    async def images(self) -> list[Image]:
        """See `Runtime.images`."""
        return await self._images.all()

    async def remove_image(self, image_id: str) -> None:
        """See `Runtime.remove_image`."""
        await self._images.remove(image_id)

    # Streams and numbers.

    async def exec(self, container_id: str, command: list[str], *, tty: bool, stdin: bool) -> ExecProcess:
        """See `Runtime.exec`; raises ExecError when the container does not run."""
        body = {"AttachStdin": stdin, "AttachStdout": True, "AttachStderr": True, "Tty": tty, "Cmd": command}
        try:
            made = await self._engine.request("POST", f"/containers/{container_id}/exec", body=body)
            start = {"Detach": False, "Tty": tty}
            reader, writer = await self._engine.hijack(f"/exec/{made['Id']}/start", body=start)
        except Refused as refused:
            raise refused.because("ExecError") from refused
        return ExecProcess(self._engine, made["Id"], reader, writer, tty=tty)

    async def attach(self, container_id: str, *, stdin: bool) -> Attachment:
        """See `Runtime.attach`; raises AttachError."""
        inspected = await self._containers.inspect(container_id)
        if inspected is None:
            raise RuntimeFailure("AttachError", f"No such container: {container_id}")
        params = {"stream": 1, "stdin": int(stdin), "stdout": 1, "stderr": 1}
        try:
            reader, writer = await self._engine.hijack(f"/containers/{container_id}/attach", params=params)
        except Refused as refused:
            raise refused.because("AttachError") from refused
        return Attachment(self._engine, container_id, reader, writer, tty=inspected["Config"]["Tty"])

    def logs(
        self, container_id: str, *, follow: bool, tail: int | None, since: datetime | None, timestamps: bool
    ) -> AsyncIterator[tuple[int, bytes]]:
        """See `Runtime.logs`."""
        query = LogQuery(follow=follow, tail=tail, since=since, timestamps=timestamps)
        return read_log(self._engine, container_id, query)

    async def dial(self, sandbox_id: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """See `Runtime.dial`; raises DialError when nobody listens there."""
        inspected = await self._containers.inspect(sandbox_id)
        pid = inspected["State"]["Pid"] if inspected is not None else 0
        if not pid:
            raise RuntimeFailure("DialError", f"sandbox {sandbox_id} does not run")
        try:
            connected = await namespaces.connect(f"/proc/{pid}/ns/net", port)
        except OSError as error:
            why = os.strerror(error.errno) if error.errno else str(error)
            raise RuntimeFailure("DialError", f"dial tcp4 127.0.0.1:{port}: connect: {why.lower()}") from error
        return await asyncio.open_connection(sock=connected)

    async def stats(self, container_id: str) -> Stats:
        """See `Runtime.stats`. The working set is what is used without the page cache that is not in use."""
        try:
            answer = await self._engine.request(
                "GET", f"/containers/{container_id}/stats", params={"stream": 0, "one-shot": 1}
            )
        except Refused as refused:
            raise refused.because("StatsError") from refused
        return translate.stats(answer)

    async def close(self) -> None:
        """See `Runtime.close`. Warm sandboxes stay for the next agent."""
        await self._sandboxes.close()
        await self._engine.close()

    # Parts of the above.

    def _event(self, line: bytes) -> RuntimeEvent:
        """One line of the event stream. A daemon that is killed may leave half of one."""
        try:
            event = json.loads(line)
        except ValueError as error:
            raise RuntimeAway("RuntimeAway", f"the Docker daemon sent an event that is no JSON: {error}") from error
        container_id, labels = event["Actor"]["ID"], event["Actor"]["Attributes"]
        pod_uid = labels.get(POD_UID, "")
        if labels.get(KIND) == KIND_SANDBOX:
            pod_uid = self._sandboxes.pod_of(container_id, labels)
        return RuntimeEvent(pod_uid, container_id)

    @contextlib.contextmanager
    def _starting(self) -> Iterator[None]:
        self._sandboxes.starting += 1
        try:
            yield
        finally:
            self._sandboxes.starting -= 1

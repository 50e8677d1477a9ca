"""Real Docker for tests: a runtime under a cluster name of its own, cleaned up through labels; the SDK as judge."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path

import docker

from agents.network.items import Ensure, Up
from agents.network.netlink import Netlink
from agents.node.ports import ContainerSpec, Image, Runtime, SandboxSpec, SandboxStatus
from agents.node.runtimes.docker import DockerRuntime, DockerSettings
from images.examples import BUSYBOX, ensure_example_images
from mesh import netns


@contextmanager
def sdk() -> Iterator[docker.DockerClient]:
    client = docker.from_env()
    try:
        yield client
    finally:
        client.close()


@contextmanager
def own_cluster() -> Iterator[str]:
    """A cluster name nobody else uses; everything labelled with it is removed afterwards."""
    name = f"test-{uuid.uuid4().hex[:10]}"
    with sdk() as client:
        ensure_example_images(client)
        try:
            yield name
        finally:
            for container in client.containers.list(all=True, filters={"label": f"dev.covey.cluster={name}"}):
                container.remove(force=True, v=True)


@asynccontextmanager
async def docker_runtime(
    cluster: str, state_dir: Path, node: str = "n1", **settings: str
) -> AsyncIterator[DockerRuntime]:
    runtime = DockerRuntime(DockerSettings(cluster, node, state_dir, **settings))
    try:
        yield runtime
    finally:
        await runtime.close()


def _raise_loopback(path: str) -> None:
    """What the pod network does first; a fake's namespace is only a name."""
    if Path(path).exists():
        with netns.within(path), Netlink() as kernel:
            kernel.apply([Ensure(Up("lo"))])


class Pod:
    """A pod as a test needs it: one sandbox, and containers by shell script."""

    def __init__(self, runtime: Runtime, sandbox: SandboxStatus, image: Image, hostname: str) -> None:
        self.runtime = runtime
        self.sandbox = sandbox
        self.image = image
        self.hostname = hostname

    @classmethod
    async def make(cls, runtime: Runtime, hostname: str = "web-0", **spec: object) -> Pod:
        image = await runtime.image(BUSYBOX) or await runtime.pull(BUSYBOX)
        uid = str(uuid.uuid4())
        sandbox = await runtime.create_sandbox(SandboxSpec(uid, "default", "web", **spec))  # type: ignore[arg-type]
        _raise_loopback(sandbox.netns)
        return cls(runtime, sandbox, image, hostname)

    @property
    def uid(self) -> str:
        return self.sandbox.pod_uid

    def spec(self, *command: str, name: str = "main", attempt: int = 0, **more: object) -> ContainerSpec:
        plain = ContainerSpec(
            sandbox_id=self.sandbox.id,
            pod_uid=self.uid,
            name=name,
            attempt=attempt,
            image=self.image.id,
            hostname=self.hostname,
            command=command or None,
        )
        return replace(plain, **more)  # type: ignore[arg-type]

    async def run(self, *command: str, **more: object) -> str:
        """Create and start a container; its id."""
        container_id = await self.runtime.create_container(self.spec(*command, **more))  # type: ignore[arg-type]
        await self.runtime.start_container(container_id)
        return container_id

    async def sh(self, script: str, **more: object) -> str:
        """`run` a shell script."""
        return await self.run("sh", "-c", script, **more)


async def output(runtime: Runtime, container_id: str, *, follow: bool = True) -> tuple[bytes, bytes]:
    """All of a container's log so far (with `follow`: until it ends), as stdout and stderr."""
    pieces = {1: b"", 2: b""}
    async for stream, data in runtime.logs(container_id, follow=follow, tail=None, since=None, timestamps=False):
        pieces[stream] += data
    return pieces[1], pieces[2]


async def drained(process: object) -> tuple[bytes, bytes, int]:
    """Read an attached process to its end: stdout, stderr, exit code."""
    pieces = {1: b"", 2: b""}
    while (piece := await process.read()) is not None:  # type: ignore[attr-defined]
        pieces[piece[0]] += piece[1]
    code = await process.wait()  # type: ignore[attr-defined]
    await process.close()  # type: ignore[attr-defined]
    return pieces[1], pieces[2], code

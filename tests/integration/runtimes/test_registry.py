"""Pulling from a real registry (Debian's docker-registry) on this machine's loopback."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agents.node.ports import RuntimeFailure
from agents.node.runtimes import images
from agents.node.runtimes.docker import DockerRuntime
from images.examples import BUSYBOX, busybox_layer
from tests.integration.runtimes.test_contract import ended
from tests.support.docker import Pod, sdk

pytestmark = pytest.mark.docker


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
async def registry(tmp_path: Path) -> AsyncIterator[str]:
    """The address of a registry, empty, that ends with the test."""
    address = f"127.0.0.1:{free_port()}"
    configuration = tmp_path / "registry.yml"
    configuration.write_text(
        f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {tmp_path}/registry}}}}\n"
        f"http: {{addr: '{address}'}}\n"
    )
    process = await asyncio.create_subprocess_exec(
        "docker-registry", "serve", str(configuration), stderr=asyncio.subprocess.DEVNULL
    )
    try:
        host, port = address.split(":")
        async with asyncio.timeout(30):
            while True:
                try:
                    _, writer = await asyncio.open_connection(host, int(port))
                    break
                except OSError:
                    await asyncio.sleep(0.02)
        writer.close()
        yield address
    finally:
        process.terminate()
        await process.wait()


@pytest.fixture
def pushed(cluster: str, registry: str) -> str:
    """A reference that only the registry has."""
    name = f"{registry}/{cluster}:v1"
    with sdk() as client:
        client.images.get(BUSYBOX).tag(f"{registry}/{cluster}", "v1")
        client.images.push(f"{registry}/{cluster}", "v1")
        client.images.remove(name)
    return name


async def test_an_image_is_pulled_and_run(runtime: DockerRuntime, pushed: str) -> None:
    assert await runtime.image(pushed) is None
    image = await runtime.pull(pushed)
    assert pushed in image.tags
    assert await runtime.image(pushed) == image
    digest = next(digest for digest in image.digests if digest.startswith(pushed.rpartition(":")[0]))
    assert await runtime.pull(digest, credentials={"username": "anybody", "password": "anything"}) == image
    pod = await Pod.make(runtime)
    assert (await ended(runtime, await pod.run("true", image=image.id))).exit_code == 0
    with sdk() as client:
        client.images.remove(pushed)


async def test_an_image_is_removed_with_all_its_names(runtime: DockerRuntime, cluster: str) -> None:
    with sdk() as client:
        client.api.import_image_from_data(busybox_layer({"mark": cluster.encode()}), repository=cluster, tag="one")
        client.images.get(f"{cluster}:one").tag(cluster, "two")
    found = await runtime.image(f"{cluster}:one")
    assert found is not None
    assert set(found.tags) == {f"{cluster}:one", f"{cluster}:two"}
    await runtime.remove_image(found.id)
    await runtime.remove_image(found.id)
    assert await runtime.image(f"{cluster}:two") is None


async def test_an_unknown_image(runtime: DockerRuntime, registry: str) -> None:
    with pytest.raises(RuntimeFailure, match=r"manifest unknown|not found") as caught:
        await runtime.pull(f"{registry}/no/such:image")
    assert caught.value.reason == "ErrImagePull"


async def test_a_registry_that_does_not_answer(runtime: DockerRuntime) -> None:
    with pytest.raises(RuntimeFailure, match="connection refused") as caught:
        await runtime.pull(f"127.0.0.1:{free_port()}/some/image:1")
    assert caught.value.reason == "ErrImagePull"


async def test_a_reference_that_is_none(runtime: DockerRuntime) -> None:
    with pytest.raises(RuntimeFailure, match="invalid reference format") as caught:
        await runtime.pull("not an image")
    assert caught.value.reason == "InvalidImageName"


async def test_a_registry_that_goes_silent(runtime: DockerRuntime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "STALLED_SECONDS", 1.0)
    visitors: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: visitors.append(writer), "127.0.0.1", 0)
    name = f"127.0.0.1:{server.sockets[0].getsockname()[1]}/some/image:1"
    try:
        with pytest.raises(RuntimeFailure) as caught:
            await runtime.pull(name)
    finally:
        server.close()
        for visitor in visitors:
            visitor.close()
        await asyncio.gather(*(visitor.wait_closed() for visitor in visitors), return_exceptions=True)
    assert visitors, "it was asked"
    assert caught.value.reason == "ErrImagePull"
    assert caught.value.message.startswith(f'Cancel pulling image "{name}" because of no progress for 1s')

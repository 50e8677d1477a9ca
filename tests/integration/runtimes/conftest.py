"""A real Docker runtime, under a cluster name of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from agents.node.runtimes.docker import DockerRuntime
from tests.support.docker import docker_runtime, own_cluster


@pytest.fixture
def cluster() -> Iterator[str]:
    with own_cluster() as name:
        yield name


@pytest.fixture
async def runtime(cluster: str, tmp_path: Path) -> AsyncIterator[DockerRuntime]:
    async with docker_runtime(cluster, tmp_path) as real:
        yield real

"""Fixtures of every layer: one real cluster of three nodes, shared by the tests that only use it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator

import pytest

from tests.support import ending
from tests.support.cluster import RealCluster

pytest_configure = ending.pytest_configure
pytest_sessionfinish = ending.pytest_sessionfinish


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealCluster]:
    """A cluster of three nodes. Tests that break parts of it start one of their own."""
    if os.geteuid() != 0:
        pytest.skip("a cluster on this machine needs root")
    running = RealCluster.up(tmp_path_factory.mktemp("cluster"), 3)
    try:
        yield running
    finally:
        running.down()


@pytest.fixture(scope="session", autouse=True)
def _no_loop_but_the_tests_own() -> None:
    """Python 3.11 would make an event loop for whoever asks for the current one, as pytest-asyncio does around tests,
    and nobody would close it."""
    asyncio.set_event_loop(None)

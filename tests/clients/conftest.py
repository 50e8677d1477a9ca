"""Unmodified clients against the session's real cluster: each test has a namespace of its own."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from images.examples import ensure_example_images
from tests.support.clients import Space
from tests.support.cluster import RealCluster


@pytest.fixture(scope="session", autouse=True)
def _images(cluster: RealCluster) -> None:
    ensure_example_images()


@pytest.fixture
def space(cluster: RealCluster) -> Iterator[Space]:
    """An empty namespace, deleted afterwards with all that is in it."""
    name = f"t-{secrets.token_hex(3)}"
    cluster.kubectl("create", "namespace", name)
    try:
        yield Space(cluster, name)
    finally:
        cluster.kubectl("delete", "namespace", name, "--wait=false")

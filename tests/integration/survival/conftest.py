"""One cluster of three nodes for each file of tests: they break it, and each leaves it well."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.support.cluster import RealCluster
from tests.support.survival.world import World


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A cluster of this file's own."""
    if os.geteuid() != 0:
        pytest.skip("a cluster on this machine needs root")
    cluster = RealCluster.up(tmp_path_factory.mktemp("survival"), 3)
    made = World(cluster)
    try:
        yield made
    finally:
        made.close()
        cluster.down()

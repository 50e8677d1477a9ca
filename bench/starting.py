"""`covey up --nodes 3` from installed packages, from the command's start until it says that three nodes are Ready."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.figures import Figure
from tests.support.cluster import RealCluster

ROUNDS = 3
NODES = 3


def measure() -> Iterator[Figure]:
    """Up and down again; the first time is not counted (Python compiles what it then only reads)."""
    ups, agains, downs = [], [], []
    for number in range(ROUNDS + 1):
        with tempfile.TemporaryDirectory(prefix="covey-bench-") as folder:
            started = time.perf_counter()
            cluster = RealCluster.up(Path(folder) / "home", NODES)
            up = time.perf_counter()
            cluster.covey("up")
            again = time.perf_counter()
            cluster.down()
            down = time.perf_counter()
        if number:
            ups.append(up - started)
            agains.append(again - up)
            downs.append(down - again)
    yield Figure.of(f"covey up --nodes {NODES}", "s", ups)
    yield Figure.of("covey up, running already", "s", agains)
    yield Figure.of("covey down", "s", downs)

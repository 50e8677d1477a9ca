"""The proxy's two benches as parts: each runs in namespaces of its own, in a process of its own. Modes whose program this
machine does not have are left out."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench.figures import Figure, at_least, at_most


def _rows(module: str, *modes: str) -> list[dict[str, Any]]:
    """What `python -m bench.<module>` writes as JSON; its own table goes to nobody."""
    with tempfile.TemporaryDirectory(prefix="covey-bench-") as folder:
        results = Path(folder) / "rows.json"
        command = [sys.executable, "-m", f"bench.{module}", "--modes", *_there(modes), "--json", str(results)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        rows: list[dict[str, Any]] = json.loads(results.read_text())
        return rows


def _there(modes: Sequence[str]) -> list[str]:
    """Those whose program this machine has."""
    found = [mode for mode in modes if shutil.which("nft" if mode == "nftables" else mode)]
    if not found:
        raise RuntimeError("neither nft nor iptables is installed")
    return found


def measure_changes() -> Iterator[Figure]:
    """Endpoints of a Service change: until the kernel has the rule. And everything at once, at the proxy's start."""
    for row in _rows("proxy_sync", "nftables", "iptables-nft", "iptables-legacy"):
        what = f"{row['mode']}, {row['services']} Services"
        count = int(row["changes"])
        median, least, p99, most = (float(row[f"{key}_ms"]) for key in ("p50", "min", "p99", "max"))
        yield Figure(f"{what}: change to rule", "ms", median, least, p99, most, count)
        yield Figure.of(f"{what}: the p99 of it", "ms", [p99], at_most(50))
        yield Figure.of(f"{what}: full sync", "s", [float(row["full_sync_s"])])
        yield Figure.of(f"{what}: adoption", "s", [float(row["adoption_s"])])


def measure_traffic() -> Iterator[Figure]:
    """Connections through a ClusterIP and a NodePort as a share of what the pod's own address gives: 1 is no cost."""
    for row in _rows("proxy_traffic", "nftables", "iptables"):
        if row["target"] != "pod":
            name = f"{row['mode']}, {row['services']} Services: {row['target']}, {row['what']} against the pod's"
            yield Figure.of(name, "ratio", row["shares"], at_least(0.95))

"""A real cluster for tests: `covey up` in a home of its own, beside whatever else runs on the machine."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from mesh.objects.types import Json, Object

T = TypeVar("T")
PATIENCE = 60.0


def await_(found: Callable[[], T | None], within: float = PATIENCE, what: str = "") -> T:
    """What `found` returns once it is true; polled."""
    deadline = time.monotonic() + within
    while True:
        value = found()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {within:.0f} s in vain{f' for {what}' if what else ''}")
        time.sleep(0.05)


def free_port() -> int:
    """A TCP port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("0.0.0.0", 0))
        return int(probe.getsockname()[1])


@dataclass
class RealCluster:
    """A running cluster and the two commands that administer it."""

    home: Path
    name: str

    @classmethod
    def up(cls, home: Path, nodes: int, *options: str) -> RealCluster:
        """Start one; its name, ports and address ranges collide with nobody's. One that does not come up is removed."""
        cluster = cls(home, f"t{secrets.token_hex(2)}")
        ports = ("--api-port", str(free_port()), "--broker-port", str(free_port()))
        try:
            cluster.covey("up", "--name", cluster.name, "--nodes", str(nodes), *ports, *options, within=180)
        except BaseException:
            cluster.down()
            raise
        return cluster

    def down(self) -> None:
        """Remove it."""
        self.covey("down", within=120)

    @property
    def nodes(self) -> list[Object]:
        """Name, address and namespace of each node."""
        found: list[Object] = json.loads((self.home / "cluster.json").read_text())["nodes"]
        return found

    @property
    def environment(self) -> dict[str, str]:
        """For child processes: both commands find this cluster."""
        return {**os.environ, "COVEY_HOME": str(self.home), "KUBECONFIG": str(self.home / "kubeconfig")}

    def covey(self, *arguments: str, within: float = 60, text: str | None = None) -> str:
        """Run `covey`; its standard output. Fails the test with what it said when it fails."""
        return self._run([sys.executable, "-m", "cli.main", *arguments], within, text)

    def kubectl(self, *arguments: str, within: float = 60, text: str | None = None) -> str:
        """Run the unmodified kubectl likewise."""
        return self._run([str(Path(sys.executable).with_name("kubectl")), *arguments], within, text)

    def refused(self, command: str, *arguments: str, text: str | None = None) -> str:
        """Run a command that must fail; what it said on standard error."""
        program = {
            "covey": [sys.executable, "-m", "cli.main"],
            "kubectl": [str(Path(sys.executable).with_name("kubectl"))],
        }
        done = subprocess.run(
            [*program[command], *arguments], env=self.environment, input=text, capture_output=True, text=True, timeout=60,
            check=False,
        )  # fmt: skip
        assert done.returncode != 0, f"{command} {' '.join(arguments)} did not fail: {done.stdout}"
        return done.stderr

    def get(self, *arguments: str) -> Json:
        """`kubectl get ... -o json`, decoded."""
        return json.loads(self.kubectl("get", *arguments, "-o", "json"))

    def _run(self, command: list[str], within: float, text: str | None) -> str:
        done = subprocess.run(
            command, env=self.environment, input=text, capture_output=True, text=True, timeout=within, check=False
        )
        assert done.returncode == 0, f"{' '.join(command[-6:])}\n{done.stdout}\n{done.stderr}"
        return done.stdout

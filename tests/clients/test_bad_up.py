"""`covey up` where something stands in its way says what, where, and what to do; it leaves nothing behind."""

from __future__ import annotations

import gc
import os
import socket
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.network import names
from cli import preflight
from mesh.errors import Terminal
from tests.support.cluster import RealCluster, free_port

ROOT = Path(__file__).resolve().parents[2]


def up(home: Path, *options: str) -> str:
    """What a failing `covey up` said."""
    environment = {**os.environ, "COVEY_HOME": str(home)}
    command = [sys.executable, "-m", "cli.main", "up", "--name", "tbad", *options]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT)
    assert done.returncode == 1, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return done.stderr


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that this process listens on."""
    with socket.socket() as listener:
        listener.bind(("0.0.0.0", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_a_port_that_is_taken(tmp_path: Path, taken: int) -> None:
    told = up(tmp_path / "home", "--api-port", str(taken), "--broker-port", str(free_port()))
    assert f"port {taken} (api) is taken by " in told
    assert f"(pid {os.getpid()})" in told
    assert "or choose another: covey up --api-port PORT" in told
    assert not (tmp_path / "home").exists()
    told = up(tmp_path / "home", "--api-port", str(free_port()), "--broker-port", str(taken))
    assert f"port {taken} (broker) is taken by " in told
    assert not (tmp_path / "home").exists()


def test_without_root() -> None:
    """As nobody: after the imports, since the interpreter's own folder may be root's alone."""
    code = "import os; from cli import preflight, up; os.setgid(65534); os.setuid(65534); "
    code += "preflight.require(preflight.check_platform)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False, timeout=60
    )
    assert done.returncode != 0
    assert "root" in done.stderr.splitlines()[-2] + done.stderr.splitlines()[-1]


def test_a_docker_that_does_not_answer(tmp_path: Path) -> None:
    warnings.simplefilter("ignore", ResourceWarning)  # the Docker library leaves its socket to the collector
    with pytest.raises(Terminal) as caught:
        preflight.require(lambda: preflight.check_docker(f"unix://{tmp_path}/docker.sock"))
    gc.collect()
    assert str(caught.value).startswith(f"no Docker daemon answers at unix://{tmp_path}/docker.sock: ")
    assert "start it: systemctl start docker" in str(caught.value)


@pytest.mark.root
def test_a_tests_cluster_that_does_not_come_up_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the tests stand on: `up` fails here once the nodes are made, since its broker cannot be configured."""
    monkeypatch.setattr("tests.support.cluster.secrets.token_hex", lambda _: f"{os.getpid():x}")
    name = f"t{os.getpid():x}"
    home = tmp_path / "home"
    (home / "nats" / "nats.conf").mkdir(parents=True)
    with pytest.raises(AssertionError, match=r"nats\.conf\S*: Is a directory"):
        RealCluster.up(home, 1)
    assert not home.exists()
    assert not Path("/run/netns", names.namespace(name, "node-1")).exists()
    assert not Path("/sys/class/net", names.bridge(name)).exists()

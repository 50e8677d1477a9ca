"""A Docker daemon of a test's own, beside the machine's: its own containerd, socket, data and state, and live-restore."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.cluster import await_

BRIDGE_ADDRESS = "198.18.255.1/28"


class OwnDocker:
    """The daemon and its containerd, in a service of its own as Debian has it. It makes no packet filter rules, and has a
    bridge of its own: told to have none, a daemon removes docker0, which is the machine's."""

    def __init__(self, home: Path, bridge: str) -> None:
        self.url = f"unix://{home / 'docker.sock'}"
        self._home = home
        self._bridge = bridge
        (home / "daemon.json").write_text("{}")
        (home / "containerd.toml").write_text('version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n')
        self._containerd = self._run(
            "containerd", "--config", str(home / "containerd.toml"), "--address", str(home / "containerd.sock"),
            "--root", str(home / "containerd"), "--state", str(home / "containerd-state"),
        )  # fmt: skip
        self._daemon: subprocess.Popen[bytes] | None = None

    def _run(self, *command: str) -> subprocess.Popen[bytes]:
        with (self._home / f"{command[0]}.log").open("ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)

    def start(self) -> None:
        """Start the daemon, and return when it answers."""
        await_((self._home / "containerd.sock").exists, what="containerd's socket")
        home = self._home
        self._daemon = self._run(
            "dockerd", "--config-file", str(home / "daemon.json"), "--host", self.url,
            "--containerd", str(home / "containerd.sock"), "--data-root", str(home / "data"),
            "--exec-root", str(home / "exec"), "--pidfile", str(home / "docker.pid"),
            "--bridge", self._bridge, "--iptables=false", "--ip-forward=false", "--live-restore",
        )  # fmt: skip
        await_(self._answers, what="a Docker daemon to answer")

    def _answers(self) -> bool:
        assert self._daemon is not None
        assert self._daemon.poll() is None, (self._home / "dockerd.log").read_text()[-2000:]
        try:
            with socket.socket(socket.AF_UNIX) as asking:
                asking.settimeout(5)
                asking.connect(self.url.removeprefix("unix://"))
                asking.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
                return b" 200 " in asking.recv(64)
        except OSError:
            return False

    def kill(self) -> None:
        """kill -9 of the daemon; containerd and the containers live on."""
        assert self._daemon is not None
        self._daemon.kill()
        self._daemon.wait()

    def end(self) -> None:
        """End both. All containers are gone before."""
        try:
            for process in (self._daemon, self._containerd):
                if process is not None:
                    _end(process)
        finally:
            self._unmount()

    def _unmount(self) -> None:
        points = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
        for point in sorted((p for p in points if p.startswith(f"{self._home}/")), key=len, reverse=True):
            subprocess.run(["umount", "--lazy", point], check=False, capture_output=True)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def _bridge() -> Iterator[str]:
    """A bridge of its own for a daemon."""
    name = f"dkr{os.getpid():x}"
    _ip("link", "add", name, "type", "bridge")
    try:
        _ip("address", "add", BRIDGE_ADDRESS, "dev", name)
        yield name
    finally:
        _ip("link", "delete", name)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@contextmanager
def own_docker() -> Iterator[OwnDocker]:
    """A running daemon. Its folder has a short name: a Unix socket's path may have 107 characters."""
    home = Path(tempfile.mkdtemp(prefix="covey-docker-"))
    try:
        with _bridge() as bridge:
            daemon = OwnDocker(home, bridge)
            try:
                daemon.start()
                yield daemon
            finally:
                daemon.end()
    finally:
        shutil.rmtree(home)

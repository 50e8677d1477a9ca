"""A Docker daemon of a test's own, beside the machine's: its own socket, data and state, and live-restore."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import docker
from docker.errors import DockerException

from cli.supervisor import start_time
from tests.support.cluster import await_


class OwnDocker:
    """The daemon and, below it, the containerd that it starts. It makes no bridge and no packet filter rules."""

    def __init__(self, home: Path) -> None:
        self.url = f"unix://{home / 'docker.sock'}"
        self._home = home
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and return when it answers."""
        (self._home / "daemon.json").write_text("{}")
        command = [
            "dockerd", "--config-file", str(self._home / "daemon.json"), "--host", self.url,
            "--data-root", str(self._home / "data"), "--exec-root", str(self._home / "exec"),
            "--pidfile", str(self._home / "docker.pid"), "--bridge", "none", "--iptables=false", "--ip-forward=false",
            "--live-restore",
        ]  # fmt: skip
        with (self._home / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        await_(self._answers, what="a Docker daemon to answer")

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self._home / "log").read_text()[-2000:]
        try:
            client = docker.DockerClient(base_url=self.url, timeout=5)
        except DockerException:
            return False
        client.close()
        return True

    def kill(self) -> None:
        """kill -9 of the daemon; its containerd and the containers live on."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def end(self) -> None:
        """End daemon and containerd, and remove what they leave. All containers are gone before."""
        assert self._process is not None
        self._process.terminate()
        self._process.wait(30)
        pid_file = self._home / "exec" / "containerd" / "containerd.pid"
        pid = int(pid_file.read_text()) if pid_file.exists() else 0
        if pid and start_time(pid) is not None:
            os.kill(pid, signal.SIGTERM)
            await_(lambda: start_time(pid) is None, what="containerd to end")
        points = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
        for point in sorted((p for p in points if p.startswith(f"{self._home}/")), key=len, reverse=True):
            subprocess.run(["umount", "--lazy", point], check=False, capture_output=True)


@contextmanager
def own_docker() -> Iterator[OwnDocker]:
    """A running daemon. Its folder has a short name: a Unix socket's path may have 107 characters."""
    home = Path(tempfile.mkdtemp(prefix="covey-docker-"))
    daemon = OwnDocker(home)
    try:
        daemon.start()
        try:
            yield daemon
        finally:
            daemon.end()
    finally:
        shutil.rmtree(home)

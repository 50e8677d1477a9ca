"""Where a cluster's files lie below `$COVEY_HOME`, and to whom they belong.

Under sudo everything belongs to the user who called, so that `covey` and `kubectl` work without it afterwards.
"""

from __future__ import annotations

import errno
import hashlib
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mesh.errors import Terminal


class Layout:
    """The paths of one cluster's home."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.cluster_file = home / "cluster.json"
        self.kubeconfig = home / "kubeconfig"
        self.context_file = home / "context.json"
        self.identities = home / "identities"
        self.identities_file = home / "identities.json"
        self.pki = home / "pki"
        self.nats = home / "nats"
        self.config = home / "config"
        self.nodes = home / "nodes"
        self.run = home / "run"
        self.logs = home / "logs"

    def seed_file(self, name: str) -> Path:
        """The NKEY seed of one identity."""
        return self.identities / f"{name}.nk"

    def config_file(self, name: str) -> Path:
        """The configuration of one process."""
        return self.config / f"{name}.yaml"

    def node_state(self, node: str) -> Path:
        """A node agent's own memory: volumes, checkpoints, address leases."""
        return self.nodes / node

    def make(self) -> None:
        """Create the folders; private ones for their owner only."""
        for folder in (self.home, self.config, self.nodes, self.run, self.logs, self.nats):
            folder.mkdir(parents=True, exist_ok=True)
        for folder in (self.identities, self.pki):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Held by who changes the cluster: `Terminal` when somebody else does so at the moment. The lock is a name in
        the kernel, which goes with the process that holds it and needs no file before there is a home."""
        name = hashlib.sha256(str(self.home).encode()).hexdigest()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as lock:
            try:
                lock.bind(f"\0covey-{name}")
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
                raise Terminal(
                    f"another covey up or down is at work on the cluster in {self.home}; try again when it has ended"
                ) from error
            yield

    def give_to_caller(self) -> None:
        """Under sudo, hand what a user reads (not the nodes' volumes) to the user who called."""
        if os.geteuid() != 0 or "SUDO_UID" not in os.environ:
            return
        uid, gid = int(os.environ["SUDO_UID"]), int(os.environ.get("SUDO_GID", os.environ["SUDO_UID"]))
        readable = [self.home, self.kubeconfig, self.context_file, self.cluster_file, self.identities_file]
        readable += [self.identities, *self.identities.glob("*"), self.pki, *self.pki.glob("*")]
        readable += [self.logs, *self.logs.glob("*"), self.run, *self.run.glob("*")]
        for path in readable:
            if path.exists():
                os.chown(path, uid, gid, follow_symlinks=False)  # what a link of theirs leads to is not ours to give

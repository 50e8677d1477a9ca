"""What each process is told when it starts: one YAML or JSON file, one class for each process.

Files live under `$COVEY_HOME` (default `~/.covey`); `mesh.config.load` reads them strictly (unknown keys are errors).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeVar

import msgspec

from mesh.errors import Terminal

T = TypeVar("T")

DOCKER_SOCKET = "unix:///var/run/docker.sock"
"""Where the system's own Docker daemon answers."""


class BusConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a process reaches the broker."""

    servers: list[str]
    """NATS URLs, tried in turn: ["nats://127.0.0.1:4222"]."""
    seed_file: str
    """File with the NKEY seed of this process."""


class NetworkConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The cluster's address plan. Lists hold one CIDR for each family, primary first."""

    pod_cidrs: list[str] = msgspec.field(default_factory=lambda: ["10.64.0.0/16"])
    service_cidrs: list[str] = msgspec.field(default_factory=lambda: ["10.96.0.0/16"])
    node_mask_sizes: list[int] = msgspec.field(default_factory=lambda: [24])
    """Prefix length of each node's part of the pod CIDR."""
    dns_address: str = "10.96.0.10"
    """ClusterIP of the cluster DNS Service; it must lie in the service CIDR."""
    cluster_domain: str = "cluster.local"
    node_port_min: int = 30000
    node_port_max: int = 32767
    mtu: int = 1500
    vxlan_port: int = 8472
    vxlan_id: int = 1


class ServerConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`covey server`: API server, scheduler, controllers, cloud controllers."""

    cluster: str = "covey"
    bus: BusConfig
    store: BusConfig
    """The store's own connection, in the broker's store account."""
    identities_file: str
    """JSON: NKEY public key -> {"user": ..., "groups": [...]}; read again when it changes."""
    pki_dir: str
    """ca.crt, ca.key, server.crt, server.key, front-proxy and service-account keys."""
    bind_address: str = "0.0.0.0"
    port: int = 6443
    advertise_address: str = "127.0.0.1"
    """Where pods reach the API (endpoints of the `kubernetes` Service)."""
    network: NetworkConfig = NetworkConfig()
    replicas: int = 1
    """Replicas of the store's stream."""
    unreachable_seconds: int = 1
    """tolerationSeconds that admission adds for the taint of a node that nobody hears."""
    not_ready_seconds: int = 30
    """tolerationSeconds that admission adds for the taint of a node that says itself that it is not ready."""
    node_silence_seconds: float = 2.0
    """After how long without a heartbeat a node is unreachable."""
    fence_seconds: float = 12.0
    """After how long without an answered heartbeat a node has certainly fenced its exclusive pods."""


class AgentConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`covey agent`: one node's agent (pods, network, DNS)."""

    cluster: str = "covey"
    node: str
    addresses: list[str]
    """The node's own addresses, primary family first."""
    interface: str = ""
    """The interface that holds them; "" finds it."""
    bus: BusConfig
    state_dir: str
    """The agent's memory: last desired state, volumes, checkpoints."""
    runtime: str = "docker"
    docker_socket: str = DOCKER_SOCKET
    pause_image: str = "covey/pause:2"
    warm_sandboxes: int = 2
    holder: str = ""
    """Container whose network namespace is the node's (nodes that are namespaces); "" on a real machine."""
    labels: dict[str, str] = {}
    max_pods: int = 110
    capacity: dict[str, str] = {}
    """Overrides of what the machine reports: {"cpu": "2", "memory": "4Gi"}."""
    heartbeat_seconds: float = 0.5
    fence_seconds: float = 8.0
    network: NetworkConfig = NetworkConfig()
    upstream_dns: list[str] = []
    """Resolvers for what the cluster does not know; empty reads the machine's resolv.conf."""


class ProxyConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`covey proxy`: one node's Services to kernel rules."""

    cluster: str = "covey"
    node: str
    bus: BusConfig
    mode: str = "nftables"
    network: NetworkConfig = NetworkConfig()


def home() -> Path:
    """`$COVEY_HOME`, by default `~/.covey`; under sudo that of the user who called."""
    if given := os.environ.get("COVEY_HOME"):
        return Path(given).resolve()  # it goes into configurations and mounts, which know no "here" and no links
    caller = os.environ.get("SUDO_USER")
    return Path(f"~{caller or ''}").expanduser() / ".covey"


def load(path: Path, kind: type[T]) -> T:
    """The configuration file at `path` as a `kind`; raises `Terminal` with a sentence when it cannot be used."""
    try:
        return msgspec.yaml.decode(path.read_bytes(), type=kind)
    except OSError as error:
        raise Terminal(f"cannot read {path}: {error.strerror}") from error
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise Terminal(f"{path}: {error}") from error


def dump(config: msgspec.Struct) -> bytes:
    """`config` as YAML that `load` reads back."""
    return msgspec.yaml.encode(config)

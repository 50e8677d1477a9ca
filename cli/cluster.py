"""A cluster on one machine as a value: its nodes and addresses, and what follows from them. Pure.

`cluster.json` in the cluster's home holds it; every process's configuration and command line are derived from it.
"""

from __future__ import annotations

import hashlib
import ipaddress
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from cli.layout import Layout
from cli.supervisor import ProcessSpec
from mesh.config import DOCKER_SOCKET, AgentConfig, BusConfig, NetworkConfig, ProxyConfig, ServerConfig, dump
from mesh.durable import write_private
from mesh.errors import Terminal

ADMIN, SERVER, STORE = "admin", "server", "store"
FAKE_LABEL = "covey.dev/fake"
"""On Nodes that are only played, so that a nodeSelector can choose or avoid them."""


CONFIGURATION = "COVEY_CONFIGURATION"
"""Environment variable of a process: the digest of the configuration that it was started with."""


class NodeSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One node that is a network namespace of this machine."""

    name: str
    address: str
    holder: str
    """Name of the container whose network namespace is the node's."""
    namespace: str
    """Path of the network namespace."""


class Cluster(msgspec.Struct, frozen=True, kw_only=True):
    """One cluster on this machine."""

    name: str
    host_address: str
    """The machine's address on the nodes' bridge: the broker and the API listen there."""
    node_cidr: str
    pod_cidr: str
    service_cidr: str
    nodes: list[NodeSpec]
    api_port: int = 6443
    broker_port: int = 4222
    proxy_mode: str = "nftables"
    docker_socket: str = DOCKER_SOCKET
    fake_nodes: list[str] = []
    """Nodes that `covey agent --runtime fake` may play: they have identities, and nothing else on the machine."""

    @property
    def broker_url(self) -> str:
        """Where every process finds the broker."""
        return f"nats://{self.host_address}:{self.broker_port}"

    @property
    def api_url(self) -> str:
        """Where kubectl finds the API."""
        return f"https://127.0.0.1:{self.api_port}"

    @property
    def network(self) -> NetworkConfig:
        """The address plan that every process shares."""
        return NetworkConfig(
            pod_cidrs=[self.pod_cidr],
            service_cidrs=[self.service_cidr],
            dns_address=str(ipaddress.ip_network(self.service_cidr)[10]),
        )

    def bus(self, layout: Layout, identity: str) -> BusConfig:
        """How the process with this identity reaches the broker."""
        return BusConfig(servers=[self.broker_url], seed_file=str(layout.seed_file(identity)))


def configurations(cluster: Cluster, layout: Layout) -> dict[str, ServerConfig | AgentConfig | ProxyConfig]:
    """The configuration of every process, by the name of its file and its identity."""
    files: dict[str, ServerConfig | AgentConfig | ProxyConfig] = {
        SERVER: ServerConfig(
            cluster=cluster.name,
            bus=cluster.bus(layout, SERVER),
            store=cluster.bus(layout, STORE),
            identities_file=str(layout.identities_file),
            pki_dir=str(layout.pki),
            port=cluster.api_port,
            advertise_address=cluster.host_address,
            network=cluster.network,
        )
    }
    for node in cluster.nodes:
        files[f"agent-{node.name}"] = AgentConfig(
            cluster=cluster.name,
            node=node.name,
            addresses=[node.address],
            bus=cluster.bus(layout, f"agent-{node.name}"),
            state_dir=str(layout.node_state(node.name)),
            docker_socket=cluster.docker_socket,
            holder=node.holder,
            network=cluster.network,
        )
        files[f"proxy-{node.name}"] = ProxyConfig(
            cluster=cluster.name,
            node=node.name,
            bus=cluster.bus(layout, f"proxy-{node.name}"),
            mode=cluster.proxy_mode,
            network=cluster.network,
        )
    return files


def fake_agents(cluster: Cluster, layout: Layout, names: Sequence[str]) -> list[AgentConfig]:
    """Configurations of played nodes. Their addresses (RFC 2544's range for benchmarks) are nobody's: no packet ever
    goes there."""
    addresses = ipaddress.ip_network("198.18.0.0/15").hosts()
    return [
        AgentConfig(
            cluster=cluster.name,
            node=name,
            addresses=[str(address)],
            bus=cluster.bus(layout, f"agent-{name}"),
            state_dir=str(layout.node_state(name)),
            runtime="fake",
            labels={FAKE_LABEL: "true"},
            network=cluster.network,
        )
        for name, address in zip(names, addresses, strict=False)
    ]


def processes(cluster: Cluster, layout: Layout, nats_server: Path) -> list[ProcessSpec]:
    """Every process of the cluster, in starting order: broker, control plane, then the nodes'. All but the broker, which
    reads a changed configuration while it runs, carry the digest of theirs: another one makes another process."""
    files = configurations(cluster, layout)

    def covey(name: str, process: str, *inside: str) -> ProcessSpec:
        command = [*inside, sys.executable, "-m", "cli.process", process, str(layout.config_file(name))]
        digest = hashlib.sha256(dump(files[name])).hexdigest()
        return ProcessSpec(name=name, command=command, environment={CONFIGURATION: digest})

    return [
        ProcessSpec(name="nats", command=[str(nats_server), "-c", str(layout.nats / "nats.conf")]),
        covey(SERVER, "server"),
        *(
            covey(f"{process}-{node.name}", process, "nsenter", f"--net={node.namespace}", "--")
            for node in cluster.nodes
            for process in ("agent", "proxy")
        ),
    ]


def read_cluster(layout: Layout) -> Cluster | None:
    """The cluster that was made in this home, or None. `Terminal` when what it is can no longer be told."""
    if not layout.cluster_file.exists():
        return None
    try:
        return msgspec.json.decode(layout.cluster_file.read_bytes(), type=Cluster)
    except msgspec.DecodeError as error:
        raise Terminal(
            f"{layout.cluster_file} is damaged: {error}\n  It says what the cluster has on this machine. Mend it, with "
            f"the help of the configurations in {layout.config}; without it nothing of the cluster is touched"
        ) from error


def save_cluster(layout: Layout, cluster: Cluster) -> None:
    """Write `cluster.json` in one step."""
    write_private(layout.cluster_file, msgspec.json.format(msgspec.json.encode(cluster)))

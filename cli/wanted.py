"""What `covey up` was asked for, and the cluster that follows from it: a new one, or a known one changed.

What can be changed under running pods is changed: the number of nodes, the proxy mode. What cannot is refused with a
sentence, for silence would look like success.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from agents.network import machine, names
from agents.network.ranges import choose_ranges
from agents.network.topology import lay_out
from cli.cluster import Cluster, NodeSpec
from mesh.errors import Terminal
from netproxy.main import MODES

_DEFAULT_NODES = 3
_PORTS = {"api_port": "--api-port", "broker_port": "--broker-port"}
"""Written into every process's configuration or into users' kubeconfigs: they change only while nothing runs."""
_FOR_LIFE = {"name": "--name", "docker_socket": "--docker-socket"}
"""By these everything that the cluster ever made is found again."""
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,28}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the user asked for; None leaves what a known cluster has, and is the default for a new one."""

    name: str | None = None
    nodes: int | None = None
    api_port: int | None = None
    broker_port: int | None = None
    proxy_mode: str | None = None
    docker_socket: str | None = None


def check(wanted: Wanted) -> None:
    """`Terminal` for values that no cluster can have."""
    if wanted.name is not None and not _NAME.fullmatch(wanted.name):
        raise Terminal(f"--name {wanted.name!r}: a cluster's name is at most 30 lower case letters, digits and '-', and "
                       "begins and ends with a letter or digit")  # fmt: skip
    if wanted.proxy_mode is not None and wanted.proxy_mode not in MODES:
        raise Terminal(f"--proxy-mode {wanted.proxy_mode!r}: choose {' or '.join(MODES)}")


def new_cluster(wanted: Wanted, existing_routes: Sequence[str]) -> Cluster:
    """A cluster whose address ranges lie beside what this machine routes already."""
    ranges = choose_ranges(existing_routes)
    name = wanted.name or "covey"
    cluster = Cluster(
        name=name,
        host_address=lay_out(name, ranges.nodes, []).gateway,
        node_cidr=ranges.nodes,
        pod_cidr=ranges.pods,
        service_cidr=ranges.services,
        nodes=[],
    )
    return _with_nodes(msgspec.structs.replace(cluster, **_asked(wanted)), wanted.nodes or _DEFAULT_NODES)


def changed_cluster(known: Cluster, wanted: Wanted, *, running: bool) -> Cluster:
    """The known cluster as it should become; it keeps its addresses. `running`: whether any process of it runs.
    `Terminal` for what cannot be changed."""
    asked = _asked(wanted)
    for field, option in (*_PORTS.items(), *_FOR_LIFE.items()):
        has, wants = getattr(known, field), asked.get(field)
        if wants is None or wants == has or (field in _PORTS and not running):
            continue
        remedy = "covey down --keep-data" if field in _PORTS else "covey down (which deletes its objects)"
        raise Terminal(f"the cluster of this COVEY_HOME was made with {option} {has}; that cannot become {wants} "
                       f"{'while it is up' if field in _PORTS else 'any more'}\n"
                       f"  {remedy}, then covey up {option} {wants}; or make another cluster beside it: "
                       "COVEY_HOME=DIR covey up --name NAME --api-port PORT --broker-port PORT")  # fmt: skip
    return _with_nodes(msgspec.structs.replace(known, **asked), wanted.nodes or len(known.nodes) or _DEFAULT_NODES)


def _asked(wanted: Wanted) -> dict[str, str | int]:
    """The fields of a `Cluster` that were asked for."""
    fields = ("name", "api_port", "broker_port", "proxy_mode", "docker_socket")
    return {field: value for field in fields if (value := getattr(wanted, field)) is not None}


def _with_nodes(cluster: Cluster, count: int) -> Cluster:
    topology = lay_out(cluster.name, cluster.node_cidr, [f"node-{i + 1}" for i in range(count)])
    nodes = [
        NodeSpec(
            name=place.name,
            address=place.address,
            holder=f"{names.namespace(cluster.name, place.name)}-holder",
            namespace=str(machine.node_netns(cluster.name, place.name)),
        )
        for place in topology.nodes
    ]
    return msgspec.structs.replace(cluster, nodes=nodes)

"""`covey agent --runtime fake --count N`: nodes that are only played, in this machine's cluster."""

from __future__ import annotations

import msgspec

from cli.cluster import fake_agents, read_cluster, save_cluster
from cli.identities import write_identities
from cli.layout import Layout
from mesh.config import AgentConfig
from mesh.errors import Terminal


def prepare(layout: Layout, count: int) -> list[AgentConfig]:
    """Give fake-1 to fake-`count` their identities, and return their configurations. The cluster remembers them, so
    that `covey up` leaves them in. `Terminal` when there is no cluster here."""
    cluster = read_cluster(layout)
    if cluster is None:
        raise Terminal(f"there is no cluster in {layout.home} for fake nodes to join. Start one: covey up")
    names = [f"fake-{number + 1}" for number in range(count)]
    known = [*cluster.fake_nodes, *(name for name in names if name not in cluster.fake_nodes)]
    if known != cluster.fake_nodes:
        cluster = msgspec.structs.replace(cluster, fake_nodes=known)
        save_cluster(layout, cluster)
        write_identities(layout, cluster)
    return fake_agents(cluster, layout, names)

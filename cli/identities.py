"""Who may speak on a cluster's broker: seeds for every process, the file of their names, the broker's configuration."""

from __future__ import annotations

from cli.cluster import ADMIN, SERVER, STORE, Cluster
from cli.layout import Layout
from cli.pidfiles import read_pid
from mesh.bus import broker
from mesh.bus.identities import Identity, ensure_seed, proxy_user, save_identities


def write_identities(layout: Layout, cluster: Cluster) -> None:
    """Bring the files up to date with the cluster's nodes; a broker that runs learns of it."""
    identities = {
        ensure_seed(layout.seed_file(ADMIN)): Identity(user="kubernetes-admin", groups=["system:masters"]),
        ensure_seed(layout.seed_file(SERVER)): Identity(
            user="system:covey:server", groups=["system:masters"], role="server"
        ),
    }
    for name in [*(node.name for node in cluster.nodes), *cluster.fake_nodes]:
        agent = ensure_seed(layout.seed_file(f"agent-{name}"))
        identities[agent] = Identity(user=f"system:node:{name}", groups=["system:nodes"])
    for node in cluster.nodes:
        proxy = ensure_seed(layout.seed_file(f"proxy-{node.name}"))
        identities[proxy] = Identity(user=proxy_user(node.name), groups=["system:node-proxiers"])
    save_identities(layout.identities_file, identities)
    config = broker.BrokerConfig(
        layout.nats, (ensure_seed(layout.seed_file(STORE)),), host=cluster.host_address, port=cluster.broker_port
    )
    broker.write(config, identities)
    running = read_pid(layout.run / "nats.pid")
    # In any case: who wrote the file before us may have come to its end before telling. A broker that has not yet noted
    # its own pid is about to read the file.
    if running and config.pid_file.exists() and config.pid_file.read_text().strip() == str(running.pid):
        broker.reload(config)

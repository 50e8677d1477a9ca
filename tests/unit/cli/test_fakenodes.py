"""Nodes that are only played: their identities stay in the cluster's files, and their options are checked."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.app import app
from cli.cluster import FAKE_LABEL, Cluster, NodeSpec, read_cluster, save_cluster
from cli.fakenodes import prepare
from cli.identities import write_identities
from cli.layout import Layout
from mesh.bus.identities import load_identities, load_signer
from mesh.errors import Terminal


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout(tmp_path)
    made.make()
    real = NodeSpec(name="node-1", address="10.0.0.10", holder="h", namespace="/run/netns/n")
    cluster = Cluster(name="t", host_address="127.0.0.1", node_cidr="10.0.0.0/24", pod_cidr="10.64.0.0/16",
                      service_cidr="10.96.0.0/16", nodes=[real])  # fmt: skip
    save_cluster(made, cluster)
    write_identities(made, cluster)
    return made


def test_each_gets_an_identity_an_address_and_the_label(layout: Layout) -> None:
    configs = prepare(layout, 3)
    assert [c.node for c in configs] == ["fake-1", "fake-2", "fake-3"]
    assert len({c.addresses[0] for c in configs}) == 3
    assert {(c.runtime, c.labels[FAKE_LABEL]) for c in configs} == {("fake", "true")}
    known = load_identities(layout.identities_file)
    for config in configs:
        key = load_signer(Path(config.bus.seed_file)).identity
        assert (known[key].user, known[key].groups) == (f"system:node:{config.node}", ["system:nodes"])
        assert key in (layout.nats / "nats.conf").read_text()


def test_the_cluster_remembers_them_beside_its_real_nodes(layout: Layout) -> None:
    prepare(layout, 3)
    again = prepare(layout, 1)
    assert [c.node for c in again] == ["fake-1"]
    cluster = read_cluster(layout)
    assert cluster is not None
    assert cluster.fake_nodes == ["fake-1", "fake-2", "fake-3"]
    write_identities(layout, cluster)  # as `covey up` does
    users = {identity.user for identity in load_identities(layout.identities_file).values()}
    assert {"system:node:node-1", "system:node:fake-3", "system:covey:proxy:node-1"} <= users


def test_without_a_cluster_there_is_nothing_to_join(tmp_path: Path) -> None:
    with pytest.raises(Terminal, match="covey up"):
        prepare(Layout(tmp_path), 1)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "either --config FILE"),
        (["--config", "a.yaml", "--runtime", "fake"], "either --config FILE"),
        (["--runtime", "docker"], "only fake"),
    ],
)
def test_options_that_do_not_go_together(arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(app, ["agent", *arguments])
    assert isinstance(result.exception, Terminal)
    assert said in str(result.exception)

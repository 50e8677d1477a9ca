"""What follows from the options of `covey up`, for a new cluster and for one that is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from cli import up
from cli.layout import Layout
from cli.wanted import Wanted, changed_cluster, check, new_cluster
from mesh.config import DOCKER_SOCKET
from mesh.errors import Terminal

KNOWN = new_cluster(Wanted(name="mine", nodes=2, api_port=7443, broker_port=5222), [])


def test_a_new_cluster_takes_what_was_asked_for_and_the_defaults() -> None:
    assert (KNOWN.name, KNOWN.api_port, KNOWN.broker_port, KNOWN.proxy_mode) == ("mine", 7443, 5222, "nftables")
    assert [node.name for node in KNOWN.nodes] == ["node-1", "node-2"]
    default = new_cluster(Wanted(), [])
    assert (default.name, default.api_port, default.broker_port, len(default.nodes)) == ("covey", 6443, 4222, 3)


@pytest.mark.parametrize("running", [True, False])
def test_nothing_asked_or_the_same_leaves_a_cluster_as_it_is(running: bool) -> None:
    assert changed_cluster(KNOWN, Wanted(), running=running) == KNOWN
    assert changed_cluster(KNOWN, Wanted(name="mine", api_port=7443), running=running) == KNOWN


@pytest.mark.parametrize(
    ("wanted", "running", "expected"),
    [
        (Wanted(proxy_mode="iptables"), True, {"proxy_mode": "iptables"}),
        (Wanted(api_port=8443, broker_port=6222), False, {"api_port": 8443, "broker_port": 6222}),
    ],
)
def test_what_can_be_changed(wanted: Wanted, running: bool, expected: dict[str, Any]) -> None:
    assert changed_cluster(KNOWN, wanted, running=running) == msgspec.structs.replace(KNOWN, **expected)


def test_more_nodes_and_fewer_keep_their_addresses() -> None:
    more = changed_cluster(KNOWN, Wanted(nodes=3), running=True)
    assert more.nodes[:2] == KNOWN.nodes
    assert len(more.nodes) == 3
    assert changed_cluster(more, Wanted(nodes=2), running=True) == KNOWN


@pytest.mark.parametrize(
    ("wanted", "running", "words"),
    [
        (Wanted(api_port=8443), True, ("--api-port 7443", "cannot become 8443 while it is up", "down --keep-data")),
        (Wanted(broker_port=1), True, ("--broker-port 5222", "cannot become 1 while it is up", "down --keep-data")),
        (Wanted(name="other"), False, ("--name mine", "cannot become other any more", "deletes its objects")),
        (Wanted(docker_socket="unix:///x"), True, ("--docker-socket unix:///var/run/docker.sock", "deletes its")),
    ],
)
def test_what_cannot_be_changed_is_refused(wanted: Wanted, running: bool, words: tuple[str, ...]) -> None:
    with pytest.raises(Terminal) as caught:
        changed_cluster(KNOWN, wanted, running=running)
    assert [word for word in words if word not in str(caught.value)] == []


@pytest.mark.parametrize(
    "wanted", [Wanted(name="A b"), Wanted(name="-a"), Wanted(name="x" * 31), Wanted(proxy_mode="x")]
)
def test_what_no_cluster_can_have(wanted: Wanted) -> None:
    with pytest.raises(Terminal):
        check(wanted)
    check(Wanted(name="x" * 30, proxy_mode="iptables"))


def test_an_empty_docker_host_names_no_daemon(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(up.machine, "existing_routes", list)
    monkeypatch.setenv("DOCKER_HOST", "")
    assert up._planned(Layout(tmp_path), Wanted(), None).docker_socket == DOCKER_SOCKET
    monkeypatch.setenv("DOCKER_HOST", "unix:///other.sock")
    assert up._planned(Layout(tmp_path), Wanted(), None).docker_socket == "unix:///other.sock"

"""Checks before a cluster is made."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path
from types import SimpleNamespace

import pytest

from cli.preflight import ROOM, check_docker, check_ports, check_room

NOT_OURS_YET = "198.51.100.1"
"""TEST-NET-2: no machine has it."""


def test_a_port_is_checked_on_an_address_that_is_still_to_come() -> None:
    with socket.socket() as other:
        other.bind(("0.0.0.0", 0))
        other.listen()
        port = other.getsockname()[1]
        (finding,) = check_ports([(NOT_OURS_YET, port, "broker")])
        assert f"port {port} (broker) is taken" in str(finding)
        assert "covey up --broker-port PORT" in str(finding)
    with socket.socket() as elsewhere:
        elsewhere.bind(("127.0.0.1", 0))
        elsewhere.listen()
        port = elsewhere.getsockname()[1]
        assert list(check_ports([(NOT_OURS_YET, port, "broker")])) == []


@pytest.mark.parametrize("url", ["tcp://198.51.100.1:2375", "ssh://somebody@elsewhere"])
def test_a_docker_daemon_elsewhere_is_not_even_asked(url: str) -> None:
    (finding,) = check_docker(url)
    assert f"the Docker daemon at {url} may be another machine's" in finding.problem
    assert "unset DOCKER_HOST" in finding.remedy


@pytest.mark.parametrize(
    ("option", "name"), [("name=rootless", "rootless"), ("name=userns", "userns-remapped"), ("name=cgroupns", "")]
)
def test_a_docker_daemon_that_is_not_this_machines_root(
    monkeypatch: pytest.MonkeyPatch, option: str, name: str
) -> None:
    class Client:
        def __init__(self, **_: object) -> None:
            """Connects to nobody."""

        def info(self) -> dict[str, object]:
            return {"SecurityOptions": ["name=seccomp,profile=builtin", option], "OSType": "linux"}

        def close(self) -> None:
            """Nothing was opened."""

    url = "unix:///run/user/1000/docker.sock"
    monkeypatch.setattr("cli.preflight.docker.DockerClient", Client)
    monkeypatch.setenv("DOCKER_HOST", url)
    found = [str(finding) for finding in check_docker(url)]
    assert len(found) == bool(name)
    assert all(f"the Docker daemon at {url} is {name}: " in text and "or unset DOCKER_HOST" in text for text in found)


@pytest.mark.parametrize(("free", "found"), [(ROOM - 1, 1), (ROOM, 0)])
def test_the_disk_has_room_where_the_home_will_be(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, free: int, found: int
) -> None:
    asked: list[Path] = []

    def disk_usage(path: Path) -> SimpleNamespace:
        asked.append(path)
        return SimpleNamespace(free=free * 2**20)

    monkeypatch.setattr(shutil, "disk_usage", disk_usage)
    findings = [str(finding) for finding in check_room(tmp_path / "home" / "below")]
    assert asked == [tmp_path]
    assert len(findings) == found
    assert all(f"only {free} MiB are free" in text and "COVEY_HOME=DIR covey up" in text for text in findings)

"""`make quickstart` on a real machine that has nothing: the README's promises for a fresh Debian 12, on cgroup v2 with
systemd."""

from __future__ import annotations

import json
import re

import pytest

from tests.vm.guest import Guest

pytestmark = pytest.mark.timeout(3600)
QUICKSTART_SECONDS = 3300.0
KUBECTL = "cd covey && KUBECONFIG=~/.covey/kubeconfig .venv/bin/kubectl"


def quickstart(guest: Guest) -> str:
    """Run it; what it printed."""
    return guest.run("cd covey && make quickstart 2>&1", QUICKSTART_SECONDS)


def serves(said: str, nodes: int) -> bool:
    """Whether the page came from every node's address and from inside a pod."""
    rows = [line for line in said.splitlines() if re.search(r"^from (here,|inside) .*Hello from hello-", line)]
    return len(rows) == nodes + 1


def test_a_machine_that_has_nothing(guest: Guest) -> None:
    said = quickstart(guest)
    assert "3 nodes Ready" in said
    assert serves(said, 3)
    assert json.loads(guest.run("sudo docker info --format '{{json .LiveRestoreEnabled}}'")) is True
    assert guest.run("stat -c %U .covey .covey/kubeconfig covey/.venv").split() == ["dev"] * 3
    assert guest.run("find covey -not -user dev") == ""
    pods = json.loads(guest.run(f"{KUBECTL} get pods --all-namespaces --output json"))["items"]
    assert {pod["status"]["phase"] for pod in pods} == {"Running"}

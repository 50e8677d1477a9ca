"""The holders of a machine's nodes, on a Docker daemon that only remembers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import docker
import pytest

from cli import containers
from cli.cluster import Cluster, NodeSpec

NODE = NodeSpec(name="node-1", address="10.0.0.2", holder="h", namespace="/run/netns/x")
CLUSTER = Cluster(
    name="c", host_address="10.0.0.1", node_cidr="10.0.0.0/24", pod_cidr="10.1.0.0/16",
    service_cidr="10.96.0.0/16", nodes=[NODE],
)  # fmt: skip
OLD, NEW = 100, 200
"""Processes in a namespace that was deleted, and in the one that was made anew."""


class Holder:
    """The holder, and the sandboxes beside it: network mode and process id. An agent is at work: what it makes while the
    holder restarts joins it as it was."""

    status = "running"

    def __init__(self, pid: int) -> None:
        self.attrs: dict[str, Any] = {}
        self.pid = pid
        self.sandboxes = {"plain": ("none", OLD), "joined": ("container:h", pid)}
        self.killed: list[str] = []

    def reload(self) -> None:
        self.attrs = {"State": {"Pid": self.pid}}

    def restart(self, timeout: int) -> None:
        assert timeout == 0
        self.sandboxes["joined meanwhile"] = ("container:h", self.pid)
        self.pid = NEW
        self.sandboxes["joined after"] = ("container:h", self.pid)

    def listed(self, filters: dict[str, list[str]]) -> list[dict[str, Any]]:
        assert "dev.covey.kind=sandbox" in filters["label"]
        return [{"Id": name, "HostConfig": {"NetworkMode": mode}} for name, (mode, _) in self.sandboxes.items()]

    def inspected(self, name: str) -> dict[str, Any]:
        return {"State": {"Pid": self.sandboxes[name][1]}}

    def client(self) -> docker.DockerClient:
        api = SimpleNamespace(containers=self.listed, inspect_container=self.inspected, kill=self.killed.append)
        return cast("docker.DockerClient", SimpleNamespace(containers={NODE.holder: self}, api=api))


@pytest.mark.parametrize(("pid", "killed"), [(OLD, ["joined", "joined meanwhile"]), (NEW, [])])
def test_what_joined_a_holder_before_it_moved_is_made_anew(
    monkeypatch: pytest.MonkeyPatch, pid: int, killed: list[str]
) -> None:
    monkeypatch.setattr(containers, "ensure_example_images", lambda _: None)
    monkeypatch.setattr(containers, "holder_ready", lambda pid, *_: pid >= NEW)
    holder = Holder(pid)
    containers.ensure_holders(holder.client(), CLUSTER)
    assert holder.pid == NEW
    assert holder.killed == killed

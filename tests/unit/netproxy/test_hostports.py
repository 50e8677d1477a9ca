"""hostPort as a table: a pod in, rules out."""

from __future__ import annotations

from typing import Any

import pytest

from mesh.objects.meta import Key
from netproxy.endpoints import Backend
from netproxy.hostports import host_port_rules, owner_of, pod_of
from netproxy.model import Masquerade, NodeView

NODE = NodeView("n", families=frozenset({4, 6}))
TCP = {"containerPort": 80, "hostPort": 8080, "protocol": "TCP"}


def pod(*ports: dict[str, Any], ips: tuple[str, ...] = ("10.64.0.2",), phase: str = "Running", **spec: Any) -> Any:
    return {
        "metadata": {"namespace": "default", "name": "p"},
        "spec": {"nodeName": "n", "containers": [{"name": "c", "ports": list(ports)}], **spec},
        "status": {"phase": phase, "podIPs": [{"ip": ip} for ip in ips]},
    }


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (pod(TCP), {("0.0.0.0", "tcp", 8080): "10.64.0.2"}),
        (pod({**TCP, "protocol": "UDP"}), {("0.0.0.0", "udp", 8080): "10.64.0.2"}),
        (pod({**TCP, "hostIP": "192.0.2.1"}), {("192.0.2.1", "tcp", 8080): "10.64.0.2"}),
        (
            pod(TCP, ips=("10.64.0.2", "fd00::2")),
            {("0.0.0.0", "tcp", 8080): "10.64.0.2", ("::", "tcp", 8080): "fd00::2"},
        ),
        (pod(TCP, {**TCP, "hostPort": 0}), {("0.0.0.0", "tcp", 8080): "10.64.0.2"}),
        (pod(initContainers=[{"name": "s", "ports": [TCP]}]), {("0.0.0.0", "tcp", 8080): "10.64.0.2"}),
        (pod({"containerPort": 80}), {}),
        (pod(TCP, ips=()), {}),
        (pod(TCP, phase="Succeeded"), {}),
        (pod(TCP, hostNetwork=True), {}),
        (pod(TCP, nodeName="other"), {}),
        (pod({**TCP, "hostIP": "2001:db8::1"}), {}),
    ],
)
def test_rules(given: Any, expected: dict[tuple[str, str, int], str]) -> None:
    rules = host_port_rules(given, NODE)
    assert {(f.address, f.protocol, f.port): rule.backends for f, rule in rules.items()} == {
        frontend: (Backend(address, 80, local=True),) for frontend, address in expected.items()
    }
    assert all(rule.masquerade is Masquerade.NEVER for rule in rules.values())


def test_owners() -> None:
    owner = owner_of(pod(TCP))
    assert owner is not None
    assert pod_of(owner) == Key("default", "p")
    assert owner_of(pod({"containerPort": 80})) is None
    assert pod_of(Key("default", "p")) is None

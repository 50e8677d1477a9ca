"""How `covey describe` writes what a container is asked to do."""

from __future__ import annotations

from typing import Any

import pytest

from cli.describe.common import containers
from cli.describe.layout import Page

TIMES = "delay=0s timeout=1s period=10s successThreshold=1 failureThreshold=3"


@pytest.mark.parametrize(
    ("probe", "words"),
    [
        ({"httpGet": {"port": "web", "path": "/x", "scheme": "HTTPS"}}, f"http-get https://:web/x {TIMES}"),
        ({"tcpSocket": {"port": 80}}, f"tcp-socket :80 {TIMES}"),
        ({"grpc": {"port": 80}}, f"grpc <pod>:80 {TIMES}"),
        ({"grpc": {"port": 80, "service": "mail"}}, f"grpc <pod>:80 mail {TIMES}"),
        (
            {"tcpSocket": {"port": 80}, "initialDelaySeconds": 5, "periodSeconds": 2, "failureThreshold": 9},
            "tcp-socket :80 delay=5s timeout=1s period=2s successThreshold=1 failureThreshold=9",
        ),
    ],
)
def test_probes(probe: dict[str, Any], words: str) -> None:
    page = Page()
    containers(page, "Containers", [{"name": "a", "image": "b", "livenessProbe": probe}], ())
    [line] = [line for line in str(page).splitlines() if "Liveness:" in line]
    assert line.split(None, 1)[1] == words

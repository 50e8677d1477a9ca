"""What projected files hold, and who may read them."""

from __future__ import annotations

from typing import Any

import pytest

from agents.node.volumes import FileData, payload, token_needs

VOLUME = {"name": "v", "projected": {"defaultMode": 0o644, "sources": [{"serviceAccountToken": {"path": "token"}}]}}
USER = {"securityContext": {"runAsUser": 1000}}
OTHER = {"securityContext": {"runAsUser": 1001}}


@pytest.mark.parametrize(
    ("context", "containers", "init", "mode", "owner"),
    [
        ({}, [{}], [], 0o644, None),
        ({}, [USER], [], 0o600, 1000),
        ({"runAsUser": 1000}, [{}, {}], [{}], 0o600, 1000),
        ({"runAsUser": 1001}, [USER], [], 0o600, 1000),
        ({}, [USER, {}], [], 0o644, None),
        ({}, [USER, OTHER], [], 0o644, None),
        ({}, [USER], [OTHER], 0o644, None),
        ({"fsGroup": 3000}, [{}], [], 0o600, None),
        ({"runAsUser": 0}, [{}], [], 0o600, 0),
    ],
)
def test_who_may_read_a_token(context: Any, containers: Any, init: Any, mode: int, owner: int | None) -> None:
    spec = {"securityContext": context, "containers": containers, "initContainers": init, "volumes": [VOLUME]}
    pod = {"metadata": {"name": "p", "namespace": "default"}, "spec": spec}
    tokens = dict.fromkeys(token_needs(pod), "secret")
    files = payload(pod, VOLUME, lambda _kind, _name: None, tokens, status={}, allocatable={})
    assert files == {"token": FileData(b"secret", mode, owner)}

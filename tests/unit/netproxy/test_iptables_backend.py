"""The iptables back end on a kernel that knows nothing of nftables."""

from __future__ import annotations

import pytest

from netproxy.backend import KernelRefused
from netproxy.cluster import Cluster
from netproxy.iptables import backend as iptables


class Legacy:
    """The legacy tools, whose tables stay empty."""

    def __init__(self) -> None:
        self.commands: list[str] = []

    async def run(self, *command: str, stdin: str = "") -> str:
        self.commands.append(command[0])
        return "iptables v1.8.9 (legacy)\n" if command[1:] == ("--version",) else ""


class NoNftables:
    """What the kernel says who is asked for a socket to netfilter."""

    def __init__(self) -> None:
        raise KernelRefused("no such protocol")


async def test_legacy_iptables_needs_no_nftables(monkeypatch: pytest.MonkeyPatch) -> None:
    legacy = Legacy()
    monkeypatch.setattr(iptables, "run", legacy.run)
    monkeypatch.setattr(iptables, "NetfilterSocket", NoNftables)
    backend = iptables.IptablesBackend(Cluster(("10.64.0.0/16",), ("10.96.0.0/16",), "10.96.0.10"))
    await backend.sync({})
    assert "iptables-restore" in legacy.commands
    assert not await backend.intact(), "it read the tables, and they are empty"
    await backend.cleanup()
    backend.close()

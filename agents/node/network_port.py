"""The port to the pod network. Real and fake adapters (`agents.network`) pass the same suite."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from agents.node.sysctls import NONE as NO_SYSCTLS
from mesh.errors import CoveyError


@dataclass(frozen=True, slots=True)
class PodAddresses:
    """A pod's addresses, the primary family first: ("10.64.1.7",)."""

    addresses: tuple[str, ...]


class NetworkFailure(CoveyError):
    """A sandbox could not be wired: no free address, its namespace is gone, or the kernel refused. Worth a retry."""


class PodNetwork(Protocol):
    """Gives sandboxes their interface and address. Idempotent: asked again for the same sandbox, answers the same.

    `attach` raises `NetworkFailure`."""

    async def attach(self, sandbox_id: str, netns: str, sysctls: Mapping[str, str] = NO_SYSCTLS) -> PodAddresses:
        """Wire the network namespace at path `netns` as eth0, and set `sysctls` there (those of the network, as the pod
        writes their names); returns its addresses. They stay the sandbox's own, over restarts of the agent, until
        `detach`."""

    async def detach(self, sandbox_id: str) -> None:
        """Release what `attach` made; a vanished namespace or sandbox is fine."""

    async def retain(self, sandbox_ids: frozenset[str]) -> None:
        """Release everything that belongs to sandboxes not named: called after a restart with what really exists. Raises
        `NetworkFailure`."""

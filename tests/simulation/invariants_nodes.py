"""Invariants about what runs where, read from the runtimes themselves, whatever the API shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controlplane.controllers import pods
from mesh.objects.meta import key_of

if TYPE_CHECKING:
    from tests.simulation.world import World

SLACK = 15.0
"""Seconds beyond its grace time that an undisturbed node may take to end a deleted pod."""
_GRACE = 30.0
"""Grace time of every pod here."""


def exclusive_pods_run_once(world: World) -> str:
    """An exclusive pod never runs on two nodes at the same moment."""
    where: dict[str, str] = {}
    for node in world.nodes:
        for uid in node.runtime.running().values():
            pod = world.pods_ever.get(uid)
            if pod is None or not pods.is_exclusive(pod):
                continue
            name = str(key_of(pod))
            other = where.setdefault(name, node.name)
            if other != node.name:
                return f"{name} runs on {other} and on {node.name}"
    return ""


def addresses_are_unique(world: World) -> str:
    """No two running pods hold one pod address."""
    holders: dict[str, str] = {}
    for node in world.nodes:
        for sandbox in node.runtime.live_sandboxes():
            for address in node.network.ledger.holders.get(sandbox, ()):
                other = holders.setdefault(address, f"{node.name}/{sandbox}")
                if other != f"{node.name}/{sandbox}":
                    return f"{address} is held by {other} and by {node.name}/{sandbox}"
    return ""


def deleted_pods_end(world: World) -> str:
    """A node that is in touch runs no container of a pod that has been gone for longer than its grace time."""
    for node in world.nodes:
        if not node.agent_running:
            continue
        for uid in node.runtime.running().values():
            gone = world.pods_gone.get(uid)
            if gone is None:
                continue
            since = max(gone, world.calm_since)
            if world.now - since > _GRACE + SLACK:
                pod = key_of(world.pods_ever[uid])
                return f"{pod} has been gone since {gone:.1f}, and {node.name} still runs it"
    return ""

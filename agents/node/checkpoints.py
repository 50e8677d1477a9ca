"""The agent's last desired state on disk: each pod with its last status and the objects it refers to, and what the node
as a whole has to remember, by name.

Read at start, so that an agent with no broker in reach goes on running what it should. One file for each pod and each
name, replaced atomically and synced; Secrets are in them, so the directory is root's own.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import orjson

from agents.node.objects import Reference
from agents.node.observed import Verdict
from mesh.durable import remove_drafts, write_private
from mesh.objects.types import Json, Object

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What is remembered of one pod. `pod` carries the status that was last computed."""

    pod: Object
    objects: Mapping[Reference, Object] = field(default_factory=dict)
    verdict: Verdict | None = None


class Checkpoints(Protocol):
    """Where checkpoints are kept, by pod UID."""

    async def save(self, uid: str, checkpoint: Checkpoint) -> None:
        """Keep it, durably, in place of an older one."""

    async def remove(self, uid: str) -> None:
        """Forget it; an unknown one is fine."""

    def load(self) -> dict[str, Checkpoint]:
        """All that is kept. Unreadable ones are logged and left out: the API will tell."""

    async def save_node(self, name: str, value: Json) -> None:
        """Keep something of the node's own, durably, in place of what had this name."""

    def load_node(self, name: str) -> Json:
        """What was kept under a name; None for nothing, and for what cannot be read."""


class MemoryCheckpoints:
    """Checkpoints of a simulated node; they survive the simulated agent, not the process."""

    def __init__(self) -> None:
        self._kept: dict[str, Checkpoint] = {}
        self._node: dict[str, Json] = {}

    async def save(self, uid: str, checkpoint: Checkpoint) -> None:
        """See `Checkpoints.save`."""
        self._kept[uid] = checkpoint

    async def remove(self, uid: str) -> None:
        """See `Checkpoints.remove`."""
        self._kept.pop(uid, None)

    def load(self) -> dict[str, Checkpoint]:
        """See `Checkpoints.load`."""
        return dict(self._kept)

    async def save_node(self, name: str, value: Json) -> None:
        """See `Checkpoints.save_node`."""
        self._node[name] = value

    def load_node(self, name: str) -> Json:
        """See `Checkpoints.load_node`."""
        return self._node.get(name)


class DiskCheckpoints:
    """Checkpoints as JSON files in `directory`, which is made when absent; its only user."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._node = directory / "node"
        for folder in (directory, self._node):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            folder.chmod(0o700)
            remove_drafts(folder)

    async def save(self, uid: str, checkpoint: Checkpoint) -> None:
        """See `Checkpoints.save`. Waiting for the disk happens beside the event loop."""
        await asyncio.to_thread(write_private, self._directory / f"{uid}.json", encode(checkpoint))

    async def remove(self, uid: str) -> None:
        """See `Checkpoints.remove`."""
        (self._directory / f"{uid}.json").unlink(missing_ok=True)

    def load(self) -> dict[str, Checkpoint]:
        """See `Checkpoints.load`."""
        found: dict[str, Checkpoint] = {}
        for path in sorted(self._directory.glob("*.json")):
            try:
                found[path.stem] = decode(path.read_bytes())
            except (ValueError, KeyError, OSError) as error:
                log.warning("checkpoint.unreadable file=%s reason=%s", path.name, error)
        return found

    async def save_node(self, name: str, value: Json) -> None:
        """See `Checkpoints.save_node`."""
        await asyncio.to_thread(write_private, self._node / f"{name}.json", orjson.dumps(value))

    def load_node(self, name: str) -> Json:
        """See `Checkpoints.load_node`."""
        path = self._node / f"{name}.json"
        try:
            return orjson.loads(path.read_bytes())
        except FileNotFoundError:
            return None
        except (ValueError, OSError) as error:
            log.warning("checkpoint.unreadable file=%s reason=%s", path.name, error)
            return None


def encode(checkpoint: Checkpoint) -> bytes:
    """A checkpoint as JSON."""
    verdict = checkpoint.verdict
    return orjson.dumps(
        {
            "pod": checkpoint.pod,
            "objects": [[*reference, obj] for reference, obj in checkpoint.objects.items()],
            "verdict": [verdict.reason, verdict.message] if verdict else None,
        }
    )


def decode(data: bytes) -> Checkpoint:
    """What `encode` made; raises ValueError or KeyError for anything else."""
    value = orjson.loads(data)
    objects = {Reference(kind, namespace, name): obj for kind, namespace, name, obj in value["objects"]}
    verdict = Verdict(*value["verdict"]) if value["verdict"] else None
    return Checkpoint(value["pod"], objects, verdict)

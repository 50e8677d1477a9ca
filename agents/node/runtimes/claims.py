"""Which pod a warm sandbox belongs to: a small file for each, because Docker's labels cannot change after creation.

The file is there, whole, before anything of the pod is put into the sandbox (written aside, then renamed). So after a
crash a sandbox is either unclaimed and untouched, and may be given away, or it is claimed and belongs to its pod. The
containers that join carry the pod's UID and the sandbox's id as labels: they say the same if the files were lost.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import msgspec

from mesh.durable import replace_unsynced

log = logging.getLogger(__name__)


class Claim(msgspec.Struct, frozen=True):
    """A warm sandbox's pod, and the labels it would carry had it been made for it."""

    pod_uid: str
    labels: Mapping[str, str]


class Claims:
    """The claims of one node, in one directory, one file for each sandbox."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def sandboxes(self) -> set[str]:
        """Ids of the sandboxes that are claimed."""
        if not self._directory.exists():
            return set()
        return {file.name for file in self._directory.iterdir() if not file.name.startswith(".")}

    def get(self, sandbox_id: str) -> Claim | None:
        """The claim on one sandbox; None also for one that cannot be read, as a power cut may leave it."""
        try:
            return msgspec.json.decode((self._directory / sandbox_id).read_bytes(), type=Claim)
        except FileNotFoundError:
            return None
        except ValueError as error:
            log.warning("claim.unreadable sandbox=%s reason=%s", sandbox_id, error)
            return None

    def put(self, sandbox_id: str, claim: Claim) -> None:
        """Claim a sandbox for good: a kill -9 before the rename leaves it unclaimed, after it claimed.

        Not synced: a machine that loses power loses its sandboxes with it, and a pod's start would wait for the disk.
        """
        self._directory.mkdir(parents=True, exist_ok=True)
        replace_unsynced(self._directory / sandbox_id, msgspec.json.encode(claim))

    def drop(self, sandbox_id: str) -> None:
        """Forget the claim on a sandbox that is gone; none is fine."""
        (self._directory / sandbox_id).unlink(missing_ok=True)

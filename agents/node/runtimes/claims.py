"""Which pod a warm sandbox belongs to: a small file for each, because Docker's labels cannot change after creation.

The file is there, whole, before anything of the pod is put into the sandbox (written aside, then renamed). So after a
crash a sandbox is either unclaimed and untouched, and may be given away, or it is claimed and belongs to its pod. The
containers that join carry the pod's UID and the sandbox's id as labels: they say the same if the files were lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec


class Claim(msgspec.Struct, frozen=True):
    """A warm sandbox's pod, and the labels it would carry had it been made for it."""

    pod_uid: str
    labels: Mapping[str, str]


class Claims:
    """The claims of one node, in one directory, one file for each sandbox."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def all(self) -> dict[str, Claim]:
        """Every claim, by sandbox id."""
        if not self._directory.exists():
            return {}
        return {
            file.name: msgspec.json.decode(file.read_bytes(), type=Claim)
            for file in self._directory.iterdir()
            if not file.name.endswith(".new")
        }

    def get(self, sandbox_id: str) -> Claim | None:
        """The claim on one sandbox."""
        try:
            return msgspec.json.decode((self._directory / sandbox_id).read_bytes(), type=Claim)
        except FileNotFoundError:
            return None

    def put(self, sandbox_id: str, claim: Claim) -> None:
        """Claim a sandbox for good: a kill -9 before the rename leaves it unclaimed, after it claimed.

        No fsync: a machine that loses power loses its sandboxes with it.
        """
        self._directory.mkdir(parents=True, exist_ok=True)
        temporary = self._directory / f"{sandbox_id}.new"
        temporary.write_bytes(msgspec.json.encode(claim))
        temporary.replace(self._directory / sandbox_id)

    def drop(self, sandbox_id: str) -> None:
        """Forget the claim on a sandbox that is gone; none is fine."""
        (self._directory / sandbox_id).unlink(missing_ok=True)

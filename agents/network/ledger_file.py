"""The address ledger on disk, so that a sandbox keeps its address over restarts of the agent.

Written before the kernel is touched, replaced as a whole by a rename: after a crash at any moment the file is either
the old ledger or the new one. It is not synced: a machine that lost power has lost its sandboxes too.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from agents.network.addresses import Ledger
from mesh.durable import replace_unsynced


def load(path: Path) -> Ledger | None:
    """The ledger at `path`; None when there is none, or none that can be read (the kernel's state replaces it)."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Ledger)
    except (FileNotFoundError, ValueError):
        return None


def save(path: Path, ledger: Ledger) -> None:
    """Replace the ledger at `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_unsynced(path, msgspec.json.encode(ledger))

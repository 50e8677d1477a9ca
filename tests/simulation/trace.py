"""What happened in a simulation, in order: for people to read after a failure, and to compare two runs of one seed."""

from __future__ import annotations

import asyncio
import hashlib


class Trace:
    """One line for each event."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.closed = False
        """A failure is the last event: what comes after it explains nothing."""

    def note(self, who: str, what: str) -> None:
        """Something happened, now."""
        if not self.closed:
            self.lines.append(f"{asyncio.get_running_loop().time():9.3f} {who:12} {what}")

    def digest(self) -> str:
        """Short, and equal only for equal traces."""
        return hashlib.sha256("\n".join(self.lines).encode()).hexdigest()[:12]

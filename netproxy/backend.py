"""The back end port: what turns the rule table into the kernel's rules. No kernel interface may enter here."""

from __future__ import annotations

from typing import Protocol

from mesh.errors import CoveyError
from netproxy.model import Rules
from netproxy.plan import Changes


class KernelRefused(CoveyError):
    """The kernel (or its tool) did not take our rules; the message holds its words. A full sync may help."""


class Backend(Protocol):
    """One way of programming the kernel. Calls never overlap; each is all or nothing per connection: at every moment
    a connection sees either the old rules of its frontend or the new ones."""

    async def sync(self, rules: Rules) -> int:
        """Make the kernel hold exactly `rules`: read what is there, write the difference; returns how many kernel
        entries were written (0: what a predecessor left was right, and was adopted). `KernelRefused` on failure."""

    async def apply(self, changes: Changes) -> int:
        """Make these changes to what the last `sync` or `apply` left; returns how many kernel entries were written.
        After `KernelRefused` only `sync` may follow."""

    async def intact(self) -> bool:
        """Whether the kernel still holds what we wrote, i.e. nobody else flushed or changed it."""

    async def cleanup(self) -> None:
        """Remove everything of ours, whoever of us made it, and nothing else."""

    def close(self) -> None:
        """Let go of sockets; the kernel keeps the rules."""

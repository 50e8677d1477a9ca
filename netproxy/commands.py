"""Running the kernel's own tools (nft, iptables-restore, conntrack) as subprocesses."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

from mesh.errors import Terminal
from netproxy.backend import KernelRefused

LOCK_SECONDS = "5"
"""How long to wait for whoever else is changing iptables at the moment (legacy iptables has one lock for all)."""


async def run(*command: str, stdin: str = "", accept: tuple[int, ...] = (0,)) -> str:
    """Run `command` with `stdin` as its input; returns its standard output.

    `KernelRefused` with the tool's words when it ends with a status that is not in `accept`, `Terminal` when it is not
    installed.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            # A pipe that nobody fills may be closed by the tool before we close it, which uvloop takes for an error.
            stdin=asyncio.subprocess.PIPE if stdin else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except FileNotFoundError as error:
        raise Terminal(f"{command[0]} is not installed: the proxy needs it to program Services") from error
    output, errors = await process.communicate(stdin.encode() or None)
    if process.returncode not in accept:
        raise KernelRefused(f"{' '.join(command)}: {errors.decode(errors='replace').strip()}")
    return output.decode(errors="replace")


def flavours(table: str) -> list[str]:
    """The iptables flavours that have this table here. Merely asking the legacy one would load its modules and make its
    tables."""
    found = []
    if shutil.which("iptables-nft"):
        found.append("iptables-nft")
    legacy = Path("/proc/net/ip_tables_names")
    if shutil.which("iptables-legacy") and legacy.exists() and table in legacy.read_text().split():
        found.append("iptables-legacy")
    return found

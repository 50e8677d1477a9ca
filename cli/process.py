"""Entry points of the cluster's processes, without the command's imports: a node's agent should stay small.

`python -m cli.process server|agent|proxy|supervise FILE` is what the supervisor and systemd units run; `covey server`
and its like call the same functions.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from mesh.errors import Terminal


def configure_logging() -> None:
    """Structured lines on stderr: time, level, event with its fields. COVEY_LOG sets the level."""
    logging.basicConfig(
        level=os.environ.get("COVEY_LOG", "INFO").upper(),
        format="%(asctime)s.%(msecs)03d %(levelname)s %(name)s %(message)s",
        datefmt="%Y-%m-%dT%H:%M:%S",
        stream=sys.stderr,
    )


def server(config: Path) -> None:
    """Run the control plane."""
    from controlplane.main import run
    from mesh.config import ServerConfig, load

    _loop(run(load(config, ServerConfig)))


def agent(config: Path) -> None:
    """Run a node's agent."""
    from agents.main import run
    from mesh.config import AgentConfig, load

    _loop(run(load(config, AgentConfig)))


def fake_agents(count: int) -> None:
    """Play this many nodes of the cluster on this machine: their containers are only records."""
    from agents.main import run_many
    from cli.fakenodes import prepare
    from cli.layout import Layout
    from mesh.config import home

    _loop(run_many(prepare(Layout(home()), count)))


def proxy(config: Path) -> None:
    """Run a node's service proxy."""
    from mesh.config import ProxyConfig, load
    from netproxy.main import run

    _loop(run(load(config, ProxyConfig)))


def supervise(home: Path) -> None:
    """Keep the processes of the cluster below `home` running."""
    import asyncio

    from cli.supervisor import Supervisor

    configure_logging()
    asyncio.run(Supervisor(home).run())


def _loop(work: Coroutine[Any, Any, None]) -> None:
    """Run to the end; a `Terminal` from inside a group of tasks is raised as itself."""
    import uvloop

    configure_logging()
    try:
        uvloop.run(work)
    except BaseExceptionGroup as group:
        terminal = group.subgroup(Terminal)
        if terminal is None:
            raise
        raise _first(terminal) from group


def _first(group: BaseExceptionGroup[Terminal]) -> Terminal:
    found = group.exceptions[0]
    return _first(found) if isinstance(found, BaseExceptionGroup) else found


_PROCESSES: dict[str, Callable[[Path], None]] = {
    "server": server,
    "agent": agent,
    "proxy": proxy,
    "supervise": supervise,
}


def main() -> None:
    """`python -m cli.process KIND FILE`."""
    if len(sys.argv) != 3 or sys.argv[1] not in _PROCESSES:
        sys.exit(f"usage: python -m cli.process {'|'.join(_PROCESSES)} FILE")
    try:
        _PROCESSES[sys.argv[1]](Path(sys.argv[2]))
    except Terminal as error:
        sys.exit(f"covey {sys.argv[1]}: {error}")


if __name__ == "__main__":
    main()

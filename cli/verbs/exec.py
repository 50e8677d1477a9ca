"""`covey exec` and `covey attach`: a terminal, or plain streams, to a container through the broker."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from cli import options
from cli.pods import Container, Pod, choose_container, find_pod
from cli.session import Session, run
from cli.streams import converse

Stdin = Annotated[bool, typer.Option("--stdin", "-i", help="Pass our standard input on.")]
Tty = Annotated[bool, typer.Option("--tty", "-t", help="Standard input is a terminal.")]


def exec_in(
    pod: Pod,
    arguments: Annotated[list[str], typer.Argument(metavar="-- COMMAND [ARGS...]")],
    namespace: options.Namespace = "",
    container: Container = "",
    stdin: Stdin = False,
    terminal: Tty = False,
) -> None:
    """Run a command in a container: covey exec -it web-1 -- sh."""

    async def command(session: Session) -> int:
        found = await find_pod(session, pod)
        given = [("container", choose_container(found, container))]
        given += [("command", word) for word in arguments]
        return await converse(session, found, "exec", given, stdin=stdin, terminal=terminal)

    sys.exit(run(command, namespace))


def attach(
    pod: Pod,
    namespace: options.Namespace = "",
    container: Container = "",
    stdin: Stdin = False,
    terminal: Tty = False,
) -> None:
    """Attach to a container's own process."""

    async def command(session: Session) -> int:
        found = await find_pod(session, pod)
        given = [("container", choose_container(found, container))]
        return await converse(session, found, "attach", given, stdin=stdin, terminal=terminal)

    sys.exit(run(command, namespace))

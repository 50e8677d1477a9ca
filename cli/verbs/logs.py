"""`covey logs`: what a container wrote, once or as it grows."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from cli import options
from cli.pods import Container, Pod, choose_container, find_pod, raise_failure
from cli.session import Session, run
from mesh.api.port import Request
from mesh.errors import Terminal
from mesh.objects.kinds import PODS
from mesh.objects.meta import name_of, namespace_of


def logs(
    pod: Pod,
    namespace: options.Namespace = "",
    container: Container = "",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as the log grows.")] = False,
    previous: Annotated[bool, typer.Option("--previous", "-p", help="Of the container's last run.")] = False,
    tail: Annotated[int, typer.Option("--tail", help="Only this many last lines; -1 is all.")] = -1,
    since: Annotated[str, typer.Option("--since", help="Only newer than this: 5s, 2m, 3h.")] = "",
    timestamps: Annotated[bool, typer.Option("--timestamps", help="The time before each line.")] = False,
) -> None:
    """Print a container's log: covey logs -f deploy/web."""

    async def command(session: Session) -> None:
        found = await find_pod(session, pod)
        given = {
            "container": choose_container(found, container),
            "follow": "true" if follow else "",
            "previous": "true" if previous else "",
            "tailLines": str(tail) if tail >= 0 else "",
            "sinceSeconds": str(_seconds(since)) if since else "",
            "timestamps": "true" if timestamps else "",
        }
        query = tuple((k, v) for k, v in given.items() if v)
        name, where = name_of(found), namespace_of(found)
        if not follow:
            answer = await session.client.request(Request("GET", PODS.path(where, name, "log"), query))
            sys.stdout.buffer.write(answer.body)
            return
        stream = await session.client.connect(PODS, name, where, "log", query)
        while (frame := await stream.receive()) is not None:
            channel, data = frame
            raise_failure(channel, data)
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()

    run(command, namespace)


def _seconds(text: str) -> int:
    units = {"s": 1, "m": 60, "h": 3600}
    if not text[:-1].isdigit() or text[-1] not in units:
        raise Terminal(f'invalid argument "{text}" for "--since": expected a duration like 5s, 2m or 3h')
    return int(text[:-1]) * units[text[-1]]

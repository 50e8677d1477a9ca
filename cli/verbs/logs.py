"""`covey logs`: what containers wrote, once or as it grows."""

from __future__ import annotations

import asyncio
import math
import sys
from collections.abc import AsyncIterator
from typing import Annotated

import typer

from cli import completion, options
from cli.arguments import Target
from cli.pods import Container, choose_container, containers_of, pods_of, raise_failure
from cli.printing import say, warn
from cli.session import Session, run, sentence
from mesh.api.port import Request
from mesh.client.client import Query
from mesh.errors import ApiError, Terminal
from mesh.objects.kinds import PODS
from mesh.objects.meta import name_of, namespace_of
from mesh.objects.types import Object

_SELECTED_TAIL = 10
"""Lines of each container that are shown of selected pods, unless asked otherwise."""
_LONGEST_LINE = 1024 * 1024
"""Bytes after which a line that does not end is broken."""
_USAGE = (
    "expected 'logs [-f] [-p] (POD | TYPE/NAME) [-c CONTAINER]'.\n"
    "POD or TYPE/NAME is a required argument for the logs command"
)


def logs(
    pod: Annotated[str, typer.Argument(metavar="[POD | TYPE/NAME]", autocompletion=completion.pods)] = "",
    container_named: Annotated[str, typer.Argument(metavar="[CONTAINER]", autocompletion=completion.containers)] = "",
    namespace: options.Namespace = "",
    container: Container = "",
    selector: options.Selector = "",
    all_containers: Annotated[bool, typer.Option("--all-containers", help="Of every container of the pod.")] = False,
    all_pods: Annotated[bool, typer.Option("--all-pods", help="Of every pod of TYPE/NAME; sets --prefix.")] = False,
    prefix: Annotated[bool, typer.Option("--prefix", help="The pod and container before each line.")] = False,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as the log grows.")] = False,
    previous: Annotated[bool, typer.Option("--previous", "-p", help="Of the container's last run.")] = False,
    tail: Annotated[
        int | None, typer.Option("--tail", min=-1, help="Only this many last lines; -1 is all, 10 at first with -l.")
    ] = None,
    since: Annotated[
        float,
        typer.Option(
            "--since", parser=options.duration, metavar="DURATION", help="Only newer than this: 5s, 1m30s, 3h."
        ),
    ] = 0,
    since_time: Annotated[str, typer.Option("--since-time", help="Only after this time: 2026-01-31T12:00:00Z.")] = "",
    limit_bytes: Annotated[int, typer.Option("--limit-bytes", min=0, help="At most this many bytes; 0 is all.")] = 0,
    timestamps: Annotated[bool, typer.Option("--timestamps", help="The time before each line.")] = False,
    most: Annotated[int, typer.Option("--max-log-requests", min=1, help="How many logs may be followed at once.")] = 5,
    ignore_errors: Annotated[
        bool, typer.Option("--ignore-errors", help="Go on with the others when a log cannot be had.")
    ] = False,
) -> None:
    """Print containers' logs: covey logs -f deploy/web, covey logs -l app=web --all-containers --prefix."""
    container = container or container_named
    _check(pod, selector, container, all_containers=all_containers)
    if since and since_time:
        raise Terminal("at most one of `sinceTime` or `sinceSeconds` may be specified")
    lines = (_SELECTED_TAIL if selector else -1) if tail is None else tail
    given = {
        "follow": "true" if follow else "",
        "previous": "true" if previous else "",
        "tailLines": str(lines) if lines >= 0 else "",
        "sinceSeconds": str(math.ceil(since)) if since else "",
        "sinceTime": since_time,
        "limitBytes": str(limit_bytes) if limit_bytes else "",
        "timestamps": "true" if timestamps else "",
    }
    query = tuple((k, v) for k, v in given.items() if v)

    async def command(session: Session) -> None:
        found = await _pods(session, pod, selector, every=all_pods)
        logs = [
            _Log(session, each, name, query, prefix=prefix or all_pods)
            for each in found
            for name in (containers_of(each) if all_containers else [choose_container(each, container)])
        ]
        await _show(logs, follow=follow, most=most, ignore_errors=ignore_errors)

    run(command, namespace)


def _check(pod: str, selector: str, container: str, *, all_containers: bool) -> None:
    if not pod and not selector:
        raise Terminal(_USAGE)
    if pod and selector:
        raise Terminal("only a selector (-l) or a POD name is allowed")
    if container and all_containers:
        raise Terminal(f"--all-containers=true should not be specified with container name {container}")


async def _pods(session: Session, word: str, selector: str, *, every: bool) -> list[Object]:
    """The pods whose logs are meant."""
    if selector:
        found = (await session.client.list(PODS, session.namespace, label_selector=selector)).items
        if not found:
            warn(f"No resources found in {session.namespace} namespace.")
        return found
    found = await pods_of(session, word)
    if every or len(found) == 1:
        return found
    warn(f"Found {len(found)} pods, using {Target(PODS, name_of(found[0]))}")
    return found[:1]


async def _show(logs: list[_Log], *, follow: bool, most: int, ignore_errors: bool) -> None:
    """One after the other, or all at once as they grow."""
    if not follow:
        for log in logs:
            await log.show(follow=False, ignore_errors=ignore_errors)
        return
    if len(logs) > most:
        raise Terminal(f"you are attempting to follow {len(logs)} log streams, but maximum allowed concurrency is "
                       f"{most}, use --max-log-requests to increase the limit")  # fmt: skip
    await asyncio.gather(*(log.show(follow=True, ignore_errors=ignore_errors) for log in logs))


class _Log:
    """One container's log. With a prefix it is written line by line, so that those of several stay apart."""

    def __init__(self, session: Session, pod: Object, container: str, query: Query, *, prefix: bool) -> None:
        self._session = session
        self._pod = pod
        self._query: Query = (("container", container), *query)
        self._prefix = f"[{Target(PODS, name_of(pod))}/{container}] ".encode() if prefix else b""

    async def show(self, *, follow: bool, ignore_errors: bool) -> None:
        """Write it out; `ApiError` when it cannot be had, unless that is only to be said."""
        try:
            if follow:
                await self._write(self._followed())
            else:
                await self._write(self._whole())
        except ApiError as error:
            if not ignore_errors:
                raise
            say(f"error: {sentence(error)}")

    async def _whole(self) -> AsyncIterator[bytes]:
        path = PODS.path(namespace_of(self._pod), name_of(self._pod), "log")
        answer = await self._session.client.request(Request("GET", path, self._query))
        yield answer.body

    async def _followed(self) -> AsyncIterator[bytes]:
        name, where = name_of(self._pod), namespace_of(self._pod)
        stream = await self._session.client.connect(PODS, name, where, "log", self._query)
        while (frame := await stream.receive()) is not None:
            channel, data = frame
            raise_failure(channel, data)
            yield data

    async def _write(self, pieces: AsyncIterator[bytes]) -> None:
        rest = b""
        async for data in pieces:
            *lines, rest = (rest + data).split(b"\n")
            if len(rest) > _LONGEST_LINE:
                lines, rest = [*lines, rest], b""
            sys.stdout.buffer.writelines(self._prefix + line + b"\n" for line in lines)
            sys.stdout.buffer.flush()
        if rest:
            sys.stdout.buffer.write(self._prefix + rest)
            sys.stdout.buffer.flush()

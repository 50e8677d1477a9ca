"""`covey port-forward`: ports of a pod on this machine, one stream for each connection."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import typer

from cli import options
from cli.arguments import one_target
from cli.pods import CHUNK, CLOSE, STDIN, Pod, find_pod, raise_failure
from cli.printing import say, warn
from cli.session import Session, run
from mesh.api.port import Stream
from mesh.errors import ApiError, Terminal
from mesh.objects.kinds import PODS, SERVICES
from mesh.objects.meta import name_of, namespace_of
from mesh.objects.types import Object

_HIGHEST_PORT = 65535


def port_forward(
    pod: Pod,
    ports: Annotated[list[str], typer.Argument(metavar="[LOCAL:]REMOTE...")],
    namespace: options.Namespace = "",
    address: Annotated[str, typer.Option("--address", help="Address to listen on.")] = "127.0.0.1",
) -> None:
    """Make ports of a pod reachable on this machine: covey port-forward deploy/web 8080:80."""
    wanted = [_ports(text) for text in ports]

    async def command(session: Session) -> None:
        found = await find_pod(session, pod)
        service = await _service(session, pod)
        async with contextlib.AsyncExitStack() as stack:
            for local, remote in wanted:
                target = _target_port(service, found, remote) if service else _own_port(found, remote)
                same = int(remote) if remote.isdecimal() else target
                here = same if local is None else local
                await stack.enter_async_context(_forwarded(session, found, address, here, target))
            await asyncio.Event().wait()

    run(command, namespace)


def _ports(text: str) -> tuple[int | None, str]:
    """Local port and remote port or its name; locally 0 is whichever is free (`:80`), None the same as remotely."""
    local, colon, remote = text.rpartition(":")
    if local and not (local.isdecimal() and int(local) <= _HIGHEST_PORT):
        raise Terminal(f"error parsing local port '{local}': it is no number from 0 to {_HIGHEST_PORT}")
    if not remote or (remote.isdecimal() and not 0 < int(remote) <= _HIGHEST_PORT):
        raise Terminal("remote port must be > 0" if remote == "0" else f"error parsing remote port '{remote}'")
    return (int(local or "0") if colon else None), remote


def _own_port(pod: Object, wanted: str) -> int:
    """The pod's port of this number or name."""
    if wanted.isdecimal():
        return int(wanted)
    for container in pod["spec"]["containers"]:
        for named in container.get("ports") or ():
            if named.get("name") == wanted:
                return int(named["containerPort"])
    raise Terminal(f"Pod '{name_of(pod)}' does not have a named port '{wanted}'")


async def _service(session: Session, word: str) -> Object | None:
    target = one_target([word], default="pods")
    if target.resource != SERVICES:
        return None
    return await session.client.get(target.resource, target.name, session.namespace)


def _target_port(service: Object, pod: Object, wanted: str) -> int:
    """The pod's port behind a service's port, which is given by number or name."""
    for entry in service["spec"].get("ports") or ():
        if wanted in {str(entry["port"]), entry.get("name")}:
            return _own_port(pod, str(entry.get("targetPort", entry["port"])))
    raise Terminal(f"Service {name_of(service)} does not have a service port {wanted}")


@asynccontextmanager
async def _forwarded(session: Session, pod: Object, address: str, local: int, remote: int) -> AsyncIterator[None]:
    """Listen, and give each connection a stream of its own."""
    name, where = name_of(pod), namespace_of(pod)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        say(f"Handling connection for {local}")
        try:
            stream = await session.client.connect(PODS, name, where, "portforward", (("ports", str(remote)),))
            await _join(stream, reader, writer)
        except (ApiError, OSError) as error:
            warn(f"an error occurred forwarding {local} -> {remote}: {error}")
        finally:
            writer.close()

    try:
        server = await asyncio.start_server(serve, address, local)
    except OSError as error:
        raise Terminal(f"unable to listen on port {local}: {os.strerror(error.errno or 0)}") from error
    bound = server.sockets[0].getsockname()[1]
    say(f"Forwarding from {address}:{bound} -> {remote}")
    async with server:
        yield


async def _join(stream: Stream, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy both ways until both have ended."""

    async def outwards() -> None:
        while data := await reader.read(CHUNK):
            await stream.send(STDIN, data)
        await stream.send(CLOSE, bytes([STDIN]))

    async def inwards() -> None:
        while (frame := await stream.receive()) is not None:
            channel, data = frame
            raise_failure(channel, data)
            if channel == STDIN:
                writer.write(data)
                await writer.drain()

    sending = asyncio.create_task(outwards())
    try:
        await inwards()
    finally:
        sending.cancel()
        await stream.close()

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


def port_forward(
    pod: Pod,
    ports: Annotated[list[str], typer.Argument(metavar="[LOCAL:]REMOTE...")],
    namespace: options.Namespace = "",
    address: Annotated[str, typer.Option("--address", help="Address to listen on.")] = "127.0.0.1",
) -> None:
    """Make ports of a pod reachable on this machine: covey port-forward deploy/web 8080:80."""

    async def command(session: Session) -> None:
        found = await find_pod(session, pod)
        service = await _service(session, pod)
        async with contextlib.AsyncExitStack() as stack:
            for text in ports:
                local, _, remote = text.rpartition(":")
                target = _target_port(service, found, int(remote)) if service else int(remote)
                await stack.enter_async_context(_forwarded(session, found, address, int(local or remote), target))
            await asyncio.Event().wait()

    run(command, namespace)


async def _service(session: Session, word: str) -> Object | None:
    target = one_target([word], default="pods")
    if target.resource != SERVICES:
        return None
    return await session.client.get(target.resource, target.name, session.namespace)


def _target_port(service: Object, pod: Object, port: int) -> int:
    """The pod's port behind a service's port."""
    for entry in service["spec"].get("ports") or ():
        if entry["port"] != port:
            continue
        target = entry.get("targetPort", port)
        if isinstance(target, int):
            return target
        for container in pod["spec"]["containers"]:
            for named in container.get("ports") or ():
                if named.get("name") == target:
                    return int(named["containerPort"])
    raise Terminal(f"Service {service['metadata']['name']} does not have a service port {port}")


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

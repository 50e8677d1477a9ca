"""Port-forward: one stream is one TCP connection into the pod, with data on channel 0 in both directions."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping

from agents.node.ports import Runtime, RuntimeFailure, State
from agents.node.worker import PodWorker
from mesh.api.port import Stream
from mesh.errors import BadRequest, Unavailable
from mesh.objects.types import Json

PIECE = 64 * 1024
DATA, HALF_CLOSE = 0, 255


async def forward(runtime: Runtime, worker: PodWorker, params: Mapping[str, Json], stream: Stream) -> None:
    """Connect to the pod's port and carry bytes until both directions have ended. Refuses with `BadRequest`."""
    ports = params.get("ports") or [params.get("port")]
    port = int(ports[0])
    sandbox = next((s for s in worker.memory.sandboxes if s.state is State.RUNNING), None)
    if sandbox is None:
        raise BadRequest(f"unable to forward port because pod is not running. Current status={_phase(worker)}")
    try:
        reader, writer = await runtime.dial(sandbox.id, port)
    except RuntimeFailure as error:
        raise BadRequest(
            f"error forwarding port {port} to pod {sandbox.id}, uid : failed to connect to localhost:{port} inside "
            f"namespace: {error.message}"
        ) from error
    assert isinstance(reader, asyncio.StreamReader)
    assert isinstance(writer, asyncio.StreamWriter)
    ways = [asyncio.ensure_future(_out(reader, stream)), asyncio.ensure_future(_in(stream, writer))]
    try:
        await asyncio.gather(*ways)
    except (Unavailable, OSError):
        return  # one of the two ends broke the connection: the other learns it from the close below
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def _phase(worker: PodWorker) -> str:
    return str(worker.status.get("phase", "Pending"))


async def _out(reader: asyncio.StreamReader, stream: Stream) -> None:
    """From the pod to the client. When the pod has said all, the client hears it."""
    while data := await reader.read(PIECE):
        await stream.send(DATA, data)
    await stream.send(HALF_CLOSE, bytes([DATA]))


async def _in(stream: Stream, writer: asyncio.StreamWriter) -> None:
    """From the client to the pod. When the client closes altogether, nothing is owed to it any more."""
    while (frame := await stream.receive()) is not None:
        channel, data = frame
        if channel == DATA:
            writer.write(data)
            await writer.drain()
        elif channel == HALF_CLOSE and writer.can_write_eof():
            writer.write_eof()
    raise Unavailable("the client has left")

"""exec and attach: a process's streams on the channels of v5.channel.k8s.io (`mesh.api.port.Stream`)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import orjson

from agents.node.ports import Process, Runtime, RuntimeAway, RuntimeFailure, State
from agents.node.worker import PodWorker
from mesh.api.port import Stream
from mesh.errors import BadRequest, Unavailable
from mesh.objects.types import Json, Object

STDIN, STDOUT, STDERR, ERROR, RESIZE, HALF_CLOSE = 0, 1, 2, 3, 4, 255


def running_container(worker: PodWorker, name: str) -> str:
    """Id of the running container called `name`; raises `BadRequest`."""
    running = [c for c in worker.memory.containers if c.name == name and c.state is State.RUNNING]
    if not running:
        raise BadRequest(f'container not found ("{name}")')
    return max(running, key=lambda c: c.attempt).id


async def execute(runtime: Runtime, worker: PodWorker, params: Mapping[str, Json], stream: Stream) -> None:
    """Run a command; its exit code goes to channel 3 as a Status when it has ended."""
    found = running_container(worker, str(params.get("container", "")))
    command = [str(word) for word in params.get("command") or ()]
    try:
        process = await runtime.exec(found, command, tty=bool(params.get("tty")), stdin=bool(params.get("stdin")))
    except RuntimeAway as error:
        raise Unavailable(f"the container runtime is down: {error.message}") from error
    except RuntimeFailure as error:
        raise BadRequest(f"error executing command in container: {error.message}") from error
    await _serve(process, params, stream, exits=True)


async def attach(runtime: Runtime, worker: PodWorker, params: Mapping[str, Json], stream: Stream) -> None:
    """Attach to the container's own process, until it ends or the client leaves."""
    found = running_container(worker, str(params.get("container", "")))
    try:
        process = await runtime.attach(found, stdin=bool(params.get("stdin")))
    except RuntimeAway as error:
        raise Unavailable(f"the container runtime is down: {error.message}") from error
    except RuntimeFailure as error:
        raise BadRequest(f"error attaching to container: {error.message}") from error
    await _serve(process, params, stream, exits=False)


async def _serve(process: Process, params: Mapping[str, Json], stream: Stream, *, exits: bool) -> None:
    """Carry both ways. The process' end ends the call; so does the client's leaving, which only detaches."""
    wanted = {
        channel for channel, name in ((STDOUT, "stdout"), (STDERR, "stderr")) if params.get(name) or params.get("tty")
    }
    output = asyncio.ensure_future(_output(process, stream, wanted))
    entry = asyncio.ensure_future(_input(process, stream))
    try:
        await asyncio.wait({output, entry}, return_when=asyncio.FIRST_COMPLETED)
        if output.done():
            output.result()
            code = await process.wait()
            await stream.send(ERROR, orjson.dumps(end_status(code if exits else 0)))
    except RuntimeFailure as error:
        await stream.send(ERROR, orjson.dumps(_failure("InternalError", error.message)))
    finally:
        for task in (output, entry):
            task.cancel()
        await asyncio.gather(output, entry, return_exceptions=True)
        await process.close()


async def _output(process: Process, stream: Stream, wanted: set[int]) -> None:
    while (piece := await process.read()) is not None:
        if piece[0] in wanted:
            await stream.send(*piece)


async def _input(process: Process, stream: Stream) -> None:
    """Return when the client has left."""
    try:
        while (frame := await stream.receive()) is not None:
            channel, data = frame
            if channel == STDIN:
                await process.write(data)
            elif channel == RESIZE:
                await _resize(process, data)
            elif channel == HALF_CLOSE and data[:1] == bytes([STDIN]):
                await process.close_stdin()
    except Unavailable:
        return


async def _resize(process: Process, data: bytes) -> None:
    """A new terminal size; one that cannot be read is the client's mistake and changes nothing."""
    try:
        size = orjson.loads(data)
        width, height = int(size["Width"]), int(size["Height"])
    except (ValueError, KeyError, TypeError):
        return
    await process.resize(width, height)


def end_status(code: int) -> Object:
    """How a process ended, as clients of exec read it."""
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    status = _failure("NonZeroExitCode", f"command terminated with non-zero exit code: exit status {code}")
    return status | {"details": {"causes": [{"reason": "ExitCode", "message": str(code)}]}}


def _failure(reason: str, message: str) -> Object:
    return {"metadata": {}, "status": "Failure", "reason": reason, "message": message}

"""`covey logs`, `exec`, `attach` and `port-forward`: byte streams to a pod, through the broker."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import termios
import tty
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Annotated

import orjson
import typer

from cli import options
from cli.arguments import Target, find_resource, one_target
from cli.printing import say, warn
from cli.session import Session, run
from mesh.api.port import Request, Stream
from mesh.errors import ApiError, Terminal, Unavailable
from mesh.objects.kinds import PODS, SERVICES
from mesh.objects.labels import equal_to, from_object
from mesh.objects.types import Object

STDIN, STDOUT, STDERR, ERROR, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255

Container = Annotated[str, typer.Option("--container", "-c", help="Container of the pod; the first by default.")]
CHUNK = 32 * 1024


async def find_pod(session: Session, word: str) -> Object:
    """The pod that `web-1`, `pod/web-1`, `deploy/web` or `svc/web` means: of several the first running one."""
    target = one_target([word], default="pods")
    obj = await session.client.get(target.resource, target.name, session.namespace)
    if target.resource == PODS:
        return obj
    selector = (obj.get("spec") or {}).get("selector") or {}
    text = str(equal_to(selector) if target.resource == SERVICES else from_object(selector))
    if not text:
        raise Terminal(f"{target} selects no pods")
    pods = (await session.client.list(PODS, session.namespace, label_selector=text)).items
    pods.sort(key=lambda p: ((p.get("status") or {}).get("phase") != "Running", p["metadata"]["name"]))
    if not pods:
        raise Terminal(f"{target} has no pods")
    return pods[0]


def logs(
    pod: Annotated[str, typer.Argument(metavar="POD | TYPE/NAME")],
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
            "container": container or _first_container(found),
            "follow": "true" if follow else "",
            "previous": "true" if previous else "",
            "tailLines": str(tail) if tail >= 0 else "",
            "sinceSeconds": str(_seconds(since)) if since else "",
            "timestamps": "true" if timestamps else "",
        }
        query = tuple((k, v) for k, v in given.items() if v)
        name, where = found["metadata"]["name"], found["metadata"]["namespace"]
        if not follow:
            answer = await session.client.request(Request("GET", PODS.path(where, name, "log"), query))
            sys.stdout.buffer.write(answer.body)
            return
        stream = await session.client.connect(PODS, name, where, "log", query)
        while (frame := await stream.receive()) is not None:
            channel, data = frame
            _raise_failure(channel, data)
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()

    run(command, namespace)


def exec_in(
    pod: Annotated[str, typer.Argument(metavar="POD | TYPE/NAME")],
    arguments: Annotated[list[str], typer.Argument(metavar="-- COMMAND [ARGS...]")],
    namespace: options.Namespace = "",
    container: Container = "",
    stdin: Annotated[bool, typer.Option("--stdin", "-i", help="Pass our standard input on.")] = False,
    terminal: Annotated[bool, typer.Option("--tty", "-t", help="Standard input is a terminal.")] = False,
) -> None:
    """Run a command in a container: covey exec -it web-1 -- sh."""

    async def command(session: Session) -> int:
        found = await find_pod(session, pod)
        given = [("container", container or _first_container(found))]
        given += [("command", word) for word in arguments]
        return await _attached(session, found, "exec", given, stdin, terminal)

    sys.exit(run(command, namespace))


def attach(
    pod: Annotated[str, typer.Argument(metavar="POD | TYPE/NAME")],
    namespace: options.Namespace = "",
    container: Container = "",
    stdin: Annotated[bool, typer.Option("--stdin", "-i", help="Pass our standard input on.")] = False,
    terminal: Annotated[bool, typer.Option("--tty", "-t", help="Standard input is a terminal.")] = False,
) -> None:
    """Attach to a container's own process."""

    async def command(session: Session) -> int:
        found = await find_pod(session, pod)
        given = [("container", container or _first_container(found))]
        return await _attached(session, found, "attach", given, stdin, terminal)

    sys.exit(run(command, namespace))


async def _attached(
    session: Session, pod: Object, subresource: str, given: list[tuple[str, str]], stdin: bool, terminal: bool
) -> int:
    """Run an attached session to its end; returns the exit code."""
    if terminal and not sys.stdin.isatty():
        warn("Unable to use a TTY - input is not a terminal or the right kind of file")
        terminal = False
    given += [("stdin", "true")] if stdin else []
    given += [("tty", "true")] if terminal else [("stderr", "true")]
    given += [("stdout", "true")]
    name, where = pod["metadata"]["name"], pod["metadata"]["namespace"]
    stream = await session.client.connect(PODS, name, where, subresource, tuple(given))
    with _raw_terminal(terminal):
        feeding = [asyncio.create_task(_feed(stream))] if stdin else []
        if terminal:
            _send_size(stream, feeding)
            loop = asyncio.get_running_loop()
            loop.add_signal_handler(signal.SIGWINCH, _send_size, stream, feeding)
        try:
            return await _show(stream)
        finally:
            for task in feeding:
                task.cancel()
            await stream.close()


async def _show(stream: Stream) -> int:
    outputs = {STDOUT: sys.stdout.buffer, STDERR: sys.stderr.buffer}
    while (frame := await stream.receive()) is not None:
        channel, data = frame
        if channel == ERROR:
            return _exit_code(orjson.loads(data))
        output = outputs.get(channel)
        if output:
            output.write(data)
            output.flush()
    return 0


def _exit_code(status: Object) -> int:
    if status.get("status") == "Success":
        return 0
    for cause in (status.get("details") or {}).get("causes") or ():
        if cause.get("reason") == "ExitCode":
            warn(f"command terminated with exit code {cause['message']}")
            return int(cause["message"])
    raise Terminal(str(status.get("message") or "the command could not be run"))


async def _feed(stream: Stream) -> None:
    """Pass our standard input on, and its end."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while data := await reader.read(CHUNK):
        await stream.send(STDIN, data)
    await stream.send(CLOSE, bytes([STDIN]))


def _send_size(stream: Stream, tasks: list[asyncio.Task[None]]) -> None:
    columns, lines = shutil.get_terminal_size()
    size = orjson.dumps({"Width": columns, "Height": lines})
    tasks.append(asyncio.create_task(stream.send(RESIZE, size)))


@contextmanager
def _raw_terminal(wanted: bool) -> Iterator[None]:
    """The terminal passes every key on, Ctrl-C too, until we are done."""
    if not wanted:
        yield
        return
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    try:
        tty.setraw(descriptor)
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def port_forward(
    pod: Annotated[str, typer.Argument(metavar="POD | TYPE/NAME")],
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
    target: Target = one_target([word], default="pods")
    if target.resource != find_resource("services"):
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
    name, where = pod["metadata"]["name"], pod["metadata"]["namespace"]

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
            _raise_failure(channel, data)
            if channel == STDIN:
                writer.write(data)
                await writer.drain()

    sending = asyncio.create_task(outwards())
    try:
        await inwards()
    finally:
        sending.cancel()
        await stream.close()


def _raise_failure(channel: int, data: bytes) -> None:
    if channel == ERROR and data:
        raise Unavailable(str(orjson.loads(data).get("message", data.decode(errors="replace"))))


def _first_container(pod: Object) -> str:
    """The container meant when none is named, as kubectl chooses it: by annotation, else the first."""
    names = [c["name"] for c in pod["spec"]["containers"]]
    chosen = (pod["metadata"].get("annotations") or {}).get("kubectl.kubernetes.io/default-container")
    if chosen in names:
        return str(chosen)
    if len(names) > 1:
        warn(f'Defaulted container "{names[0]}" out of: {", ".join(names)}')
    return str(names[0])


def _seconds(text: str) -> int:
    units = {"s": 1, "m": 60, "h": 3600}
    if not text[:-1].isdigit() or text[-1] not in units:
        raise Terminal(f'invalid argument "{text}" for "--since": expected a duration like 5s, 2m or 3h')
    return int(text[:-1]) * units[text[-1]]

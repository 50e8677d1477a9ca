"""`covey run`: a pod from an image; with -i, -t or --attach also its output and our input, until it ends."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated

import typer

from cli import options
from cli.creating import Creator, check_dry_run, manifest, pair
from cli.printing import check_format, say, warn
from cli.session import Session, run
from cli.streams import converse
from cli.waiting import await_gone, await_object
from mesh.api.port import Request
from mesh.errors import BadRequest, NotFound, Terminal
from mesh.objects.kinds import PODS, SERVICES
from mesh.objects.meta import key_of, name_of, uid_of
from mesh.objects.types import Object

_ENDED = {"Succeeded", "Failed"}


def run_pod(
    name: Annotated[str, typer.Argument(help="Name of the pod.")],
    image: Annotated[str, typer.Option("--image", help="Image to run.")],
    arguments: Annotated[list[str], typer.Argument(metavar="[-- ARGS...]")] = [],
    namespace: options.Namespace = "",
    command_given: Annotated[bool, typer.Option("--command", help="ARGS are the command, not its arguments.")] = False,
    environment: Annotated[list[str], typer.Option("--env", help="NAME=VALUE. May repeat.")] = [],
    labels: Annotated[str, typer.Option("--labels", "-l", help="Labels of the pod: a=b,c=d.")] = "",
    port: Annotated[int, typer.Option("--port", help="Port that the container exposes.")] = 0,
    expose: Annotated[bool, typer.Option("--expose", help="With --port: make a ClusterIP Service of it too.")] = False,
    restart: Annotated[str, typer.Option("--restart", help="Always, OnFailure or Never.")] = "Always",
    pull: Annotated[str, typer.Option("--image-pull-policy", help="Always, IfNotPresent or Never.")] = "",
    privileged: Annotated[bool, typer.Option("--privileged", help="Run the container in privileged mode.")] = False,
    stdin: Annotated[bool, typer.Option("--stdin", "-i", help="Attach, and pass our standard input on.")] = False,
    terminal: Annotated[bool, typer.Option("--tty", "-t", help="The container gets a terminal.")] = False,
    attach: Annotated[bool, typer.Option("--attach", help="Show what the container writes, until it ends.")] = False,
    stay_open: Annotated[
        bool, typer.Option("--leave-stdin-open", help="Its input stays open after the first attached session.")
    ] = False,
    remove: Annotated[bool, typer.Option("--rm", help="Delete the pod after the attached session.")] = False,
    patience: Annotated[
        float,
        typer.Option("--pod-running-timeout", parser=options.duration, metavar="DURATION", help="How long to wait for the "
                     "pod before attaching."),
    ] = 60,
    dry_run: options.DryRun = "none",
    output: options.Output = "",
) -> None:  # fmt: skip
    """Run an image in a pod: covey run nginx --image nginx, covey run -it --rm sh --image busybox --restart Never."""
    attach = attach or stdin or terminal
    check_format(output)
    check_dry_run(dry_run)
    _check(attach=attach, stdin=stdin, terminal=terminal, remove=remove, dry_run=dry_run, port=port, expose=expose)
    container: Object = {"name": name, "image": image} | _process(arguments, environment, whole=command_given)
    if port:
        container["ports"] = [{"containerPort": port}]
    if pull:
        container["imagePullPolicy"] = pull
    if privileged:
        container["securityContext"] = {"privileged": True}
    if stdin:
        container |= {"stdin": True, "stdinOnce": not stay_open}
    if terminal:
        container["tty"] = True
    spec = {"containers": [container], "restartPolicy": restart, "dnsPolicy": "ClusterFirst"}
    chosen = dict(map(pair, labels.split(","))) if labels else {"run": name}
    pod = manifest(PODS, name, labels=chosen, spec=spec)
    service_spec = {"selector": chosen, "ports": [{"protocol": "TCP", "port": port, "targetPort": port}]}

    async def command(session: Session) -> int:
        creator = Creator(session, dry_run, output)
        made = await creator.create(pod, quiet=attach)
        if expose:
            await creator.create(manifest(SERVICES, name, spec=service_spec))
        if not attach:
            return 0
        try:
            return await _attended(session, made, stdin=stdin, terminal=terminal, patience=patience)
        finally:
            if remove:
                await _removed(session, made)

    sys.exit(run(command, namespace))


def _process(arguments: list[str], environment: list[str], *, whole: bool) -> Object:
    """What the container runs, in place of what its image says (`whole`) or as arguments to it, and its environment."""
    given: Object = {"command" if whole else "args": arguments} if arguments else {}
    if environment:
        given["env"] = [{"name": name, "value": value} for name, value in map(pair, environment)]
    return given


def _check(*, attach: bool, stdin: bool, terminal: bool, remove: bool, dry_run: str, port: int, expose: bool) -> None:
    """kubectl's refusals of options that do not go together."""
    if terminal and not stdin:
        raise Terminal("-i/--stdin is required for containers with -t/--tty=true")
    if remove and not attach:
        raise Terminal("--rm should only be used for attached containers")
    if attach and dry_run != "none":
        raise Terminal("--dry-run=server|client can't be used with attached containers options "
                       "(--attach, --stdin, or --tty)")  # fmt: skip
    if expose and not port:
        raise Terminal("--port must be set when exposing a service")


async def _attended(session: Session, made: Object, *, stdin: bool, terminal: bool, patience: float) -> int:
    """Attach to the pod when it runs; of one that has ended by then, its log. Returns the exit code of a container
    that is not started again."""
    name, container = name_of(made), made["spec"]["containers"][0]["name"]
    try:
        async with asyncio.timeout(patience or None):
            pod = await await_object(session, PODS, name, session.namespace, _can_be_attached)
    except TimeoutError:
        raise Terminal("timed out waiting for the condition") from None
    once = made["spec"].get("restartPolicy") == "Never"
    before = await _log(session, name, container)  # what it wrote before we could attach
    _write(before)
    if not _has_ended(pod):
        try:
            await converse(session, pod, "attach", [("container", container)], stdin=stdin, terminal=terminal)
        except BadRequest:
            if not once:
                raise
            await await_object(session, PODS, name, session.namespace, _has_ended)  # it came to its end meanwhile
            _write((await _log(session, name, container)).removeprefix(before))
    if not once:
        again = " -i" * stdin + " -t" * terminal
        say(f"Session ended, resume using 'covey attach {name} -c {container}{again}' command when the pod is running")
        return 0
    ended = await await_object(session, PODS, name, session.namespace, _has_ended)
    return _exit_code(ended)


async def _log(session: Session, name: str, container: str) -> bytes:
    request = Request("GET", PODS.path(session.namespace, name, "log"), (("container", container),))
    return (await session.client.request(request)).body


def _write(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def _can_be_attached(pod: Object) -> bool:
    return (pod.get("status") or {}).get("phase") in {"Running", *_ENDED}


def _has_ended(pod: Object) -> bool:
    return (pod.get("status") or {}).get("phase") in _ENDED


def _exit_code(pod: Object) -> int:
    """The first failed container's; kubectl's sentence about it."""
    status = pod.get("status") or {}
    for each in status.get("containerStatuses") or ():
        ended = (each.get("state") or {}).get("terminated") or {}
        if code := int(ended.get("exitCode") or 0):
            reason = ended.get("reason") or ""
            warn(f"pod {key_of(pod)} terminated ({reason})")
            return code
    return 0 if status.get("phase") == "Succeeded" else 1


async def _removed(session: Session, pod: Object) -> None:
    name = name_of(pod)
    try:
        await session.client.delete(PODS, name, session.namespace, uid=uid_of(pod))
    except NotFound:
        return
    say(f'pod "{name}" deleted from {session.namespace} namespace')
    await await_gone(session, PODS, name, session.namespace, uid_of(pod))

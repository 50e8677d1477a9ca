"""What probes and lifecycle hooks do: run a command, ask over HTTP, open a TCP connection, call gRPC health.

`Reach` is the port for everything that goes over the network; `agents.node.reach` is the real one.
https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#probe-check-methods
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Protocol

from agents.node.ports import Runtime
from mesh.objects.types import Object

MOST_OUTPUT = 10 * 1024
"""How much of a command's output is kept, as kubelet does."""


@dataclass(frozen=True, slots=True)
class Answer:
    """How a check went: passed or not, and what it said."""

    passed: bool
    output: str = ""


class Reach(Protocol):
    """The node's way to pods' addresses. Answers instead of raising: a refused connection is a failed check."""

    async def http(self, url: str, headers: list[tuple[str, str]], timeout: float) -> Answer:
        """GET; passed with a status of 200 to 399. Certificates are not verified."""

    async def tcp(self, host: str, port: int, timeout: float) -> Answer:
        """Passed when a connection opens."""

    async def grpc(self, host: str, port: int, service: str, timeout: float) -> Answer:
        """Passed when grpc.health.v1 answers SERVING."""


class ExecFailed(Exception):
    """The command could not be run at all; the message says why."""


async def run_command(runtime: Runtime, container_id: str, command: list[str]) -> tuple[int, str]:
    """Exit code and output (both streams, at most 10 KiB) of a command in a container. No time limit of its own."""
    process = await runtime.exec(container_id, command, tty=False, stdin=False)
    kept = bytearray()
    try:
        while (piece := await process.read()) is not None:
            kept += piece[1][: MOST_OUTPUT - len(kept)]
        return await process.wait(), kept.decode(errors="replace")
    finally:
        await process.close()


def port_number(container: Object, port: int | str) -> int:
    """A port by number or by the name of one of the container's ports; raises `ValueError` for an unknown name."""
    if isinstance(port, int) or str(port).isdigit():
        return int(port)
    for entry in container.get("ports") or ():
        if entry.get("name") == port:
            return int(entry["containerPort"])
    raise ValueError(f"couldn't find port: {port!r}")


def http_url(container: Object, action: Object, address: str) -> str:
    """The URL of an httpGet action; `address` is the pod's, unless the action names a host."""
    host = action.get("host") or address
    scheme = (action.get("scheme") or "HTTP").lower()
    path = action.get("path") or "/"
    host = f"[{host}]" if ":" in host else host
    return f"{scheme}://{host}:{port_number(container, action['port'])}/{path.removeprefix('/')}"


def http_headers(action: Object) -> list[tuple[str, str]]:
    """The headers an httpGet action asks for."""
    return [(h["name"], h.get("value", "")) for h in action.get("httpHeaders") or ()]


async def run_hook(
    reach: Reach, runtime: Runtime, container: Object, container_id: str, handler: Object, *, address: str
) -> Answer:
    """A postStart or preStop handler. Time limits are the caller's."""
    if "exec" in handler:
        command = list(handler["exec"].get("command") or ())
        code, output = await run_command(runtime, container_id, command)
        return Answer(code == 0, "" if code == 0 else f"command '{' '.join(command)}' exited with {code}: {output}")
    if "sleep" in handler:
        await asyncio.sleep(int(handler["sleep"].get("seconds") or 0))
        return Answer(True)
    if "httpGet" in handler:
        action = handler["httpGet"]
        return await reach.http(http_url(container, action, address), http_headers(action), 30)
    return Answer(True)

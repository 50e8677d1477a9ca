"""Logs, exec, attach and port-forward: bridges a client's byte stream to the node on which the pod runs.

The node is called over the bus under the NKEY that its Node object names. Source of the checks and sentences:
pkg/registry/core/pod/strategy.go of Kubernetes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Protocol

from controlplane.apiserver import refusals
from controlplane.apiserver.integers import parse_int64
from controlplane.apiserver.registry import Registry
from controlplane.apiserver.render import Renderer
from controlplane.apiserver.routes import Route
from mesh.api.port import Request, Response, Stream
from mesh.errors import BadRequest, Unavailable
from mesh.objects.kinds import NODES, PODS
from mesh.objects.meta import annotations_of, uid_of
from mesh.objects.types import Json, Object

IDENTITY = "covey.dev/identity"
"""Annotation of a Node: the NKEY of its agent."""
MAX_LOG = 32 << 20
"""Bytes of log in one answer; more has to be followed or limited by the client."""

_FLAGS = frozenset(
    {"stdin", "stdout", "stderr", "tty", "follow", "previous", "timestamps", "insecureSkipTLSVerifyBackend"}
)
_NUMBERS = frozenset({"tailLines", "sinceSeconds", "limitBytes"})
_LISTS = frozenset({"command", "ports"})


class NodeCalls(Protocol):
    """How the server calls nodes (`mesh.bus.calls.NodeCaller`)."""

    async def open(self, identity: str, op: str, params: Mapping[str, Json]) -> Stream:
        """Open a byte stream to the node with this identity; raises `ApiError` when it refuses or is away."""


class NodeStreams:
    """Answers log, exec, attach and portforward."""

    def __init__(self, registry: Registry, nodes: NodeCalls) -> None:
        self._registry = registry
        self._nodes = nodes

    async def connect(self, request: Request, route: Route, stream: Stream) -> None:
        """Serve one stream until either side ends it."""
        if route.resource is not PODS or route.subresource not in {"exec", "attach", "portforward", "log"}:
            raise refusals.no_such_resource()
        node = await self._open(request, route)
        if node is None:
            await stream.close()
            return
        await bridge(stream, node)

    async def log(self, request: Request, route: Route, renderer: Renderer) -> Response:
        """A log in one answer: for clients that do not follow."""
        del renderer
        node = await self._open(request, route)
        parts: list[bytes] = []
        size = 0
        if node is not None:
            try:
                while (frame := await node.receive()) is not None:
                    parts.append(frame[1])
                    size += len(frame[1])
                    if size > MAX_LOG:
                        raise refusals.too_large("the log (use limitBytes, tailLines or follow)", size, MAX_LOG)
            finally:
                await node.close()
        return Response(200, b"".join(parts), "text/plain")

    async def _open(self, request: Request, route: Route) -> Stream | None:
        """A stream to the pod's node, or None for the log of a pod that has not been anywhere yet."""
        pod, op = await self.find(route), route.subresource
        params = parameters(request)
        if op == "portforward":
            if not params.get("ports"):
                raise BadRequest("you must specify at least 1 port in the query parameter ports")
        else:
            params["container"] = container_of(pod, str(params.get("container", "")))
        if op == "exec" and not params.get("command"):
            raise BadRequest("you must specify at least 1 command for the container")
        node = pod["spec"].get("nodeName")
        if not node:
            return None
        params.update(namespace=route.namespace, name=route.name, uid=uid_of(pod))
        return await self._nodes.open(self._identity(node), op, params)

    async def find(self, route: Route) -> Object:
        """The pod; raises `NotFound`, or `BadRequest` when it runs nowhere and there can be nothing to connect to."""
        item = await self._registry.latest(PODS, route.namespace, route.name)
        if item is None:
            raise refusals.not_found(PODS, route.name)
        if route.subresource != "log" and not item.object["spec"].get("nodeName"):
            raise BadRequest(f"pod {route.name} does not have a host assigned")
        return item.object

    def _identity(self, node: str) -> str:
        item = self._registry.known(NODES, "", node)
        identity = "" if item is None else annotations_of(item.object).get(IDENTITY, "")
        if not identity:
            raise Unavailable(f'node "{node}" cannot be called: it has no running agent (annotation {IDENTITY})')
        return identity


def parameters(request: Request) -> dict[str, Json]:
    """The query by its Kubernetes names, typed: flags, numbers, lists; raises `BadRequest`."""
    params: dict[str, Json] = {}
    for name, value in request.query:
        try:
            if name in _FLAGS:
                params[name] = request.flag(name)
            elif name in _NUMBERS:
                params[name] = parse_int64(value)
            elif name in _LISTS:
                values = request.params(name)
                params[name] = [_port(v) for part in values for v in part.split(",")] if name == "ports" else values
            else:
                params[name] = value
        except ValueError as error:
            raise refusals.bad_parameter(name, value, str(error)) from error
        if name in _NUMBERS and params[name] < (1 if name == "limitBytes" else 0):
            raise refusals.bad_parameter(name, value, "must be greater than or equal to 0")
    return params


def _port(text: str) -> int:
    number = parse_int64(text)
    if not 0 < number < 65536:
        raise ValueError(f"{text} is no port")
    return number


def container_of(pod: Object, wanted: str) -> str:
    """The container a request means; raises `BadRequest` when there is a choice or no such container."""
    spec = pod["spec"]
    names = [c["name"] for c in spec.get("containers") or ()]
    init = [c["name"] for c in spec.get("initContainers") or ()]
    ephemeral = [c["name"] for c in spec.get("ephemeralContainers") or ()]
    name = pod["metadata"]["name"]
    if wanted:
        if wanted not in {*names, *init, *ephemeral}:
            raise BadRequest(f"container {wanted} is not valid for pod {name}")
        return wanted
    if len(names) == 1:
        return str(names[0])
    told = f"a container name must be specified for pod {name}, choose one of: [{' '.join(names)}]"
    if init:
        told += f" or one of the init containers: [{' '.join(init)}]"
    raise BadRequest(told)


def check_running(pod: Object, wanted: str) -> None:
    """Raise `BadRequest` when the container that a request means is shown as not running."""
    name, status = container_of(pod, wanted), pod.get("status") or {}
    for field in ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"):
        for known in status.get(field) or ():
            if known.get("name") == name and "running" not in (known.get("state") or {}):
                raise BadRequest(f'container not found ("{name}")')


async def bridge(client: Stream, node: Stream) -> None:
    """Carry frames both ways until one side has ended; then end the other. The client's end is left to the front end
    when the node vanished, so that it can say so."""
    ways = [asyncio.create_task(_carry(client, node)), asyncio.create_task(_carry(node, client))]
    try:
        done, _ = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in done:
            way.result()
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        await node.close()
    await client.close()


async def _carry(source: Stream, target: Stream) -> None:
    while (frame := await source.receive()) is not None:
        await target.send(*frame)

"""The pipeline behind every front end: authorize, find who answers, answer, and turn errors into Status objects.

`ApiServer` is the `mesh.api.port.Api` of the cluster. It knows no transport: HTTPS (`http.py`), NATS (`mesh/bus`) and
direct calls (`mesh/api/local.py`) bring authenticated requests to it.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import orjson

from controlplane.apiserver import authorize, routes
from controlplane.apiserver.authorize import Attributes, Authorizer
from controlplane.apiserver.bodies import warning_headers
from controlplane.apiserver.deletes import Deletes
from controlplane.apiserver.documents import Documents
from controlplane.apiserver.metrics import Metrics
from controlplane.apiserver.nodestreams import NodeStreams, check_running
from controlplane.apiserver.reads import Reads
from controlplane.apiserver.render import Renderer
from controlplane.apiserver.reviews import Reviews
from controlplane.apiserver.routes import Route
from controlplane.apiserver.strategies.registry import strategy_for
from controlplane.apiserver.subresources import Subresources
from controlplane.apiserver.tokens import Tokens
from controlplane.apiserver.watcher import Watcher
from controlplane.apiserver.writes import Writes
from mesh.api.port import Request, Response, Stream, User
from mesh.clock import Clock
from mesh.errors import ApiError, BadRequest, InternalError, MethodNotAllowed
from mesh.objects.kinds import REVIEWS
from mesh.objects.types import Object

log = logging.getLogger(__name__)

Answer = Callable[[Request, Route, Renderer], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Parts:
    """What the pipeline is put together from (see `assembly.py`)."""

    reads: Reads
    writes: Writes
    deletes: Deletes
    subresources: Subresources
    tokens: Tokens
    reviews: Reviews
    streams: NodeStreams
    documents: Documents
    metrics: Metrics
    authorizer: Authorizer
    clock: Clock


class ApiServer:
    """`mesh.api.port.Api`: what the cluster answers."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._clock = parts.clock
        reads, writes, deletes = parts.reads, parts.writes, parts.deletes
        subresources = parts.subresources
        self._answers: dict[tuple[str, str], Answer] = {
            ("get", ""): reads.get,
            ("list", ""): reads.collection,
            ("create", ""): writes.create,
            ("update", ""): writes.update,
            ("patch", ""): writes.patch,
            ("delete", ""): deletes.delete,
            ("deletecollection", ""): deletes.delete_collection,
            ("get", "status"): reads.get,
            ("update", "status"): writes.update,
            ("patch", "status"): writes.patch,
            ("update", "finalize"): writes.update,
            ("get", "scale"): subresources.get_scale,
            ("update", "scale"): subresources.set_scale,
            ("patch", "scale"): subresources.set_scale,
            ("create", "binding"): subresources.bind,
            ("create", "eviction"): subresources.evict,
            ("create", "token"): parts.tokens.request,
            ("get", "log"): parts.streams.log,
        }
        for subresource in ("ephemeralcontainers", "resize"):
            self._answers["get", subresource] = reads.get
            self._answers["update", subresource] = writes.update
            self._answers["patch", subresource] = writes.patch

    # mesh.api.port.Api

    async def handle(self, request: Request, user: User) -> Response:
        """Answer everything that is one request and one answer; refusals are a Response with a Status."""
        started = self._clock.monotonic()
        route: Route | None = None
        verb = request.method.lower()
        try:
            with _faults_told(request):
                if routes.is_resource_path(request.path):
                    route = routes.route(request.method, request.path)
                    verb = route.verb
                    response = await self._resource(request, user, route)
                else:
                    self._authorize_path(request, user)
                    response = await self._parts.documents.answer(request)
        except ApiError as error:
            response = refusal(error)
        self._parts.metrics.observe(route, verb, response.status, self._clock.monotonic() - started)
        return response

    async def watch(self, request: Request, user: User) -> Watcher:
        """Check the request, then return an iterator of encoded watch events."""
        with _faults_told(request):
            route = routes.route(request.method, request.path, watch=True)
            if route.verb != "watch":
                raise MethodNotAllowed("the server does not allow this method on the requested resource")
            self._authorize(user, route)
            return await self._parts.reads.watch(request, route, self._renderer(request, route))

    async def connect(self, request: Request, user: User, stream: Stream) -> None:
        """Serve exec, attach, port-forward or a followed log on `stream`."""
        with _faults_told(request):
            route = routes.route(request.method, request.path)
            self._authorize(user, route)
            await self._parts.streams.connect(request, route, stream)

    async def check_stream(self, request: Request, user: User, *, running: bool) -> None:
        """Refuse what `connect` would refuse for the pod as a whole, before anything of the transport is looked at; with
        `running` also a container that is known not to run."""
        with _faults_told(request):
            route = routes.route(request.method, request.path)
            self._authorize(user, route)
            pod = await self._parts.streams.find(route)
            if running:
                check_running(pod, request.param("container"))

    # Steps

    def _renderer(self, request: Request, route: Route) -> Renderer:
        return Renderer.of(request, route.resource, self._clock.now())

    async def _resource(self, request: Request, user: User, route: Route) -> Response:
        self._authorize(user, route)
        if route.resource in REVIEWS:
            return self._parts.reviews.answer(request, user, route, self._renderer(request, route))
        answer = self._answers.get((route.verb, route.subresource))
        if answer is None or not _serves(route):
            raise MethodNotAllowed("the server does not allow this method on the requested resource")
        response = await answer(request, route, self._renderer(request, route))
        if deprecated := strategy_for(route.resource).deprecated:
            response = replace(response, headers=(*warning_headers([deprecated]), *response.headers))
        return response

    def _authorize(self, user: User, route: Route) -> None:
        if not self._parts.authorizer.allows(user, authorize.attributes(route)):
            raise authorize.denial(user, route)

    def _authorize_path(self, request: Request, user: User) -> None:
        verb = request.method.lower()
        if not self._parts.authorizer.allows(user, Attributes(verb, path=request.path)):
            raise authorize.path_denial(user, verb, request.path)


@contextmanager
def _faults_told(request: Request) -> Iterator[None]:
    """What is raised inside comes out as an `ApiError`: a fault of ours as `InternalError`, logged here and only here."""
    try:
        yield
    except ApiError:
        raise
    except RecursionError as error:
        raise BadRequest("the request body is nested too deeply") from error
    except Exception as error:
        log.exception("request failed: %s %s", request.method, request.path)
        raise InternalError(f"Internal error occurred: {type(error).__name__}") from error


def _serves(route: Route) -> bool:
    """Whether the kind has a rule for being written this way."""
    if route.verb not in {"update", "patch"} or route.subresource == "scale":
        return True
    return route.subresource in strategy_for(route.resource).updates


def refusal(error: ApiError) -> Response:
    """The error as a client receives it."""
    status: Object = error.to_status()
    headers = (("Retry-After", str(error.retry_after_seconds)),) if error.retry_after_seconds else ()
    return Response(error.code, orjson.dumps(status), headers=headers)

"""The HTTPS front end: brings requests of kubectl and every other HTTP client to the pipeline, and answers back.

Watches are chunked lines of JSON; byte streams are handled by `http_streams.py`. aiohttp, since its TLS shows the
client's certificate. Only transport lives here: no rule of the API.
"""

from __future__ import annotations

import asyncio
import gzip
import logging
import ssl

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from controlplane.apiserver import http_streams, routes
from controlplane.apiserver.authenticate import Authenticator
from controlplane.apiserver.decode import MAX_BODY
from controlplane.apiserver.refusals import too_large
from controlplane.apiserver.server import ApiServer, refusal
from mesh.api.port import JSON, Request, Response, User, parse_query
from mesh.errors import ApiError, BadRequest, InternalError, Timeout

log = logging.getLogger(__name__)

GZIP_FROM = 128 << 10
"""Bytes from which an answer is compressed if the client takes it, as in Kubernetes."""
_GRACE = 2.0
"""Seconds that requests under way have at shutdown."""
_BODY_SECONDS = 60.0
"""Seconds that a request's body may take, as all of a request may in Kubernetes (`--request-timeout`)."""


class HttpsServer:
    """Listens on one address until it is stopped."""

    def __init__(self, api: ApiServer, authenticator: Authenticator) -> None:
        self._api = api
        self._authenticator = authenticator
        self._runner: web.ServerRunner | None = None

    async def start(self, host: str, port: int, context: ssl.SSLContext | None) -> int:
        """Listen; returns the port (of interest when `port` is 0). Raises OSError when it is taken."""
        # A watch has to end when its client is gone: only cancellation tells its handler so.
        server = web.Server(self._handle, handler_cancellation=True, access_log=None, keepalive_timeout=120.0)
        self._runner = web.ServerRunner(server, shutdown_timeout=_GRACE)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port, ssl_context=context, backlog=1024)
        await site.start()
        addresses = self._runner.addresses
        return int(addresses[0][1])

    async def stop(self) -> None:
        """Stop listening and end what is open. Watches should have been ended before."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _handle(self, http: web.BaseRequest) -> web.StreamResponse:
        try:
            user = self._user(http)
            request = await self._request(http)
            if http_streams.is_stream(request):
                return await http_streams.serve(self._api, request, user, http)
            if request.method == "GET" and _is_watch(request):
                return await self._watch(request, user, http)
            # What a client has begun is finished even if it goes away meanwhile.
            response = await asyncio.shield(self._api.handle(request, user))
        except ApiError as error:
            response = refusal(error)
        except Exception as error:
            log.exception("request failed: %s %s", http.method, http.path)
            if http.writer.output_size:
                raise ConnectionAbortedError("the answer had begun") from error  # what was sent cannot be taken back
            response = refusal(InternalError(f"Internal error occurred: {type(error).__name__}"))
        return await _respond(http, response)

    def _user(self, http: web.BaseRequest) -> User:
        certificate = http.transport.get_extra_info("peercert") if http.transport else None
        return self._authenticator.authenticate(certificate, http.headers.get("Authorization", ""))

    async def _request(self, http: web.BaseRequest) -> Request:
        headers = http.headers
        return Request(
            http.method,
            http.rel_url.path,
            parse_query(http.rel_url.raw_query_string),
            await _body(http) if http.can_read_body else b"",
            headers.get("Content-Type", JSON),
            headers.get("Accept", JSON),
            headers.get("User-Agent", ""),
        )

    async def _watch(self, request: Request, user: User, http: web.BaseRequest) -> web.StreamResponse:
        watcher = await self._api.watch(request, user)
        response = web.StreamResponse(headers={"Content-Type": JSON, "Cache-Control": "no-cache, private"})
        response.enable_chunked_encoding()
        try:
            await response.prepare(http)
            async for first in watcher:
                events = [first, *watcher.take(), b""]
                await response.write(b"\n".join(events))
            await response.write_eof()
        except ConnectionError:
            log.debug("watch client is gone: %s", request.path)
        finally:
            await watcher.aclose()
        return response


def _is_watch(request: Request) -> bool:
    return request.flag("watch") and routes.is_resource_path(request.path)


async def _body(http: web.BaseRequest) -> bytes:
    """The request's body. Raises `RequestTooLarge` without reading on, `BadRequest` when its encoding is broken, and
    `Timeout` when it does not come."""
    announced = http.content_length or 0
    if announced <= MAX_BODY and http.headers.get("Expect", "").lower() == "100-continue":
        await http.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        http.writer.output_size = 0
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            while announced <= MAX_BODY:
                part = await http.content.readany()
                if not part:
                    return b"".join(parts)
                parts.append(part)
                size += len(part)
                announced = max(announced, size)
    except TimeoutError as error:
        raise Timeout("Timeout: request did not complete within the allotted timeout") from error
    except (HttpProcessingError, web.RequestPayloadError) as error:
        raise BadRequest(f"the request body cannot be read: {error}") from error
    raise too_large("the request body", announced, MAX_BODY)


async def _respond(http: web.BaseRequest, response: Response) -> web.Response:
    body, headers = response.body, {"Content-Type": response.content_type, "Cache-Control": "no-cache, private"}
    if len(body) >= GZIP_FROM and "gzip" in http.headers.get("Accept-Encoding", ""):
        loop = asyncio.get_running_loop()
        body = await loop.run_in_executor(None, gzip.compress, body, 1)
        headers["Content-Encoding"] = "gzip"
    answer = web.Response(status=response.status, body=body, headers=headers)
    for name, value in response.headers:
        answer.headers.add(name, value)
    if response.status == 413:
        answer.force_close()
    return answer

"""What lies beside the resources: discovery, version, OpenAPI, health, metrics, token keys."""

from __future__ import annotations

import platform
from functools import lru_cache

import orjson

from controlplane.apiserver import discovery, openapi_v2, openapi_v3
from controlplane.apiserver.health import Health
from controlplane.apiserver.metrics import Metrics
from controlplane.apiserver.negotiate import wants_aggregated_discovery
from controlplane.apiserver.tokens import Tokens
from mesh.api.port import Request, Response
from mesh.errors import MethodNotAllowed, NotFound

VERSION = "v1.36.0+covey.0.1.0"


@lru_cache(maxsize=1)
def version() -> bytes:
    """`/version`."""
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    return orjson.dumps(
        {
            "major": "1",
            "minor": "36",
            "gitVersion": VERSION,
            "gitCommit": "",
            "gitTreeState": "clean",
            "buildDate": "1970-01-01T00:00:00Z",
            "goVersion": f"python{platform.python_version()}",
            "compiler": "cpython",
            "platform": f"linux/{machine}",
        }
    )


class Documents:
    """Answers paths that are no resource."""

    def __init__(self, health: Health, metrics: Metrics, tokens: Tokens) -> None:
        self._health = health
        self._metrics = metrics
        self._tokens = tokens

    async def answer(self, request: Request) -> Response:
        """The document at the request's path; raises `NotFound`."""
        if request.method not in {"GET", "HEAD"}:
            raise MethodNotAllowed("the server does not allow this method on the requested resource")
        parts = request.path.strip("/").split("/")
        if parts[0] in {"healthz", "livez", "readyz"}:
            return await self._health.answer(request)
        if parts == ["metrics"]:
            return self._metrics.answer()
        if parts[0] == "openapi":
            return _openapi(request, parts[1:])
        if parts == ["openid", "v1", "jwks"]:
            return Response(200, self._tokens.key_set(), "application/jwk-set+json")
        if parts == [".well-known", "openid-configuration"]:
            return Response(200, self._tokens.configuration())
        return _discovery(request, parts)


def _discovery(request: Request, parts: list[str]) -> Response:
    if parts in (["api"], ["apis"]) and wants_aggregated_discovery(request.accept):
        return Response(200, discovery.aggregated(core=parts == ["api"]), discovery.AGGREGATED)
    match parts:
        case [""]:
            return Response(200, orjson.dumps({"paths": _PATHS}))
        case ["version"]:
            return Response(200, version())
        case ["api"]:
            return Response(200, discovery.core_versions())
        case ["apis"]:
            return Response(200, discovery.group_list())
        case ["api", name]:
            return Response(200, discovery.resource_list("", name))
        case ["apis", group]:
            return Response(200, discovery.group_document(group))
        case ["apis", group, name]:
            return Response(200, discovery.resource_list(group, name))
    raise NotFound("the server could not find the requested resource")


_PATHS = ["/api", "/apis", "/healthz", "/livez", "/metrics", "/openapi/v2", "/openapi/v3", "/readyz", "/version"]


def _openapi(request: Request, parts: list[str]) -> Response:
    match parts:
        case ["v2"]:
            if openapi_v2.PROTOBUF in request.accept:
                return Response(200, openapi_v2.outline(), f"{openapi_v2.PROTOBUF}.v1.0+protobuf")
            return Response(200, openapi_v2.document())
        case ["v3"]:
            return Response(200, openapi_v3.index())
        case ["v3", *path]:
            root = "/".join(path)
            document = openapi_v3.document(root)
            if document is not None:
                return Response(200, document, headers=(("ETag", f'"{openapi_v3.etag(root)}"'),))
    raise NotFound("the server could not find the requested resource")

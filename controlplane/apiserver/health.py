"""/livez, /readyz and /healthz: is the server alive, and can it serve.

Source: https://kubernetes.io/docs/reference/using-api/health-checks/.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from mesh.api.port import Request, Response
from mesh.errors import ApiError

Check = Callable[[], Awaitable[None]]
"""Returns when all is well, raises `ApiError` otherwise."""

_TEXT = "text/plain; charset=utf-8"


class Health:
    """Runs named checks; `/livez` has those of `live`, `/readyz` and `/healthz` all of them."""

    def __init__(self, live: Mapping[str, Check], ready: Mapping[str, Check]) -> None:
        self._checks = {"livez": dict(live), "readyz": {**live, **ready}, "healthz": {**live, **ready}}

    async def answer(self, request: Request) -> Response:
        """`/readyz`, `/readyz/<check>`; `?verbose` tells of each check, `?exclude=` leaves some out."""
        endpoint, _, only = request.path.strip("/").partition("/")
        checks = self._checks[endpoint]
        if only:
            if only not in checks:
                return Response(404, b"404 page not found\n", _TEXT)
            checks = {only: checks[only]}
        lines, healthy = [], True
        for name, check in checks.items():
            if name in request.params("exclude"):
                lines.append(f"[+]{name} excluded: ok")
                continue
            try:
                await check()
                lines.append(f"[+]{name} ok")
            except ApiError as error:
                healthy = False
                lines.append(f"[-]{name} failed: {error}")
        if not healthy:
            return Response(500, "\n".join([*lines, f"{endpoint} check failed\n"]).encode(), _TEXT)
        if any(name == "verbose" for name, _ in request.query):
            return Response(200, "\n".join([*lines, f"{endpoint} check passed\n"]).encode(), _TEXT)
        return Response(200, b"ok", _TEXT)

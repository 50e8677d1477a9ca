"""Requests, answers, watches and byte streams of the API, and the two ports between which they travel.

`Api` is what the API server's pipeline offers; `Transport` is what a client holds. Between them lie HTTPS
(`controlplane/apiserver/http*.py`), NATS (`mesh/bus/api_client.py`, `mesh/bus/api_server.py`) or nothing
(`mesh/api/local.py`). Bodies are JSON bytes everywhere, so that a cached object is encoded once for all of them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import parse_qsl, urlencode

from mesh.objects.types import Object

JSON = "application/json"
YAML = "application/yaml"
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_MERGE_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"


@dataclass(frozen=True, slots=True)
class User:
    """Who asks, as authentication found out. `groups` always holds system:authenticated or system:unauthenticated."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Request:
    """One API request. `query` keeps order and repetition (`command=sh&command=-c`)."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    content_type: str = JSON
    accept: str = JSON
    user_agent: str = ""

    def param(self, name: str, default: str = "") -> str:
        """The first value of a query parameter."""
        for key, value in self.query:
            if key == name:
                return value
        return default

    def params(self, name: str) -> list[str]:
        """All values of a repeated query parameter, in order."""
        return [value for key, value in self.query if key == name]

    def flag(self, name: str) -> bool:
        """A boolean query parameter as Kubernetes reads it: absent, "", "0" and "false" are False."""
        return self.param(name).lower() not in {"", "0", "false", "f"}

    @property
    def url(self) -> str:
        """Path and encoded query."""
        return f"{self.path}?{urlencode(self.query)}" if self.query else self.path


def parse_query(text: str) -> tuple[tuple[str, str], ...]:
    """A URL's query string as `Request.query` holds it."""
    return tuple(parse_qsl(text, keep_blank_values=True))


@dataclass(frozen=True, slots=True)
class Response:
    """One answer. `headers` are the few beyond Content-Type that clients read (Warning, Retry-After, ...)."""

    status: int
    body: bytes
    content_type: str = JSON
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """ADDED, MODIFIED, DELETED, BOOKMARK or ERROR (then `object` is a Status) with the object, decoded."""

    type: str
    object: Object


class Stream(Protocol):
    """A two-way byte stream of numbered channels, with flow control: a slow reader slows the writer.

    Channels are those of `v5.channel.k8s.io`: 0 stdin, 1 stdout, 2 stderr, 3 error (a Status as JSON), 4 resize (JSON
    with Width and Height), 255 half-close of the channel named by the one byte sent. Port-forward uses one stream per
    TCP connection, with data on channel 0 in both directions.
    """

    async def send(self, channel: int, data: bytes) -> None:
        """Send once there is credit for it; raises `Unavailable` when the stream or the peer is gone."""

    async def receive(self) -> tuple[int, bytes] | None:
        """The next (channel, bytes), or None once the peer has closed. `Unavailable` when the peer vanished."""

    async def close(self) -> None:
        """Send what is under way and end the stream; the peer's `receive` returns None. May be called again."""


class Events(Protocol):
    """The encoded events of an open watch. Whoever opened it closes it."""

    def __aiter__(self) -> AsyncIterator[bytes]: ...

    async def __anext__(self) -> bytes: ...

    async def aclose(self) -> None:
        """End the watch; nobody wants its events any more."""


class Api(Protocol):
    """The API server's pipeline: authenticated requests in, answers out. Errors are raised as `ApiError`."""

    async def handle(self, request: Request, user: User) -> Response:
        """Answer everything that is one request and one answer. Refusals come back as a `Response` with a Status."""

    async def watch(self, request: Request, user: User) -> Events:
        """Check the request, then return an iterator of watch events, each one JSON document
        (`{"type":...,"object":...}`) without a newline. The iterator ends at timeoutSeconds."""

    async def connect(self, request: Request, user: User, stream: Stream) -> None:
        """Serve exec, attach, port-forward or a followed log on `stream`; returns when it is over. Errors before
        anything was sent are raised."""


class Transport(Protocol):
    """A client's way to an `Api`, as one particular user."""

    async def send(self, request: Request) -> Response:
        """One request, one answer. Raises `Unavailable` when no server answers; never raises for a refusal."""

    def watch(self, request: Request) -> AsyncIterator[WatchEvent]:
        """The events of one watch request; raises `ApiError` for a refusal, ends when the server ends it, and raises
        `Unavailable` on a gap or when the server falls silent."""

    async def connect(self, request: Request) -> Stream:
        """Open a byte stream (exec, attach, port-forward, followed log); raises `ApiError` for a refusal."""

"""API requests and answers as msgpack maps, the form in which they cross the bus. Pure.

A request is `{"op": "send" | "watch" | "connect", "method", "path", "query", "body", "type", "accept", "agent"}`. Its
answer is `{"status", "type", "headers", "body"}`, or with `"stream"` in place of the body: the id of a byte stream that
carries the body (a large answer), the watch events (one JSON document a line) or the connection. A refusal of a watch
or a connection is `{"error": Status}`.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgpack
import msgspec

from mesh.api.port import JSON, Request, Response
from mesh.errors import BadRequest, Unavailable
from mesh.objects.types import Object

SEND = "send"
WATCH = "watch"
CONNECT = "connect"


class _Asked(msgspec.Struct, forbid_unknown_fields=True):
    op: str
    method: str
    path: str
    query: list[tuple[str, str]] = []
    body: bytes = b""
    type: str = JSON
    accept: str = JSON
    agent: str = ""


class _Answered(msgspec.Struct):
    status: int = 200
    type: str = JSON
    headers: list[tuple[str, str]] = []
    body: bytes = b""
    stream: str = ""
    error: Object | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """A decoded answer: a response (its body possibly still to come on `stream`), or `error`."""

    response: Response
    stream: str = ""
    error: Object | None = None


def encode_request(op: str, request: Request) -> bytes:
    """A request as one message."""
    packed: bytes = msgpack.packb(
        {
            "op": op,
            "method": request.method,
            "path": request.path,
            "query": request.query,
            "body": request.body,
            "type": request.content_type,
            "accept": request.accept,
            "agent": request.user_agent,
        }
    )
    return packed


def decode_request(data: bytes) -> tuple[str, Request]:
    """The operation and the request; raises `BadRequest` when the message is neither."""
    try:
        asked = msgspec.convert(msgpack.unpackb(data), _Asked, builtin_types=(bytes,))
    except (ValueError, TypeError, msgpack.UnpackException, msgspec.ValidationError) as error:
        raise BadRequest(f"not a request: {error}") from error
    if asked.op not in {SEND, WATCH, CONNECT}:
        raise BadRequest(f"unknown operation {asked.op!r}")
    return asked.op, Request(
        asked.method,
        asked.path,
        tuple(asked.query),
        asked.body,
        asked.type,
        asked.accept,
        asked.agent,
    )


def encode_response(response: Response, *, stream: str = "") -> bytes:
    """An answer; with `stream` its body travels there."""
    packed: bytes = msgpack.packb(
        {
            "status": response.status,
            "type": response.content_type,
            "headers": response.headers,
            **({"stream": stream} if stream else {"body": response.body}),
        }
    )
    return packed


def encode_error(status: Object) -> bytes:
    """A refusal of a watch or a connection."""
    packed: bytes = msgpack.packb({"error": status})
    return packed


def decode_answer(data: bytes) -> Answer:
    """What `encode_response` or `encode_error` made; raises `Unavailable` when the message is neither."""
    try:
        answered = msgspec.convert(msgpack.unpackb(data), _Answered, builtin_types=(bytes,))
    except (ValueError, TypeError, msgpack.UnpackException, msgspec.ValidationError) as error:
        raise Unavailable(f"the API server's answer cannot be read: {error}") from error
    response = Response(answered.status, answered.body, answered.type, tuple(answered.headers))
    return Answer(response, answered.stream, answered.error)

"""The gRPC health check: one call of `grpc.health.v1.Health/Check` over cleartext HTTP/2.

The library h2 speaks HTTP/2. What gRPC adds is little: a path, a five-byte prefix before each message, a status in the
trailers. https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md and .../health-checking.md; the sentences are those
of pkg/probe/grpc of Kubernetes 1.36.
"""

from __future__ import annotations

import asyncio
import os
from urllib.parse import unquote

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from h2.exceptions import ProtocolError

from agents.node.handlers import Answer

_STREAM = 1
_CODES = (
    "OK", "Canceled", "Unknown", "InvalidArgument", "DeadlineExceeded", "NotFound", "AlreadyExists", "PermissionDenied",
    "ResourceExhausted", "FailedPrecondition", "Aborted", "OutOfRange", "Unimplemented", "Internal", "Unavailable",
    "DataLoss", "Unauthenticated",
)  # fmt: skip
_UNKNOWN, _UNIMPLEMENTED, _UNAVAILABLE = 2, 12, 14
_HEALTH = ("UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN")
_SERVING = 1


class _Ended(Exception):
    """The call has ended with this gRPC code and message."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


async def check(host: str, port: int, service: str, timeout: float) -> Answer:
    """Whether the server at `host`:`port` says within `timeout` seconds that `service` ("" for the whole) is serving."""
    where = f'"[{host}]:{port}"' if ":" in host else f'"{host}:{port}"'
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(timeout):
            reader, writer = await asyncio.open_connection(host, port)
            health = await _call(reader, writer, host, service)
    except TimeoutError:
        if writer is None:
            words = f"timeout: failed to connect service {where} within {timeout:g}s: context deadline exceeded"
            return Answer(False, words)
        return Answer(False, f"timeout: health rpc did not complete within {timeout:g}s")
    except OSError as error:
        cause = os.strerror(error.errno).lower() if error.errno else str(error)
        words = f"transport: Error while dialing: dial tcp {where[1:-1]}: connect: {cause}"
        return Answer(False, f'error: failed to connect service at {where}: connection error: desc = "{words}"')
    except ProtocolError as error:
        return Answer(False, f"error: failed to connect service at {where}: {error}")
    except _Ended as ended:
        return Answer(False, _refusal(ended))
    finally:
        if writer is not None:
            writer.close()
    if health == _SERVING:
        return Answer(True, "service healthy")
    name = _HEALTH[health] if health < len(_HEALTH) else str(health)
    return Answer(False, f'service unhealthy (responded with "{name}")')


def _refusal(ended: _Ended) -> str:
    if ended.code == _UNIMPLEMENTED:
        what = "this server does not implement the grpc health protocol (grpc.health.v1.Health)"
        return f"error: {what}: {ended.message}"
    code = _CODES[ended.code] if ended.code < len(_CODES) else f"Code({ended.code})"
    return f"error: health rpc probe failed: rpc error: code = {code} desc = {ended.message}"


async def _call(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, service: str) -> int:
    """The status in the server's answer; raises `_Ended` when it refuses, `ProtocolError` when it speaks no HTTP/2."""
    connection = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
    connection.initiate_connection()
    connection.send_headers(
        _STREAM,
        [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", "/grpc.health.v1.Health/Check"),
            (":authority", f"[{host}]" if ":" in host else host),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
            ("user-agent", "kube-probe/1.36"),
        ],
    )
    connection.send_data(_STREAM, _request(service), end_stream=True)
    answer = _CallAnswer()
    while not answer.complete:
        if pending := connection.data_to_send():
            writer.write(pending)
            await writer.drain()
        received = await reader.read(65536)
        if not received:
            raise _Ended(_UNAVAILABLE, "error reading from server: EOF")
        for event in connection.receive_data(received):
            answer.take(event)
    return answer.health()


class _CallAnswer:
    """What has come of the answer. Its size is bounded by HTTP/2's window: nothing received is ever acknowledged."""

    def __init__(self) -> None:
        self.complete = False
        self._headers: dict[str, str] = {}
        self._data = bytearray()

    def take(self, event: Event) -> None:
        """One event of the connection; raises `_Ended` when nothing more will come."""
        match event:
            case ResponseReceived() | TrailersReceived():
                self._headers.update((str(name), str(value)) for name, value in event.headers)
            case DataReceived():
                self._data += event.data
            case StreamEnded():
                self.complete = True
            case StreamReset():
                code = event.error_code
                name = code.name if isinstance(code, ErrorCodes) else str(code)
                raise _Ended(_UNAVAILABLE, f"stream terminated by RST_STREAM with error code: {name}")
            case ConnectionTerminated():
                raise _Ended(_UNAVAILABLE, "the server closed the connection")
            case _:
                return  # settings, window updates, pings: the library has answered them

    def health(self) -> int:
        """The status in the message; raises `_Ended` unless the call succeeded."""
        http = self._headers.get(":status", "")
        if "grpc-status" not in self._headers:
            code = _UNIMPLEMENTED if http == "404" else _UNKNOWN
            raise _Ended(code, f"unexpected HTTP status code received from server: {http}")
        code = int(self._headers["grpc-status"]) if self._headers["grpc-status"].isdigit() else _UNKNOWN
        if code:
            raise _Ended(code, unquote(self._headers.get("grpc-message", "")))
        return _status_in(bytes(self._data[5:]))


def _request(service: str) -> bytes:
    """A HealthCheckRequest as a length-prefixed, uncompressed message: field 1, when set, is the service's name."""
    name = service.encode()
    message = b"\x0a" + _varint(len(name)) + name if name else b""
    return b"\0" + len(message).to_bytes(4, "big") + message


def _varint(number: int) -> bytes:
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)


def _status_in(message: bytes) -> int:
    """Field 1 of a HealthCheckResponse; an enumeration's first value is not sent at all."""
    if len(message) >= 2 and message[0] == 0x08:
        return message[1]
    return 0

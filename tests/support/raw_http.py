"""HTTP as bytes on a TLS connection: for requests that no decent client would send."""

from __future__ import annotations

import asyncio
import random
import ssl
from dataclasses import dataclass
from urllib.parse import quote

from mesh.api.port import Request

HANDSHAKE = (
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA=="),
)


@dataclass(frozen=True)
class Answer:
    """What came back. `status` is 0 when the server closed the connection without a word."""

    status: int
    headers: dict[str, str]
    body: bytes


async def exchange(port: int, tls: ssl.SSLContext, data: bytes, *, within: float = 20) -> Answer:
    """Send these bytes on a connection of their own; the head and, unless it is endless, the body of the answer."""
    async with asyncio.timeout(within):
        reader, writer = await asyncio.open_connection("localhost", port, ssl=tls)
        try:
            writer.write(data)
            await writer.drain()
            status, headers = await _head(reader)
            while status == 100:
                status, headers = await _head(reader)
            length = 0 if data.startswith(b"HEAD ") else int(headers.get("content-length", "0"))
            return Answer(status, headers, await reader.readexactly(length))
        except (ConnectionError, asyncio.IncompleteReadError):
            return Answer(0, {}, b"")
        finally:
            writer.transport.abort()


async def _head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    pairs = (line.partition(":")[::2] for line in lines[1:] if line)
    return int(lines[0].split()[1]), {name.lower(): value.strip() for name, value in pairs}


def head(method: str, target: str, *headers: tuple[str, str]) -> bytes:
    """A request's first lines; header values in Latin-1."""
    lines = [f"{method} {target} HTTP/1.1", "Host: localhost", *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace")


def encoded(request: Request, rng: random.Random) -> bytes:
    """The request with headers and a path that need not make sense."""
    path = quote(request.path, safe="/%" if rng.random() < 0.5 else "/")
    query = "&".join(f"{quote(k)}={quote(v)}" for k, v in request.query)
    target = (path or "/") + rng.choice((f"?{query}" if query else "", f"?{query}&%ff=%fe&=&;", "?limit=%zz", "?" * 50))
    headers = [("Content-Type", request.content_type), ("Accept", request.accept)]
    headers += rng.choice(
        (
            [], [], [], list(HANDSHAKE), [*HANDSHAKE[:-1], ("Sec-WebSocket-Key", rng.choice(("", "x", "é", "A" * 22)))],
            [*HANDSHAKE, ("Sec-WebSocket-Protocol", rng.choice(("", ",", "v4.channel.k8s.io", "v1.é", "x" * 3000)))],
            [("Upgrade", "SPDY/3.1"), ("Connection", "Upgrade")], [("Accept-Encoding", "gzip;q=x, br")],
            [("Authorization", rng.choice(("Bearer é", "Bearer a.b.c", "Bearer .", "Basic eA==", "é", "Bearer")))],
            [("Impersonate-User", "x")], [("Content-Encoding", "gzip")], [("Content-Encoding", "é")], [("Cookie", "é")],
        )
    )  # fmt: skip
    if rng.random() < 0.2 and request.body:
        chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(request.body), request.body)
        return head(request.method or "GET", target, ("Transfer-Encoding", "chunked"), *headers) + chunks
    if request.body:
        headers.append(("Content-Length", str(len(request.body))))
    return head(request.method or "GET", target, *headers) + request.body

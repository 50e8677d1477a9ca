"""Docker's Engine API over its unix socket, on the event loop: requests, streams, and hijacked connections.

One thread serves any number of log followers, pulls and stops in progress (docs/decisions/0020-docker-over-asyncio.md).
What goes wrong becomes `Refused` (the daemon answered with an error) or `RuntimeAway` (it did not answer).
Nothing about pods may enter here.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import quote, urlencode

import aiohttp

from agents.node.ports import RuntimeAway, RuntimeFailure
from mesh.objects.types import Json

_NEWEST_API: Final = (1, 44)
"""The newest API version we were written for; an older daemon is spoken to in its own."""
_ANSWER_SECONDS: Final = 120.0
"""How long a daemon may take for an ordinary answer (a loaded machine creates containers slowly)."""
_HEAD_LIMIT: Final = 64 * 1024

Parameters = Mapping[str, str | int]


class Refused(RuntimeFailure):
    """The daemon answered with HTTP `status` and said why."""

    def __init__(self, status: int, message: str, reason: str = "RuntimeError") -> None:
        super().__init__(reason, message)
        self.status = status

    def because(self, reason: str) -> Refused:
        """The same refusal under the reason that Kubernetes shows for it."""
        return Refused(self.status, self.message, reason)


class Engine:
    """A client of one daemon. Made without I/O; connections open when they are needed."""

    def __init__(self, address: str) -> None:
        """`address` is "unix:///var/run/docker.sock" or the path alone."""
        self.path = address.removeprefix("unix://")
        self._session: aiohttp.ClientSession | None = None
        self._version = ""

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Parameters | None = None,
        body: Json = None,
        timeout: float | None = _ANSWER_SECONDS,
    ) -> Json:
        """One request; the decoded JSON of its answer (None when it has none). `timeout` None waits without end."""
        try:
            async with asyncio.timeout(timeout), self.stream(method, path, params=params, body=body) as content:
                raw = await content.read()
        except TimeoutError as error:
            raise RuntimeAway("RuntimeAway", f"docker at {self.path} did not answer {path} in {timeout} s") from error
        except aiohttp.ClientError as error:
            raise self._away(error) from error
        return json.loads(raw) if raw.strip() else None

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str,
        *,
        params: Parameters | None = None,
        body: Json = None,
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> AsyncIterator[aiohttp.StreamReader]:
        """One request whose answer is read as it comes. `body` is sent as JSON, `data` as it is.

        Reading from the result raises `aiohttp.ClientError` when the connection breaks (`away` translates it).
        """
        version = await self._negotiated()
        url = f"http://docker/{version}{path}" + (f"?{urlencode(params)}" if params else "")
        sent = dict(headers or {})
        if body is not None:
            data = json.dumps(body).encode()
            sent["Content-Type"] = "application/json"
        try:
            response = await self._http().request(method, url, data=data, headers=sent)
        except (aiohttp.ClientError, OSError) as error:
            raise self._away(error) from error
        try:
            if response.status >= 400:
                raise Refused(response.status, _message(await response.read()))
            yield response.content
        except (aiohttp.ClientError, ConnectionError) as error:
            raise self._away(error) from error
        finally:
            # Not release(): an endless answer must not be drained, and its connection cannot be used again.
            response.close()

    async def hijack(
        self, path: str, *, params: Parameters | None = None, body: Json = None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A POST that turns its connection into a two-way byte stream (attach, exec)."""
        version = await self._negotiated()
        target = f"/{version}{path}" + (f"?{urlencode(params)}" if params else "")
        payload = json.dumps(body).encode() if body is not None else b""
        head = (
            f"POST {target} HTTP/1.1\r\nHost: docker\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(payload)}\r\n\r\n"
        )
        try:
            reader, writer = await asyncio.open_unix_connection(self.path)
        except OSError as error:
            raise self._away(error) from error
        try:
            writer.write(head.encode() + payload)
            answer = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            status = int(answer.split(" ", 2)[1])
            if status >= 400:
                raise Refused(status, _message(await _error_body(reader, answer)))
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            writer.close()
            raise self._away(error) from error
        except BaseException:
            writer.close()
            raise
        return reader, writer

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _negotiated(self) -> str:
        """The path prefix of the API version that both sides speak."""
        if not self._version:
            try:
                async with self._http().get("http://docker/_ping") as response:
                    await response.read()
                    offered = response.headers.get("Api-Version", "1.40")
            except (aiohttp.ClientError, OSError) as error:
                raise self._away(error) from error
            major, minor = (int(part) for part in offered.split("."))
            self._version = "v{}.{}".format(*min((major, minor), _NEWEST_API))
        return self._version

    def _http(self) -> aiohttp.ClientSession:
        if self._session is None:
            # Followers and waits hold their connections for as long as containers live: no limit on them.
            self._session = aiohttp.ClientSession(
                connector=aiohttp.UnixConnector(self.path, limit=0),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=10),
                skip_auto_headers=("User-Agent", "Accept-Encoding"),
            )
        return self._session

    def _away(self, error: Exception) -> RuntimeAway:
        self._version = ""  # a daemon that comes back may be another one
        return RuntimeAway(
            "RuntimeAway", f"Cannot connect to the Docker daemon at unix://{self.path}. Is it running? ({error})"
        )


def escaped(name: str) -> str:
    """A reference or id as one piece of a path; slashes stay, as Docker's routes expect."""
    return quote(name, safe="/:@")


async def _error_body(reader: asyncio.StreamReader, head: str) -> bytes:
    for line in head.split("\r\n"):
        name, _, value = line.partition(":")
        if name.lower() == "content-length":
            return await reader.readexactly(int(value))
    return await reader.read(_HEAD_LIMIT)


def _message(raw: bytes) -> str:
    """The sentence in an error answer: {"message": ...}, or the text itself."""
    try:
        return str(json.loads(raw)["message"])
    except (ValueError, KeyError, TypeError):
        return raw.decode(errors="replace").strip()

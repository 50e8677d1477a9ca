"""The real `Reach`: HTTP, TCP and gRPC health checks to pods from the node's network."""

from __future__ import annotations

import asyncio
import contextlib
import ssl

import aiohttp
from yarl import URL

from agents.node.handlers import MOST_OUTPUT, Answer


class SocketReach:
    """Opens connections from the network namespace this process runs in. `close` when done."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    def _http(self) -> aiohttp.ClientSession:
        """The session, made when the first probe needs it: it belongs to the running loop."""
        if self._session is None:
            connector = aiohttp.TCPConnector(ssl=False, force_close=True, limit=0)
            self._session = aiohttp.ClientSession(connector=connector, trust_env=False)
        return self._session

    async def http(self, url: str, headers: list[tuple[str, str]], timeout: float) -> Answer:
        """See `Reach.http`."""
        asked = dict(headers)
        asked.setdefault("User-Agent", "kube-probe/1.36")
        asked.setdefault("Accept", "*/*")
        limit = aiohttp.ClientTimeout(total=timeout)
        try:
            async with self._http().get(URL(url, encoded=True), headers=asked, timeout=limit) as response:
                body = await response.content.read(MOST_OUTPUT)
                passed = 200 <= response.status < 400
                text = body.decode(errors="replace")
                return Answer(passed, text if passed else f"HTTP probe failed with statuscode: {response.status}")
        except TimeoutError:
            return Answer(
                False, f'Get "{url}": context deadline exceeded (Client.Timeout exceeded while awaiting headers)'
            )
        except (aiohttp.ClientError, OSError, ssl.SSLError, ValueError) as error:
            return Answer(False, f'Get "{url}": {_words(error)}')

    async def tcp(self, host: str, port: int, timeout: float) -> Answer:
        """See `Reach.tcp`."""
        where = f"dial tcp {host}:{port}"
        try:
            async with asyncio.timeout(timeout):
                _, writer = await asyncio.open_connection(host, port)
        except TimeoutError:
            return Answer(False, f"{where}: i/o timeout")
        except OSError as error:
            return Answer(False, f"{where}: connect: {(error.strerror or str(error)).lower()}")
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        return Answer(True)

    async def grpc(self, host: str, port: int, service: str, timeout: float) -> Answer:
        """See `Reach.grpc`."""
        # Most nodes never see such a probe: HTTP/2 is loaded for those that do.
        from agents.node import grpc_health

        return await grpc_health.check(host, port, service, timeout)

    async def close(self) -> None:
        """Close idle connections."""
        if self._session is not None:
            await self._session.close()


def _words(error: Exception) -> str:
    """The cause of a failed request, as Go prints it."""
    cause = getattr(error, "os_error", error)
    if isinstance(cause, ConnectionRefusedError):
        host = getattr(error, "host", "")
        port = getattr(error, "port", "")
        return f"dial tcp {host}:{port}: connect: connection refused"
    return str(error)

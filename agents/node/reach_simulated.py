"""`Reach` without sockets: asks the (fake) runtime for a connection into the sandbox that has the address."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from urllib.parse import urlsplit

from agents.node.handlers import Answer
from agents.node.ports import Runtime, RuntimeFailure


class DialReach:
    """`sandbox_of` finds the sandbox of a pod address, "" for none."""

    def __init__(self, runtime: Runtime, sandbox_of: Callable[[str], str]) -> None:
        self._runtime = runtime
        self._sandbox_of = sandbox_of

    async def http(self, url: str, headers: list[tuple[str, str]], timeout: float) -> Answer:
        """See `Reach.http`."""
        del headers
        parts = urlsplit(url)
        try:
            async with asyncio.timeout(timeout):
                reader, writer = await self._dial(parts.hostname or "", parts.port or 80)
                writer.write(f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode())
                line = await reader.readline()
                writer.close()
        except (TimeoutError, RuntimeFailure) as error:
            return Answer(False, f'Get "{url}": {error}')
        status = int(line.split()[1]) if line.startswith(b"HTTP/") else 0
        passed = 200 <= status < 400
        return Answer(passed, "" if passed else f"HTTP probe failed with statuscode: {status}")

    async def tcp(self, host: str, port: int, timeout: float) -> Answer:
        """See `Reach.tcp`."""
        try:
            async with asyncio.timeout(timeout):
                _, writer = await self._dial(host, port)
                writer.close()
        except (TimeoutError, RuntimeFailure) as error:
            return Answer(False, str(error))
        return Answer(True)

    async def grpc(self, host: str, port: int, service: str, timeout: float) -> Answer:
        """See `Reach.grpc`: whether something listens is all that is simulated."""
        del service
        return await self.tcp(host, port, timeout)

    async def _dial(self, host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        sandbox = self._sandbox_of(host)
        if not sandbox:
            raise RuntimeFailure("DialError", f"dial tcp {host}:{port}: connect: no route to host")
        reader, writer = await self._runtime.dial(sandbox, port)
        assert isinstance(reader, asyncio.StreamReader)
        return reader, writer  # type: ignore[return-value]

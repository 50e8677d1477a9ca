"""Asks other resolvers about names that are not the cluster's, and keeps what they say.

One question is under way once, however many pods ask it. Each goes out from a socket of its own, so that port and id
are both unguessable; what comes back counts only if it repeats the question.
"""

from __future__ import annotations

import asyncio
import logging
import random
import socket
import struct
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

from agents.dns import packets
from agents.dns.cache import Cache
from agents.dns.resolvconf import Upstream
from mesh import netns
from mesh.clock import Clock
from mesh.errors import CoveyError

log = logging.getLogger(__name__)

TRY_SECONDS = 1.5
ROUNDS = 2
MOST_UNDERWAY = 1000
_DATAGRAM_BYTES = 65535


class NoAnswer(CoveyError):
    """No resolver answered in time, or there is none, or too many questions are under way."""


class Forwarder:
    """Forwards to `upstreams` in their order, starting with the one that answered last. `machine_netns` is the path of
    the machine's own namespace, for the upstreams that only that reaches."""

    def __init__(self, upstreams: Sequence[Upstream], clock: Clock, rng: random.Random, *, machine_netns: Path) -> None:
        self._upstreams = list(upstreams)
        self._clock = clock
        self._rng = rng
        self._machine_netns = machine_netns
        self._cache = Cache()
        self._underway: dict[tuple[bytes, bool], asyncio.Task[bytes]] = {}
        self._outside = ThreadPoolExecutor(1, thread_name_prefix="dns-machine")

    async def ask(self, query: bytes, *, tcp: bool = False) -> bytes:
        """The answer to a query packet, under the query's id. Raises `NoAnswer`."""
        kept = self._cache.get(query, self._clock.monotonic())
        if kept is not None:
            return kept
        key = (packets.cache_key(query), tcp)
        task = self._underway.get(key)
        if task is None:
            if len(self._underway) >= MOST_UNDERWAY:
                raise NoAnswer(f"{MOST_UNDERWAY} questions are under way already")
            task = asyncio.get_running_loop().create_task(self._ask_all(query, tcp=tcp))
            self._underway[key] = task
            task.add_done_callback(lambda done: self._finished(key, done))
        return packets.aged(await asyncio.shield(task), query, (), 0)

    async def close(self) -> None:
        """Give up what is under way."""
        tasks = list(self._underway.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._outside.shutdown(wait=False)

    def _finished(self, key: tuple[bytes, bool], task: asyncio.Task[bytes]) -> None:
        """Forget the question; its error, if any, was given to all who asked (or nobody waits for it any more)."""
        del self._underway[key]
        if not task.cancelled():
            task.exception()

    async def _ask_all(self, query: bytes, *, tcp: bool) -> bytes:
        fallback: bytes | None = None
        for upstream in list(self._upstreams) * ROUNDS:
            sent = packets.with_id(query, self._rng.randrange(1 << 16))
            try:
                async with asyncio.timeout(TRY_SECONDS):
                    answer = await (self._over_tcp(upstream, sent) if tcp else self._over_udp(upstream, sent))
            except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
                log.debug("dns: %s did not answer: %r", upstream.address, error)
                continue
            if packets.is_failure(answer):
                fallback = answer  # another resolver may know better
                continue
            self._prefer(upstream)
            self._cache.put(query, answer, self._clock.monotonic())
            return answer
        if fallback is not None:
            return fallback
        raise NoAnswer("no resolver answered" if self._upstreams else "no resolvers are known")

    def _prefer(self, upstream: Upstream) -> None:
        if self._upstreams[0] != upstream:
            self._upstreams.remove(upstream)
            self._upstreams.insert(0, upstream)

    async def _over_udp(self, upstream: Upstream, query: bytes) -> bytes:
        loop = asyncio.get_running_loop()
        with closing(await self._socket(upstream, socket.SOCK_DGRAM)) as sock:
            sock.connect((upstream.address, upstream.port))
            await loop.sock_sendall(sock, query)
            while True:
                answer = await loop.sock_recv(sock, _DATAGRAM_BYTES)
                if packets.answers_to(query, answer):
                    return answer

    async def _over_tcp(self, upstream: Upstream, query: bytes) -> bytes:
        sock = await self._socket(upstream, socket.SOCK_STREAM)
        try:
            await asyncio.get_running_loop().sock_connect(sock, (upstream.address, upstream.port))
            reader, writer = await asyncio.open_connection(sock=sock)
        except BaseException:
            sock.close()
            raise
        try:
            writer.write(struct.pack("!H", len(query)) + query)
            (length,) = struct.unpack("!H", await reader.readexactly(2))
            answer = await reader.readexactly(length)
        finally:
            writer.close()
        if not packets.answers_to(query, answer):
            raise ConnectionError("the answer is to another question")
        return answer

    async def _socket(self, upstream: Upstream, kind: socket.SocketKind) -> socket.socket:
        """A socket in the node's namespace, or in the machine's where only that reaches the resolver."""
        family = socket.AF_INET6 if ":" in upstream.address else socket.AF_INET
        if not upstream.from_machine:
            return _open(family, kind)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._outside, _open_within, self._machine_netns, family, kind)


def _open(family: socket.AddressFamily, kind: socket.SocketKind) -> socket.socket:
    sock = socket.socket(family, kind)
    sock.setblocking(False)
    return sock


def _open_within(path: Path, family: socket.AddressFamily, kind: socket.SocketKind) -> socket.socket:
    with netns.within(path):
        return _open(family, kind)

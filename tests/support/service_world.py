"""A small world of network namespaces for the proxy: a node with two pods, another node with one pod, a client outside.

    client 192.0.2.2 --- 192.0.2.1 [node] 198.51.100.1 --- 198.51.100.2 [other] (holds pod 10.64.1.2)
                                   [node] --- pod-a 10.64.0.2, pod-b 10.64.0.3

`other` has no route back to the client: what the client sends there is answered only if the node masqueraded it.
Every pod serves TCP and UDP on port 8080; an answer is "<pod> <address the server saw>". All sockets live in this
process: a socket stays in the namespace in which it was made. Inside `World.entered` the main thread, and with it
every subprocess, is in the node's namespace.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import cast

CLIENT, NODE, OTHER, PODS = "client", "node", "other", ("pod-a", "pod-b")
ADDRESSES = {
    "client": "192.0.2.2",
    "node": "192.0.2.1",
    "other": "198.51.100.2",
    "pod-a": "10.64.0.2",
    "pod-b": "10.64.0.3",
    "pod-c": "10.64.1.2",
}
NAMESPACE_OF = {"pod-c": OTHER}
PORT = 8080
_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


def enter(path: str) -> None:
    """Move this thread into a network namespace."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _libc.setns(descriptor, _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"setns {path}")
    finally:
        os.close(descriptor)


class World:
    """The namespaces; `prefix` makes their names this test run's own."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self._tasks: set[asyncio.Task[None]] = set()
        self._servers: list[asyncio.AbstractServer] = []
        self._transports: list[asyncio.DatagramTransport] = []

    def name(self, role: str) -> str:
        return f"{self.prefix}-{NAMESPACE_OF.get(role, role)}"

    @contextlib.contextmanager
    def entered(self, role: str) -> Iterator[None]:
        """Be in that role's namespace."""
        enter_again = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            enter(f"/run/netns/{self.name(role)}")
            yield
        finally:
            enter(f"/proc/self/fd/{enter_again}")
            os.close(enter_again)

    def build(self) -> None:
        for role in (CLIENT, NODE, OTHER, *PODS):
            ip("netns", "add", self.name(role))
            ip("-n", self.name(role), "link", "set", "lo", "up")
        self._wire(CLIENT, "192.0.2.2/24", "192.0.2.1/24", "to-client")
        self._wire(OTHER, "198.51.100.2/24", "198.51.100.1/24", "to-other")
        ip("-n", self.name(CLIENT), "route", "add", "default", "via", "192.0.2.1")
        ip("-n", self.name(OTHER), "address", "add", "10.64.1.2/32", "dev", "lo")
        ip("-n", self.name(OTHER), "route", "add", "10.64.0.0/24", "via", "198.51.100.1")
        ip("-n", self.name(NODE), "route", "add", "10.64.1.0/24", "via", "198.51.100.2")
        ip("-n", self.name(NODE), "route", "add", "default", "via", "198.51.100.2")
        for pod in PODS:
            self._wire(pod, f"{ADDRESSES[pod]}/32", "10.64.0.1/32", pod)
            ip("-n", self.name(pod), "route", "add", "10.64.0.1", "dev", "eth0")
            ip("-n", self.name(pod), "route", "add", "default", "via", "10.64.0.1")
            ip("-n", self.name(NODE), "route", "add", ADDRESSES[pod], "dev", pod)
        with self.entered(NODE):
            Path("/proc/sys/net/ipv4/ip_forward").write_text("1")

    def _wire(self, role: str, there: str, here: str, link: str) -> None:
        node, name = self.name(NODE), self.name(role)
        ip("-n", node, "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", name)
        ip("-n", node, "address", "add", here, "dev", link)
        ip("-n", name, "address", "add", there, "dev", "eth0")
        ip("-n", node, "link", "set", link, "up")
        ip("-n", name, "link", "set", "eth0", "up")

    def remove(self) -> None:
        for role in (CLIENT, NODE, OTHER, *PODS):
            subprocess.run(["ip", "netns", "del", self.name(role)], check=False, capture_output=True)

    def socket(self, role: str, kind: socket.SocketKind) -> socket.socket:
        with self.entered(role):
            made = socket.socket(socket.AF_INET, kind)
        made.setblocking(False)
        return made

    # Servers

    async def serve(self, *pods: str, port: int = PORT) -> None:
        """Start the TCP and UDP servers of these pods."""
        for pod in pods:
            listener = self.socket(pod, socket.SOCK_STREAM)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((ADDRESSES[pod], port))
            self._servers.append(await asyncio.start_server(lambda r, w, p=pod: self._answer(p, r, w), sock=listener))
            datagrams = self.socket(pod, socket.SOCK_DGRAM)
            datagrams.bind((ADDRESSES[pod], port))
            loop = asyncio.get_running_loop()
            transport, _ = await loop.create_datagram_endpoint(lambda p=pod: _Echo(p), sock=datagrams)
            self._transports.append(transport)

    async def _answer(self, pod: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = writer.get_extra_info("peername")[0]
        try:
            while await reader.readline():
                writer.write(f"{pod} {peer}\n".encode())
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def stop(self) -> None:
        for server in self._servers:
            server.close()
        for transport in self._transports:
            transport.close()
        await asyncio.sleep(0)

    # Clients

    async def connect(self, role: str, address: str, port: int, *, timeout: float = 2.0) -> Connection:
        """A TCP connection from `role`; raises ConnectionRefusedError, TimeoutError or OSError."""
        made = self.socket(role, socket.SOCK_STREAM)
        try:
            async with asyncio.timeout(timeout):
                await asyncio.get_running_loop().sock_connect(made, (address, port))
                reader, writer = await asyncio.open_connection(sock=made)
        except BaseException:
            made.close()
            raise
        return Connection(reader, writer)

    async def tcp(self, role: str, address: str, port: int, *, timeout: float = 2.0) -> tuple[str, str]:
        """(pod that answered, address it saw) of a fresh TCP connection."""
        connection = await self.connect(role, address, port, timeout=timeout)
        try:
            return await connection.ask()
        finally:
            await connection.close()

    async def udp(
        self, role: str, address: str, port: int, *, timeout: float = 2.0, source_port: int = 0
    ) -> tuple[str, str]:
        """(pod that answered, address it saw) for a datagram from a fresh (or the given) source port."""
        made = self.socket(role, socket.SOCK_DGRAM)
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind(("0.0.0.0", source_port))
            made.connect((address, port))
            loop = asyncio.get_running_loop()
            async with asyncio.timeout(timeout):
                await loop.sock_sendall(made, b"?\n")
                answer = await loop.sock_recv(made, 100)
        finally:
            made.close()
        pod, peer = answer.decode().split()
        return pod, peer


class Connection:
    """One TCP connection to an echo server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def ask(self) -> tuple[str, str]:
        """One question and its answer over the standing connection."""
        self._writer.write(b"?\n")
        async with asyncio.timeout(2.0):
            line = await self._reader.readline()
        if not line:
            raise ConnectionResetError("closed by the server")
        pod, peer = line.decode().split()
        return pod, peer

    async def close(self) -> None:
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()


class _Echo(asyncio.DatagramProtocol):
    def __init__(self, pod: str) -> None:
        self._pod = pod

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, peer: tuple[str, int]) -> None:
        self._transport.sendto(f"{self._pod} {peer[0]}\n".encode(), peer)

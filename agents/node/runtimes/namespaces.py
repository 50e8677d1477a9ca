"""Doing one small thing inside a container's namespace, from a thread that ends with it.

Linux namespaces belong to threads (setns(2)): a fresh thread enters, acts and dies, so that no thread of ours can ever
be left behind in a foreign namespace. Needs CAP_SYS_ADMIN. Nothing that takes time may run inside.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import socket
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
_libc = ctypes.CDLL(None, use_errno=True)


async def inside(path: str, act: Callable[[], T]) -> T:
    """The result of `act()` called in the namespace at `path` ("/proc/<pid>/ns/net", ".../uts"); raises OSError."""
    loop = asyncio.get_running_loop()
    result: asyncio.Future[T] = loop.create_future()

    def run() -> None:
        try:
            _enter(path)
            value = act()
        except OSError as error:
            loop.call_soon_threadsafe(_fail, result, error)
        else:
            loop.call_soon_threadsafe(_succeed, result, value)

    threading.Thread(target=run, name=f"inside {path}", daemon=True).start()
    return await result


async def set_hostname(pid: int, hostname: str) -> None:
    """Set the hostname in the UTS namespace of process `pid`, which must not be our own."""
    path = f"/proc/{pid}/ns/uts"
    if os.stat(path).st_ino == os.stat("/proc/self/ns/uts").st_ino:  # noqa: PTH116 - procfs answers at once
        raise PermissionError(f"process {pid} has no hostname of its own")
    await inside(path, lambda: socket.sethostname(hostname))


async def connect(netns: str, port: int) -> socket.socket:
    """A TCP connection to `port` on the loopback of the network namespace at `netns`; raises OSError.

    Only the socket is made inside; it stays in its namespace, and the loop connects it from here.
    """
    loop = asyncio.get_running_loop()
    refused: OSError | None = None
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        try:
            made = await inside(netns, lambda family=family: socket.socket(family, socket.SOCK_STREAM))  # type: ignore[misc]
        except OSError as error:
            if family is socket.AF_INET6 and refused is not None:
                raise refused from error  # a machine without IPv6
            raise
        made.setblocking(False)
        try:
            await loop.sock_connect(made, (address, port))
        except BaseException as error:
            made.close()
            if not isinstance(error, OSError):
                raise
            refused = refused or error
        else:
            return made
    assert refused is not None
    raise refused


def _enter(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _libc.setns(descriptor, 0) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), path)
    finally:
        os.close(descriptor)


def _succeed(result: asyncio.Future[T], value: T) -> None:
    if not result.cancelled():
        result.set_result(value)
    elif isinstance(value, socket.socket):
        value.close()


def _fail(result: asyncio.Future[T], error: OSError) -> None:
    if not result.cancelled():
        result.set_exception(error)

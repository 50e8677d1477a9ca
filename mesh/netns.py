"""Network namespaces of Linux (network_namespaces(7)): entering one, for a process, a thread or a moment.

A thread that entered stays there: never call `enter` in a thread that others share, least of all an event loop's,
unless the whole process is to live there (an agent or a proxy at its very start, before any thread). `within` is for
a thread of an adapter's own.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

RUN_DIR = Path("/run/netns")
"""Where `ip netns` keeps named namespaces."""
_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def path_of(name: str) -> Path:
    """The path of a named namespace."""
    return RUN_DIR / name


def enter(path: str | Path) -> None:
    """Move the calling thread into the namespace at `path`; raises OSError as setns(2) and open(2) do."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _set(descriptor, str(path))
    finally:
        os.close(descriptor)


def machine_path(cluster: str) -> Path:
    """Where `covey up` binds the machine's own namespace, for a cluster whose nodes live in others. (/proc/1/ns/net is
    not for everybody to open.)"""
    return Path("/run/covey") / cluster / "machine.netns"


@contextmanager
def within(path: str | Path) -> Iterator[None]:
    """Move the calling thread into the namespace at `path` and back again at the end."""
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        enter(path)
        try:
            yield
        finally:
            _set(own, "the namespace the thread came from")
    finally:
        os.close(own)


def same(one: str | Path, other: str | Path) -> bool:
    """Whether two paths name the same namespace; False when either does not exist or is not for us to look at."""
    try:
        first, second = Path(one).stat(), Path(other).stat()
    except (FileNotFoundError, PermissionError):
        return False
    return (first.st_dev, first.st_ino) == (second.st_dev, second.st_ino)


def _set(descriptor: int, what: str) -> None:
    if _libc.setns(descriptor, _CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)

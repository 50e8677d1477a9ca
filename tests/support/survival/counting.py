"""A TCP connection that keeps counting: proof that an established connection is still the same one."""

from __future__ import annotations

import socket
import threading
from contextlib import ExitStack
from pathlib import Path

from mesh import netns
from tests.support.cluster import await_

PACE_SECONDS = 0.02


class CountingConnection:
    """Sends numbers to a server that echoes them, over one connection, from the namespace at `inside` ("" is ours)."""

    def __init__(self, address: str, port: int, inside: str | Path = "") -> None:
        self.what = f"the connection to {address}:{port}{f' from {inside}' if inside else ''}"
        self.count = 0
        self.broken = ""
        with ExitStack() as stack:
            if inside:
                stack.enter_context(netns.within(inside))
            self._socket = socket.create_connection((address, port), timeout=10)
        self._socket.settimeout(60)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=self.what, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with self._socket, self._socket.makefile("rb") as lines:
            while not self._stopping.wait(PACE_SECONDS):
                try:
                    self._socket.sendall(b"%d\n" % self.count)
                    answer = lines.readline()
                except OSError as error:
                    self.broken = repr(error)
                    return
                if answer != b"%d\n" % self.count:
                    self.broken = f"sent {self.count}, received {answer!r}"
                    return
                self.count += 1

    def goes_on(self) -> None:
        """Return when it has counted further; fails when it is broken."""
        start = self.count
        await_(lambda: self.broken or self.count >= start + 10, what=f"{self.what} to go on counting")
        assert not self.broken, f"{self.what} broke at {self.count}: {self.broken}"

    def close(self) -> None:
        """End it."""
        self._stopping.set()
        self._thread.join(70)

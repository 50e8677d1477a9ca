"""A container's first steps: its hostname is set before its first instruction, and exec's error comes back exactly.

Docker gives a container that joins a sandbox the hostname which the sandbox was *created* with, and refuses any other.
So each container starts as a tiny static program (`images/static/init-*.S`), which connects to a socket in its *entry
directory*. The agent reads its pid from the socket (SO_PEERCRED), sets the hostname in its UTS namespace, and sends it
the paths to try to execute, one after the other. The socket closes when one succeeds; otherwise the errno comes back.
If the agent dies meanwhile, the program exits: a container never runs with a wrong hostname.
"""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from agents.node.ports import RuntimeFailure
from agents.node.runtimes import namespaces
from agents.node.runtimes.binaries import ARCHITECTURES, executable

_PATH_MAX: Final = 4096
_RETRYABLE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EACCES})
"""Errors after which a search along PATH goes on (execvp(3))."""


class EntryDirectory:
    """The host's side of one container's `/.covey`: the init program, the socket, the hostname, the start error."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def prepare(self, hostname: str) -> None:
        """Make it; again is fine."""
        self.path.mkdir(parents=True, exist_ok=True)
        self.path.chmod(0o755)  # the container's user may be anybody; the directory above is ours alone
        program = self.path / "init"
        program.write_bytes(executable("init", ARCHITECTURES[os.uname().machine]))
        program.chmod(0o755)
        (self.path / "hostname").write_text(hostname + "\n")
        (self.path / "hostname").chmod(0o644)

    def start_error(self) -> str:
        """Why the command could not be executed, "" if it could or nobody tried."""
        try:
            return (self.path / "error").read_text()
        except FileNotFoundError:
            return ""

    def fail(self, message: str) -> RuntimeFailure:
        """Keep `message` as the start error, over restarts of the agent; returns it as an error to raise."""
        temporary = self.path / "error.new"
        temporary.write_text(message)
        temporary.replace(self.path / "error")
        return RuntimeFailure("RunContainerError", message)

    def remove(self) -> None:
        """Forget it; gone already is fine."""
        shutil.rmtree(self.path, ignore_errors=True)

    @contextmanager
    def listening(self) -> Iterator[socket.socket]:
        """The listening socket, there as long as the block runs: afterwards nobody can connect any more."""
        directory = os.open(self.path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            # A socket's path may have 107 bytes; by way of the descriptor it is short wherever the state is kept.
            name = f"/proc/self/fd/{directory}/socket"
            Path(name).unlink(missing_ok=True)
            listener.bind(name)
            Path(name).chmod(0o666)
            listener.listen(1)
            listener.setblocking(False)
            yield listener
        finally:
            self._stop_listening(listener)
            os.close(directory)

    async def hand_over(self, listener: socket.socket, hostname: str, command: str, paths: tuple[str, ...]) -> None:
        """Lead the program that connects through its first steps; raises RunContainerError when it cannot execute."""
        loop = asyncio.get_running_loop()
        connection, _ = await loop.sock_accept(listener)
        self._stop_listening(listener)  # the container's own command must not find a socket to us
        with connection:
            pid, _, _ = struct.unpack(
                "3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
            )
            try:
                await namespaces.set_hostname(pid, hostname)
            except OSError as error:
                raise self.fail(f"failed to set hostname {hostname!r}: {error.strerror or error}") from error
            number = await _execute(connection, paths)
            if number:
                raise self.fail(refusal(command, number))

    def _stop_listening(self, listener: socket.socket) -> None:
        listener.close()
        (self.path / "socket").unlink(missing_ok=True)


async def _execute(connection: socket.socket, paths: tuple[str, ...]) -> int:
    """Have the program try `paths`; 0 when one was executed (or it was killed), else the errno that counts."""
    loop = asyncio.get_running_loop()
    failed = errno.ENOENT
    for path in paths:
        message = path.encode() + b"\0"
        if len(message) > _PATH_MAX:
            failed = errno.ENAMETOOLONG
            continue
        try:
            await loop.sock_sendall(connection, message)
            answer = await loop.sock_recv(connection, 8)
        except ConnectionError:
            return 0  # killed meanwhile: its exit code will tell
        if not answer:
            return 0
        number = -int.from_bytes(answer, "little", signed=True)
        if number not in _RETRYABLE:
            return number
        if number == errno.EACCES or failed == errno.ENOENT:
            failed = number
    return failed


def refusal(command: str, number: int) -> str:
    """The sentence for an execve(2) that failed with errno `number`, in runc's words."""
    if "/" not in command and number in (errno.ENOENT, errno.ENOTDIR):
        why = f'exec: "{command}": executable file not found in $PATH'
    elif number == errno.ENOENT:
        why = f'exec: "{command}": stat {command}: no such file or directory'
    else:
        why = f'exec: "{command}": {os.strerror(number).lower()}'
    return f"failed to create task: OCI runtime create failed: unable to start container process: {why}"

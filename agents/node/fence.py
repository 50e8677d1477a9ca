"""The fence: kills the containers of exclusive pods when the node has been out of touch for too long.

Run as a process of its own (`python -m agents.node.fence DIRECTORY`), which outlives the agent: exclusive pods must end
also when the agent is dead or stuck. It imports nothing but the standard library, `cgroups.kill` and `mesh.durable`, so
that it stays small. The agent writes two files into DIRECTORY: `answered` (CLOCK_BOOTTIME at which the last answered
heartbeat was sent, and its boot) and `guarded` (JSON: its boot, fence seconds, and the cgroups to kill). Neither is
synced: what another boot of the machine has left says nothing, for all that ran then has ended. When it has killed, the
watchdog leaves a note for each pod it ended: an empty file `fenced/UID`, which stays until the agent is through with
that pod.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import struct
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from agents.node.cgroups.kill import CgroupKiller, Killer
from mesh.durable import replace_unsynced

LOOK_SECONDS = 0.2
TIME = struct.Struct("<d36s")
NEVER = float("-inf")


@dataclass(frozen=True, slots=True)
class Guarded:
    """What the agent asks to be fenced: after how many seconds, and which cgroups by pod UID."""

    seconds: float
    cgroups: dict[str, str]


NOBODY = Guarded(0.0, {})


def overdue(now: float, answered: float, guarded: Guarded) -> bool:
    """Whether the guarded pods must die: the last answered heartbeat was sent too long ago. Times of CLOCK_BOOTTIME;
    `answered` is minus infinity when none was answered since the machine started."""
    return bool(guarded.cgroups) and now - answered >= guarded.seconds


def next_look(now: float, answered: float, guarded: Guarded) -> float:
    """Seconds until the fence has to look again: never later than the moment at which it might have to act."""
    if not guarded.cgroups:
        return LOOK_SECONDS
    return min(max(answered + guarded.seconds - now, 0.01), LOOK_SECONDS)


class FenceFiles:
    """The files through which agent and watchdog talk. Every write is atomic."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip().encode()

    @property
    def lock(self) -> Path:
        """Held by the running watchdog."""
        return self._directory / "lock"

    def still_locked_by(self, descriptor: int) -> bool:
        """Whether the open file is still the lock file that others would find."""
        try:
            return os.path.samestat(self.lock.stat(), os.fstat(descriptor))
        except FileNotFoundError:
            return False

    def _replace(self, name: str, data: bytes) -> None:
        replace_unsynced(self._directory / name, data)

    def watched(self) -> bool:
        """Whether a watchdog runs."""
        try:
            handle = os.open(self.lock, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(handle)
        return False

    def write_answered(self, boottime: float) -> None:
        """Moves the fence clock. The file is overwritten in place, which needs no room: a full disk must not make a
        node that is in touch look cut off. A reader meets the old time or the new one, the rest never changes."""
        data = TIME.pack(boottime, self._boot)
        if self.read_answered() == NEVER:
            self._replace("answered", data)
            return
        handle = os.open(self._directory / "answered", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.pwrite(handle, data[:8], 0)
        finally:
            os.close(handle)

    def read_answered(self) -> float:
        """When the last answered heartbeat was sent; NEVER when there was none since the machine started."""
        try:
            answered, boot = TIME.unpack((self._directory / "answered").read_bytes())
        except (FileNotFoundError, struct.error):
            return NEVER
        return float(answered) if boot == self._boot else NEVER

    def write_guarded(self, guarded: Guarded) -> None:
        """What to guard from now on."""
        value = {"boot": self._boot.decode(), "seconds": guarded.seconds, "cgroups": guarded.cgroups}
        self._replace("guarded", json.dumps(value).encode())

    def read_guarded(self) -> Guarded:
        """What to guard; nothing when the agent has not said since the machine started. Half a file is of another boot
        too: a power cut has left it."""
        try:
            value = json.loads((self._directory / "guarded").read_bytes())
            said, guarded = value["boot"], Guarded(float(value["seconds"]), dict(value["cgroups"]))
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return NOBODY
        return guarded if said == self._boot.decode() else NOBODY

    def write_fenced(self, uids: Iterable[str]) -> None:
        """These pods have been ended by the fence. One note for each: two processes write and remove them."""
        self._notes.mkdir(exist_ok=True)
        for uid in uids:
            (self._notes / uid).touch()

    def read_fenced(self) -> frozenset[str]:
        """Pods that the fence has ended and that were not forgotten."""
        try:
            return frozenset(note.name for note in self._notes.iterdir())
        except FileNotFoundError:
            return frozenset()

    def forget_fenced(self, uid: str) -> None:
        """The agent is through with this pod; no note is fine."""
        (self._notes / uid).unlink(missing_ok=True)

    @property
    def _notes(self) -> Path:
        return self._directory / "fenced"


def watch(files: FenceFiles, killer: Killer, held: int) -> None:
    """The watchdog's loop. It goes on after it has killed: containers that appear later are killed too. It ends when
    its directory was removed (the node has left its cluster): `held` is the lock file that it has open."""
    hit: set[str] = set()
    while files.still_locked_by(held):
        guarded, answered, now = files.read_guarded(), files.read_answered(), boottime()
        if overdue(now, answered, guarded):
            hit |= {uid for uid, cgroup in guarded.cgroups.items() if killer.kill(cgroup)}
        if hit:
            with contextlib.suppress(OSError):  # a full disk: it is told as soon as there is room, and killing goes on
                files.write_fenced(hit)
                hit.clear()
        time.sleep(LOOK_SECONDS if overdue(now, answered, guarded) else next_look(now, answered, guarded))


def boottime() -> float:
    """Seconds of CLOCK_BOOTTIME."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def main(directory: str) -> int:
    """Watch `directory` unless another watchdog does already."""
    files = FenceFiles(Path(directory))
    handle = os.open(files.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return 0
    os.truncate(handle, 0)
    os.write(handle, str(os.getpid()).encode())
    # A terminal's interrupt is for the agent: the watchdog is to outlive it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    watch(files, CgroupKiller(), handle)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

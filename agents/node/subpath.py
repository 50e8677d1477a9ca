"""Opens a `subPath` of a volume that containers may be changing at this moment: no link may lead out of it.

What kubelet does since CVE-2017-1002101 and CVE-2021-25741: the path is resolved first, then walked again from the
volume's root, directory by directory, without following any link. What has become a link since is refused.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from agents.node.volumes import VolumeError

_FLAGS = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


def open_below(volume: str, base: Path, sub: str) -> int:
    """A descriptor (O_PATH) of `sub` below `base`; missing directories are made, with the mode of the volume's root.
    Raises `VolumeError`."""
    try:
        root = base.resolve()
        relative = (root / sub).resolve().relative_to(root)
    except ValueError as error:
        raise VolumeError(volume, f"subpath {sub!r} leads out of the volume") from error
    handle = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    mode = stat.S_IMODE(os.fstat(handle).st_mode)
    for part in relative.parts:
        parent = handle
        try:
            handle = _step(parent, part, mode)
        except OSError as error:
            raise VolumeError(volume, f"subpath {sub!r}: {part}: {error.strerror}") from error
        finally:
            os.close(parent)
        if stat.S_ISLNK(os.fstat(handle).st_mode):
            os.close(handle)
            raise VolumeError(volume, f"subpath {sub!r}: {part} has become a link")
    return handle


def _step(parent: int, part: str, mode: int) -> int:
    """The entry `part` of the directory `parent`, made when absent."""
    try:
        return os.open(part, _FLAGS, dir_fd=parent)
    except FileNotFoundError:
        os.mkdir(part, 0o755, dir_fd=parent)
    handle = os.open(part, _FLAGS, dir_fd=parent)
    if stat.S_ISDIR(os.fstat(handle).st_mode):
        os.chmod(f"/proc/self/fd/{handle}", mode)  # noqa: PTH101 - by descriptor: the name may mean another by now
    return handle

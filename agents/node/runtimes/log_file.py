"""Whether Docker's own follower of a log can have lost a file.

Docker (json-file) renames a full log to `.1`, `.1` to `.2` and so on. Its follower reads the file that it has open to the
end and goes on with the *current* one: whoever is two files behind misses what is between. Where the files are not in
reach, or are not of this kind, nothing is concluded.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from types import TracebackType
from typing import Self


class LogFile:
    """The file that a container's log was written to when this was entered. Holding it open keeps its inode its own."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._handle = -1

    def __enter__(self) -> Self:
        with contextlib.suppress(OSError):
            self._handle = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._handle >= 0:
            os.close(self._handle)

    def left_behind(self) -> bool:
        """Whether it has been rotated away twice since, while the container's directory is still there."""
        if self._handle < 0 or not self._path.parent.is_dir():
            return False
        opened = os.fstat(self._handle)
        return not any(_is(path, opened) for path in (self._path, self._path.with_name(f"{self._path.name}.1")))


def _is(path: Path, opened: os.stat_result) -> bool:
    try:
        return os.path.samestat(path.stat(), opened)
    except OSError:
        return False  # being renamed: at worst a log is begun anew without need

"""Writing a file that must not be lost, not be seen half, and not be read by others: keys, seeds, identities, plans.
And one that must only not be seen half."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

_DRAFT = re.compile(r"\..+\.(new|[0-9a-f]{8})")


def write_private(path: Path, data: bytes) -> None:
    """Replace the file in one step, on the disk when this returns. Its mode is 0600 from the first byte on; who owned
    the file before owns it after (under sudo, the user who called). Raises OSError, and then the old file is whole."""
    with _draft(path, data) as draft:
        draft.replace(path)
    sync_directory(path.parent)


def update_private(path: Path, data: bytes) -> bool:
    """As `write_private`, unless the file holds the data already; returns whether it had to be written."""
    with contextlib.suppress(FileNotFoundError):
        if path.read_bytes() == data:
            return False
    write_private(path, data)
    return True


def create_private(path: Path, data: bytes) -> None:
    """As `write_private`, but a file that is there stays: of several who create it at once, one does."""
    with _draft(path, data) as draft, contextlib.suppress(FileExistsError):
        os.link(draft, path)
    sync_directory(path.parent)


def replace_unsynced(path: Path, data: bytes) -> None:
    """Replace the file in one step, whole whenever a process of ours is killed; after a power cut it may be empty or old.
    For what a machine that starts anew does not need, and only where the file has one writer. Raises OSError."""
    draft = path.with_name(f".{path.name}.new")
    try:
        draft.write_bytes(data)
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise


def sync_directory(directory: Path) -> None:
    """See to it that the names in the directory outlive a power cut."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove_drafts(directory: Path) -> None:
    """Remove what writers that were killed have left. Only where nobody writes at the moment."""
    for file in directory.glob(".*"):
        if _DRAFT.fullmatch(file.name):
            file.unlink()


@contextlib.contextmanager
def _draft(path: Path, data: bytes) -> Iterator[Path]:
    """The data in a file beside `path`, with its owner, on the disk; gone afterwards unless it took its place."""
    # Not `secrets`: it loads OpenSSL, 4 MB in a process as small as the fence's watchdog.
    draft = path.with_name(f".{path.name}.{os.urandom(4).hex()}")
    try:
        try:
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
                if os.geteuid() == 0:
                    with contextlib.suppress(FileNotFoundError):
                        before = path.stat()
                        os.fchown(file.fileno(), before.st_uid, before.st_gid)
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:  # of a full disk, write(2) does not say which file it was
            raise OSError(error.errno, error.strerror, str(path)) from error
        yield draft
    finally:
        draft.unlink(missing_ok=True)

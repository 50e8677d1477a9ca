"""Pod directories on the node's file system, below the agent's state directory. Root's own: mode 0700 on top.

Projected files change atomically: a new directory is filled, then the symlink `..data` is swung over to it
(https://kubernetes.io/docs/concepts/configuration/configmap/#mounted-configmaps-are-updated-automatically).
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from agents.node.subpath import open_below
from agents.node.volumes import FileData, VolumeError

MOST_LAST_WORDS = 4096
_MS_FLAGS = 0x2 | 0x4  # nosuid, nodev
_MS_BIND = 0x1000
_MNT_DETACH = 2

_KINDS = {
    "Directory": (stat.S_ISDIR, "is not a directory"),
    "File": (stat.S_ISREG, "is not a file"),
    "Socket": (stat.S_ISSOCK, "is not a socket file"),
    "CharDevice": (stat.S_ISCHR, "is not a character device"),
    "BlockDevice": (stat.S_ISBLK, "is not a block device"),
}


class DiskFiles:
    """Implements `agents.node.files.PodFiles` under `root`, which is made when absent."""

    def __init__(self, root: Path) -> None:
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._root = root.resolve()  # as the kernel's table of mounts will name it
        self._boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()

    def _directory(self, uid: str) -> Path:
        directory = self._root / uid
        directory.mkdir(exist_ok=True, mode=0o750)
        return directory

    def prepared(self, uid: str) -> bool:
        """See `PodFiles.prepared`."""
        try:
            return (self._root / uid / "prepared").read_text() == self._boot
        except FileNotFoundError:
            return False

    def mark_prepared(self, uid: str) -> None:
        """See `PodFiles.mark_prepared`."""
        (self._directory(uid) / "prepared").write_text(self._boot)

    def path(self, uid: str, name: str) -> str:
        """See `PodFiles.path`."""
        return str(self._root / uid / name)

    def write(self, uid: str, name: str, text: str) -> str:
        """See `PodFiles.write`."""
        target = self._directory(uid) / name
        if not target.exists() or target.read_text() != text:
            target.write_text(text)
        target.chmod(0o644)
        return str(target)

    def termination_file(self, uid: str, container: str, attempt: int) -> str:
        """See `PodFiles.termination_file`."""
        target = self._directory(uid) / "termination" / f"{container}-{attempt}"
        target.parent.mkdir(exist_ok=True)
        target.touch()
        target.chmod(0o666)
        return str(target)

    def read_termination(self, uid: str, container: str, attempt: int) -> str:
        """See `PodFiles.read_termination`."""
        try:
            with (self._root / uid / "termination" / f"{container}-{attempt}").open("rb") as file:
                return file.read(MOST_LAST_WORDS).decode(errors="replace")
        except FileNotFoundError:
            return ""

    def _volume(self, uid: str, volume: str) -> Path:
        target = self._directory(uid) / "volumes" / volume
        target.mkdir(parents=True, exist_ok=True)
        return target

    def empty_dir(self, uid: str, volume: str, *, memory: bool, size: int | None, group: int | None) -> str:
        """See `PodFiles.empty_dir`."""
        target = self._volume(uid, volume)
        if memory and not target.is_mount():
            _mount_tmpfs(volume, target, f"size={size}" if size else "")
        mode = 0o777
        if group is not None:
            os.chown(target, -1, group)
            mode |= stat.S_ISGID
        target.chmod(mode)
        return str(target)

    def project(self, uid: str, volume: str, files: Mapping[str, FileData], *, memory: bool, group: int | None) -> str:
        """See `PodFiles.project`."""
        target = self._volume(uid, volume)
        if memory and not target.is_mount():
            _mount_unswapped(volume, target)
        for path in files:
            if path.startswith("/") or ".." in Path(path).parts:
                raise VolumeError(volume, f"invalid path: {path}")
        current = target / "..data"
        if current.is_symlink() and _same(current.resolve(), files):
            _link_names(target, files)  # an agent that was killed after the swing has not come to it
            return str(target)
        fresh = Path(tempfile.mkdtemp(prefix="..", dir=target))
        fresh.chmod(0o755)
        for path, file in files.items():
            _write_file(fresh / path, file, group)
        swing = target / "..data_tmp"
        swing.unlink(missing_ok=True)
        swing.symlink_to(fresh.name)
        swing.replace(current)
        _link_names(target, files)
        _remove_others(target, fresh)
        return str(target)

    def host_path(self, volume: str, path: str, kind: str) -> str:
        """See `PodFiles.host_path`."""
        target = Path(path)
        if kind == "DirectoryOrCreate":
            target.mkdir(parents=True, exist_ok=True, mode=0o755)
            kind = "Directory"
        elif kind == "FileOrCreate":
            target.touch(mode=0o644)
            kind = "File"
        if not kind:
            return path
        check, words = _KINDS[kind]
        try:
            right = check(target.stat().st_mode)
        except FileNotFoundError:
            right = False
        if not right:
            raise VolumeError(volume, f"hostPath type check failed: {path} {words}")
        return path

    def sub_path(self, uid: str, mount: str, volume: str, base: str, sub: str) -> str:
        """See `PodFiles.sub_path`. What is handed out is a bind mount of the very thing that was checked, in a directory
        of ours: by its path in the volume, a container could have exchanged it before it is mounted."""
        target = self._directory(uid) / "subpaths" / mount
        handle = open_below(volume, Path(base), sub)
        try:
            target.parent.mkdir(exist_ok=True)
            while str(target) in _mount_points():  # is_mount() does not see a bind mount within one file system
                _unmount(str(target))  # an earlier attempt's; a container that runs has its own
            if target.is_dir():
                target.rmdir()
            else:
                target.unlink(missing_ok=True)
            if stat.S_ISDIR(os.fstat(handle).st_mode):
                target.mkdir()
            else:
                target.touch()
            _mount(volume, f"/proc/self/fd/{handle}", target, _MS_BIND)
        finally:
            os.close(handle)
        return str(target)

    async def remove(self, uid: str) -> None:
        """See `PodFiles.remove`. Deleting may take long, so it happens beside the event loop."""
        directory = self._root / uid
        if not directory.exists():
            return
        for mount in sorted(_mounts_below(directory), reverse=True):
            _unmount(mount)
        # A directory that still holds a mount of somebody else is not entered.
        await asyncio.to_thread(shutil.rmtree, directory)

    def pods(self) -> set[str]:
        """See `PodFiles.pods`."""
        return {entry.name for entry in self._root.iterdir() if entry.is_dir()}


def _same(directory: Path, files: Mapping[str, FileData]) -> bool:
    """Whether a directory holds exactly these files."""
    present = {str(p.relative_to(directory)): p for p in directory.rglob("*") if p.is_file()}
    if present.keys() != files.keys():
        return False
    return all(present[path].read_bytes() == file.data for path, file in files.items())


def _write_file(target: Path, file: FileData, group: int | None) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(file.data)
    mode = file.mode
    if file.owner is not None or group is not None:
        os.chown(target, -1 if file.owner is None else file.owner, -1 if group is None else group)
    if group is not None:
        mode |= 0o040
    target.chmod(mode)


def _link_names(target: Path, files: Iterable[str]) -> None:
    """What users see: a symlink through ..data for each top-level name, none for those that are no longer there."""
    names = {Path(path).parts[0] for path in files}
    for entry in target.iterdir():
        if not entry.name.startswith("..") and entry.name not in names:
            entry.unlink()
    for name in names:
        link = target / name
        if not link.is_symlink():
            link.symlink_to(f"..data/{name}")


def _remove_others(target: Path, current: Path) -> None:
    """Remove the contents of earlier times, also those that a killed agent has left half written. Which they are is
    read from the directory itself, never from a link: a link could lead anywhere."""
    for entry in target.iterdir():
        if entry.name.startswith("..") and entry != current and entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)


_libc = ctypes.CDLL(None, use_errno=True)


def _mount_tmpfs(volume: str, target: Path, options: str) -> None:
    _mount(volume, "tmpfs", target, _MS_FLAGS, kind="tmpfs", options=options)


def _mount_unswapped(volume: str, target: Path) -> None:
    """A tmpfs for secrets, which stays out of swap where the kernel can promise that (Linux 6.4)."""
    try:
        _mount_tmpfs(volume, target, "mode=0755,noswap")
    except VolumeError:
        _mount_tmpfs(volume, target, "mode=0755")


def _mount(volume: str, source: str, target: Path, flags: int, *, kind: str = "", options: str = "") -> None:
    given = source.encode(), str(target).encode(), kind.encode()
    if _libc.mount(*given, ctypes.c_ulong(flags), options.encode()) != 0:
        raise VolumeError(volume, f"mounting {kind or source}: {os.strerror(ctypes.get_errno())}")


def _unmount(path: str) -> None:
    if _libc.umount2(path.encode(), _MNT_DETACH) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)


def _mounts_below(directory: Path) -> list[str]:
    """Mount points below a directory."""
    return [point for point in _mount_points() if point.startswith(f"{directory}/")]


def _mount_points() -> list[str]:
    """All mount points, by the kernel's table (its octal escapes for blanks undone)."""
    return [line.split()[4].replace("\\040", " ") for line in Path("/proc/self/mountinfo").read_text().splitlines()]

"""Pod directories that exist in memory only, for simulated nodes: paths without a file system, contents as values."""

from __future__ import annotations

from collections.abc import Mapping

from agents.node.volumes import FileData


class MemoryFiles:
    """Implements `agents.node.files.PodFiles`. `contents` may be read by tests: path to files."""

    def __init__(self) -> None:
        self.contents: dict[str, dict[str, Mapping[str, FileData] | str]] = {}
        self._prepared: set[str] = set()

    def prepared(self, uid: str) -> bool:
        """See `PodFiles.prepared`."""
        return uid in self._prepared

    def mark_prepared(self, uid: str) -> None:
        """See `PodFiles.mark_prepared`."""
        self._prepared.add(uid)

    def _put(self, uid: str, name: str, content: Mapping[str, FileData] | str) -> str:
        self.contents.setdefault(uid, {})[name] = content
        return self.path(uid, name)

    def path(self, uid: str, name: str) -> str:
        """See `PodFiles.path`."""
        return f"/pods/{uid}/{name}"

    def write(self, uid: str, name: str, text: str) -> str:
        """See `PodFiles.write`."""
        return self._put(uid, name, text)

    def termination_file(self, uid: str, container: str, attempt: int) -> str:
        """See `PodFiles.termination_file`."""
        return self._put(uid, f"termination/{container}-{attempt}", "")

    def read_termination(self, uid: str, container: str, attempt: int) -> str:
        """See `PodFiles.read_termination`."""
        return str(self.contents.get(uid, {}).get(f"termination/{container}-{attempt}", ""))

    def empty_dir(self, uid: str, volume: str, *, memory: bool, size: int | None, group: int | None) -> str:
        """See `PodFiles.empty_dir`."""
        del memory, size, group
        return self._put(uid, f"volumes/{volume}", {})

    def project(self, uid: str, volume: str, files: Mapping[str, FileData], *, memory: bool, group: int | None) -> str:
        """See `PodFiles.project`."""
        del memory, group
        return self._put(uid, f"volumes/{volume}", dict(files))

    def host_path(self, volume: str, path: str, kind: str) -> str:
        """See `PodFiles.host_path`."""
        del volume, kind
        return path

    def sub_path(self, uid: str, mount: str, volume: str, base: str, sub: str) -> str:
        """See `PodFiles.sub_path`."""
        del uid, mount, volume
        return f"{base}/{sub}"

    async def remove(self, uid: str) -> None:
        """See `PodFiles.remove`."""
        self.contents.pop(uid, None)
        self._prepared.discard(uid)

    def pods(self) -> set[str]:
        """See `PodFiles.pods`."""
        return set(self.contents)

"""The port to the pod's directory on the node: volumes, hosts and resolv.conf, termination messages.

`agents.node.files_disk` keeps them under the agent's state directory; `agents.node.files_memory` is for simulation,
where containers are not real either.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from agents.node.volumes import FileData


class PodFiles(Protocol):
    """Directories of pods by UID. Everything may be repeated. Paths returned are host paths, for bind mounts.

    Methods that refuse raise `VolumeError`; a failing file system raises OSError.
    """

    def prepared(self, uid: str) -> bool:
        """Whether `mark_prepared` was called for this pod since the machine started."""

    def mark_prepared(self, uid: str) -> None:
        """All volumes of the pod are in place."""

    def path(self, uid: str, name: str) -> str:
        """The host path of something in the pod's directory: `hosts`, `volumes/data`."""

    def write(self, uid: str, name: str, text: str) -> str:
        """A file of the agent's own (hosts, resolv.conf); returns its path. Its inode stays: it may be mounted."""

    def termination_file(self, uid: str, container: str, attempt: int) -> str:
        """An empty file, writable for all, in which this attempt may leave its last words."""

    def read_termination(self, uid: str, container: str, attempt: int) -> str:
        """What it left there, at most 4096 bytes; "" for nothing."""

    def empty_dir(self, uid: str, volume: str, *, memory: bool, size: int | None, group: int | None) -> str:
        """An empty directory, on a tmpfs of `size` bytes if `memory`; of group `group` if given."""

    def project(self, uid: str, volume: str, files: Mapping[str, FileData], *, memory: bool, group: int | None) -> str:
        """A directory that holds exactly `files`, replaced atomically when they differ from what is there; with `memory`
        on a tmpfs, so that they never reach a disk."""

    def host_path(self, volume: str, path: str, kind: str) -> str:
        """A path of the node, checked (and created) as the hostPath type `kind` says."""

    def sub_path(self, uid: str, mount: str, volume: str, base: str, sub: str) -> str:
        """What lies at `sub` below `base`, made as a directory when absent, to be mounted; refuses what leads out of
        it. `mount` tells the pod's mounts from each other: asked again for the same, an earlier answer is void."""

    async def remove(self, uid: str) -> None:
        """Unmount and delete everything of this pod."""

    def pods(self) -> set[str]:
        """UIDs of the pods that have a directory."""

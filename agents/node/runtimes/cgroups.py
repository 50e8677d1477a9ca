"""Pods' cgroups: one parent for all containers of a pod, so that limits hold for the pod and one act kills it all.

Works with cgroup v1 and v2, and with both of Docker's drivers (`cgroupfs`: paths; `systemd`: slices). Killing does not
ask the runtime, and runs without an event loop: the fence's watchdog uses it too. A process whose /sys was mounted anew
(as `ip netns exec` does) does not see the cgroups below it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from agents.node.ports import Resources, RuntimeFailure, RuntimeInfo

_PERIOD_US: Final = 100_000
_ROUNDS: Final = 100
_V1_FREEZER: Final = "freezer"
_V2_CONTROLLERS: Final = "+cpu +memory +pids"


class PodCgroups:
    """The cgroups of one node's pods."""

    def __init__(self, cluster: str, node: str, info: RuntimeInfo, root: Path = Path("/sys/fs/cgroup")) -> None:
        self._root = root
        self._v2 = info.cgroup_version >= 2
        self._systemd = info.cgroup_driver == "systemd"
        self._node = f"{_escaped(cluster)}_{_escaped(node)}"

    def parent(self, pod_uid: str) -> str:
        """The pod's cgroup in the words of Docker's driver: what `ContainerSpec.cgroup_parent` takes."""
        if self._systemd:
            return f"covey-{self._node}-pod{_escaped(pod_uid)}.slice"
        return f"/covey/{self._node}/pod{pod_uid}"

    async def ensure(self, pod_uid: str, limits: Resources) -> None:
        """Make the pod's cgroup with these limits, or change them; raises `RuntimeFailure`."""
        if self._systemd:
            await self._set_properties(self.parent(pod_uid), limits)
            return
        try:
            for directory, name, value in self._settings(pod_uid, limits):
                directory.mkdir(parents=True, exist_ok=True)
                (directory / name).write_text(value)
        except OSError as error:
            raise RuntimeFailure("CreatePodSandboxError", f"cgroup of pod {pod_uid}: {error}") from error

    def kill(self, pod_uid: str) -> None:
        """Kill every process of the pod, new ones too, without asking anybody. None there is fine.

        cgroup v2 kills a whole tree by itself (cgroup.kill, Linux 5.14); otherwise freeze, kill all, thaw.
        """
        directory = self._directory(pod_uid, _V1_FREEZER)
        if not directory.exists():
            return
        if (directory / "cgroup.kill").exists():
            (directory / "cgroup.kill").write_text("1")
            return
        for _ in range(_ROUNDS):
            self._freeze(directory, frozen=True)
            processes = tuple(_processes(directory))
            for pid in processes:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._freeze(directory, frozen=False)
            if not processes:
                return

    def remove(self, pod_uid: str) -> None:
        """Remove the pod's cgroup where nothing is left in it; gone already is fine."""
        for controller in self._hierarchies():
            directory = self._directory(pod_uid, controller)
            for path in [*sorted(directory.rglob("*/"), reverse=True), directory]:
                with contextlib.suppress(OSError):  # not empty, not there, or no directory
                    path.rmdir()

    def pods(self) -> frozenset[str]:
        """UIDs of the pods that have a cgroup: with cgroupfs, for removing what a crash left behind."""
        if self._systemd:
            return frozenset()  # systemd collects slices without units by itself
        return frozenset(
            path.name.removeprefix("pod")
            for controller in self._hierarchies()
            for path in self._node_directory(controller).glob("pod*/")
        )

    def _hierarchies(self) -> tuple[str, ...]:
        if self._v2:
            return ("",)
        return tuple(path.name for path in self._root.iterdir() if path.is_dir() and not path.is_symlink())

    def _node_directory(self, controller: str) -> Path:
        base = self._root if self._v2 else self._root / controller
        if self._systemd:
            return base / "covey.slice" / f"covey-{self._node}.slice"
        return base / "covey" / self._node

    def _directory(self, pod_uid: str, controller: str) -> Path:
        return self._node_directory(controller) / self.parent(pod_uid).rpartition("/")[2]

    def _settings(self, pod_uid: str, limits: Resources) -> Iterator[tuple[Path, str, str]]:
        """(directory, file, value) for each limit, in the order they have to be written."""
        if self._v2:
            directory = self._directory(pod_uid, "")
            for above in (self._root, self._root / "covey", directory.parent):
                yield above, "cgroup.subtree_control", _V2_CONTROLLERS
            if limits.cpu_shares is not None:
                yield directory, "cpu.weight", str(weight(limits.cpu_shares))
            yield directory, "cpu.max", f"{_or_max(limits.cpu_quota_us)} {_PERIOD_US}"
            yield directory, "memory.max", _or_max(limits.memory_bytes)
            yield directory, "pids.max", _or_max(limits.pids)
            return
        cpu, memory, pids = (self._directory(pod_uid, controller) for controller in ("cpu", "memory", "pids"))
        if limits.cpu_shares is not None:
            yield cpu, "cpu.shares", str(limits.cpu_shares)
        yield cpu, "cpu.cfs_period_us", str(_PERIOD_US)
        yield cpu, "cpu.cfs_quota_us", str(-1 if limits.cpu_quota_us is None else limits.cpu_quota_us)
        yield memory, "memory.limit_in_bytes", str(-1 if limits.memory_bytes is None else limits.memory_bytes)
        yield pids, "pids.max", _or_max(limits.pids)

    def _freeze(self, directory: Path, *, frozen: bool) -> None:
        """Stop and start the clock of a whole tree, so that no fork escapes the killing."""
        if self._v2:
            (directory / "cgroup.freeze").write_text(str(int(frozen)))
        else:
            (directory / "freezer.state").write_text("FROZEN" if frozen else "THAWED")

    async def _set_properties(self, unit: str, limits: Resources) -> None:
        """Limits of a slice belong to systemd: what is written behind its back it may undo."""
        properties = [
            "CPUWeight=" + ("" if limits.cpu_shares is None else str(weight(limits.cpu_shares))),
            "CPUQuota=" + ("" if limits.cpu_quota_us is None else f"{limits.cpu_quota_us * 100 / _PERIOD_US:g}%"),
            "MemoryMax=" + ("infinity" if limits.memory_bytes is None else str(limits.memory_bytes)),
            "TasksMax=" + ("infinity" if limits.pids is None else str(limits.pids)),
        ]
        process = await asyncio.create_subprocess_exec(
            "systemctl", "set-property", "--runtime", unit, *properties, stderr=asyncio.subprocess.PIPE
        )
        _, said = await process.communicate()
        if process.returncode:
            raise RuntimeFailure("CreatePodSandboxError", f"systemctl set-property {unit}: {said.decode().strip()}")


def weight(shares: int) -> int:
    """cgroup v2's cpu.weight (1 to 10000) for v1's cpu.shares (2 to 262144), as runc converts it."""
    return 1 + (max(2, min(shares, 262_144)) - 2) * 9999 // 262_142


def _or_max(value: int | None) -> str:
    return "max" if value is None else str(value)


def _escaped(name: str) -> str:
    """A name as one level of a slice's name, in which dashes separate levels."""
    return name.replace("-", "_")


def _processes(directory: Path) -> Iterator[int]:
    for file in directory.rglob("cgroup.procs"):
        with contextlib.suppress(OSError):  # a container's cgroup vanishes when its last process has gone
            yield from map(int, file.read_text().split())

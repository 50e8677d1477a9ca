"""What the machine is and how it fares: the numbers behind Node status. The only place that reads them.

https://kubernetes.io/docs/reference/node/node-status/
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}


@dataclass(frozen=True, slots=True)
class Machine:
    """Facts that do not change while the agent runs. Sizes in bytes."""

    cpus: int
    memory: int
    disk: int
    machine_id: str
    boot_id: str
    system_uuid: str
    kernel: str
    os_image: str
    architecture: str


@dataclass(frozen=True, slots=True)
class Pressure:
    """How it fares now: available memory and free disk in bytes, process ids in use and at most."""

    memory_available: int
    disk_free: int
    disk_total: int
    pids: int
    pids_max: int


def _read(path: str, default: str = "") -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError:
        return default  # not every machine has every file (containers, old firmware)


def read_machine(data_dir: str) -> Machine:
    """This machine; `data_dir` is on the file system that holds pods' data."""
    release = {
        key: value.strip('"')
        for key, _, value in (line.partition("=") for line in _read("/etc/os-release").splitlines())
    }
    boot_id = _read("/proc/sys/kernel/random/boot_id")
    machine_id = _read("/etc/machine-id")
    return Machine(
        cpus=len(os.sched_getaffinity(0)),
        memory=psutil.virtual_memory().total,
        disk=psutil.disk_usage(data_dir).total,
        machine_id=machine_id,
        boot_id=boot_id,
        system_uuid=_read("/sys/class/dmi/id/product_uuid", machine_id),
        kernel=platform.release(),
        os_image=release.get("PRETTY_NAME", "Linux"),
        architecture=ARCHITECTURES.get(platform.machine(), platform.machine()),
    )


def read_pressure(data_dir: str) -> Pressure:
    """How this machine fares now."""
    usage = psutil.disk_usage(data_dir)
    return Pressure(
        memory_available=psutil.virtual_memory().available,
        disk_free=usage.free,
        disk_total=usage.total,
        pids=len(psutil.pids()),
        pids_max=int(_read("/proc/sys/kernel/pid_max", "32768")),
    )


SIMULATED = Machine(
    cpus=8,
    memory=32 << 30,
    disk=200 << 30,
    machine_id="00000000000000000000000000000000",
    boot_id="00000000-0000-0000-0000-000000000000",
    system_uuid="00000000-0000-0000-0000-000000000000",
    kernel="simulated",
    os_image="Covey simulated node",
    architecture="amd64",
)

PressureReader = Callable[[], Pressure]


def at_ease() -> Pressure:
    """A simulated machine: plenty of everything."""
    return Pressure(32 << 30, 200 << 30, 200 << 30, 100, 32768)

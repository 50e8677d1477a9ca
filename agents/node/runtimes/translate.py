"""What Docker wants to hear and what it says, as values: bodies for create, statuses from inspect. Pure.

The bodies follow https://docs.docker.com/reference/api/engine/version/v1.41/, the choices those of the kubelet.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from agents.node import sysctls
from agents.node.ports import (
    ContainerSpec,
    ContainerStatus,
    Image,
    Resources,
    RuntimeFailure,
    SandboxSpec,
    SandboxStatus,
    State,
    Stats,
)
from agents.node.runtimes.binaries import ISOLATE
from agents.node.runtimes.labels import ATTEMPT, CONTAINER, POD_UID, SANDBOX, Owner
from mesh.objects.types import Json

ENTRY: Final = "/.covey"
"""Where a container sees its entry directory: the init program and the agent's socket (entry.py)."""
DEFAULT_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
START_FAILED: Final = 128
"""Exit code of a container that never ran, as containerd reports it to Kubernetes (reason StartError)."""
_CPU_PERIOD_US: Final = 100_000
_LOGS: Final = {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "5"}}
"""The kubelet's containerLogMaxSize and containerLogMaxFiles."""
_STATES: Final = {"created": State.CREATED, "running": State.RUNNING, "paused": State.RUNNING}
_SIGNALLED: Final = range(129, 129 + 64)


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """What an image says about how to run it. It never changes for an image id."""

    id: str
    entrypoint: tuple[str, ...]
    command: tuple[str, ...]
    environment: tuple[str, ...]

    @staticmethod
    def read(inspected: Json) -> ImageConfig:
        """From the answer of image inspect."""
        config = inspected.get("Config") or {}
        return ImageConfig(
            id=inspected["Id"],
            entrypoint=tuple(config.get("Entrypoint") or ()),
            command=tuple(config.get("Cmd") or ()),
            environment=tuple(config.get("Env") or ()),
        )


def command_line(spec: ContainerSpec, image: ImageConfig) -> tuple[str, ...]:
    """What to run: `command` replaces the image's entry point and its arguments, `args` only the arguments
    (https://kubernetes.io/docs/tasks/inject-data-application/define-command-argument-container/)."""
    if spec.command is not None:
        return (*spec.command, *(spec.args or ()))
    return (*image.entrypoint, *(image.command if spec.args is None else spec.args))


def candidates(command: str, environment: list[str]) -> tuple[str, ...]:
    """The paths to try to execute for `command`, in order: itself if it has a slash, else one for each part of PATH."""
    if "/" in command:
        return (command,)
    path = next((value for key, _, value in (e.partition("=") for e in reversed(environment)) if key == "PATH"), "")
    return tuple(f"{directory or '.'}/{command}" for directory in (path or DEFAULT_PATH).split(":"))


@dataclass(frozen=True, slots=True)
class Host:
    """What bodies take from the node: its sandboxes' image, the container that holds its network namespace ("" when
    that is the machine's), and the lowest oom_score_adj that the machine allows (machine.py)."""

    pause_image: str
    holder: str
    lowest_oom_score_adj: int


def sandbox_body(owner: Owner, spec: SandboxSpec | None, node: Host) -> Json:
    """Body of `POST /containers/create` for a pod's sandbox, or for a warm one (no spec).

    A sandbox starts in the machine's network namespace, and the pause program moves itself into a new one: Docker would
    take more than twice as long to make it (docs/decisions/0023). The namespace's sysctls are the pod network's to set.
    """
    shares = spec is not None and spec.host_network
    network = f"container:{node.holder}" if shares and node.holder else "host"
    host: dict[str, Json] = {
        "NetworkMode": network,
        "IpcMode": "host" if spec is not None and spec.host_ipc else "shareable",
        "PidMode": "host" if spec is not None and spec.host_pid else "",
        "OomScoreAdj": max(-998, node.lowest_oom_score_adj),
        "ReadonlyRootfs": True,
        "SecurityOpt": ["no-new-privileges"],
        "CapDrop": ["ALL"],
        "CapAdd": [] if shares else ["SYS_ADMIN"],
        "LogConfig": {"Type": "none"},
        "RestartPolicy": {"Name": "no"},
    }
    if spec is not None:
        host["Sysctls"] = sysctls.of_others(spec.sysctls)
    return {
        "Image": node.pause_image,
        "Cmd": [] if shares else [ISOLATE],
        "Labels": owner.sandbox_labels(spec),
        "HostConfig": host,
    }


def container_body(owner: Owner, spec: ContainerSpec, image: ImageConfig, entry_dir: str, node: Host) -> Json:
    """Body of `POST /containers/create` for a container, started through the init program in `entry_dir`."""
    environment = [f"{name}={value}" for name, value in spec.environment]
    if not any(name == "HOSTNAME" for name, _ in spec.environment):
        environment.insert(0, f"HOSTNAME={spec.hostname}")  # Docker would tell the warm sandbox's
    return {
        "Image": spec.image,
        "Entrypoint": [f"{ENTRY}/init"],
        "Cmd": list(command_line(spec, image)),
        "Env": environment,
        "WorkingDir": spec.working_dir,
        "Labels": owner.container_labels(spec),
        "User": spec.security.user,
        "Tty": spec.tty,
        "OpenStdin": spec.stdin,
        "StdinOnce": spec.stdin_once,
        **({"StopSignal": spec.stop_signal} if spec.stop_signal else {}),
        "HostConfig": _host_config(spec, entry_dir, node),
    }


def _host_config(spec: ContainerSpec, entry_dir: str, node: Host) -> Json:
    security = spec.security
    options = ["no-new-privileges"] if security.no_new_privileges else []
    if security.seccomp_unconfined:
        options.append("seccomp=unconfined")
    pid = "host" if spec.host_pid else f"container:{spec.share_pid_with}" if spec.share_pid_with else ""
    return {
        "NetworkMode": f"container:{spec.sandbox_id}",
        "IpcMode": "host" if spec.host_ipc else f"container:{spec.sandbox_id}",
        "PidMode": pid,
        "CgroupParent": spec.cgroup_parent,
        "Mounts": _mounts(spec, entry_dir),
        "Devices": [_device(device) for device in spec.devices],
        "Privileged": security.privileged,
        "ReadonlyRootfs": security.read_only_root,
        "CapAdd": list(security.add_capabilities),
        "CapDrop": list(security.drop_capabilities),
        "GroupAdd": [str(group) for group in security.groups],
        "SecurityOpt": options,
        "LogConfig": _LOGS,
        "RestartPolicy": {"Name": "no"},
        "OomScoreAdj": max(spec.resources.oom_score_adj, node.lowest_oom_score_adj),
        **_limits(spec.resources),
    }


def _limits(resources: Resources) -> dict[str, Json]:
    limits: dict[str, Json] = {}
    if resources.cpu_shares is not None:
        limits["CpuShares"] = resources.cpu_shares
    if resources.cpu_quota_us is not None:
        limits |= {"CpuPeriod": _CPU_PERIOD_US, "CpuQuota": resources.cpu_quota_us}
    if resources.memory_bytes is not None:
        limits |= {"Memory": resources.memory_bytes, "MemorySwap": resources.memory_bytes}  # equal: no swap
    if resources.pids is not None:
        limits["PidsLimit"] = resources.pids
    return limits


def _mounts(spec: ContainerSpec, entry_dir: str) -> list[Json]:
    wanted = [(m.source, m.target, m.read_only, m.propagation) for m in spec.mounts]
    wanted.append((entry_dir, ENTRY, True, "rprivate"))
    if all(target != "/etc/hostname" for _, target, _, _ in wanted):
        wanted.append((f"{entry_dir}/hostname", "/etc/hostname", False, "rprivate"))
    return [
        {
            "Type": "bind",
            "Source": source,
            "Target": target,
            "ReadOnly": read_only,
            "BindOptions": {"Propagation": propagation},
        }
        for source, target, read_only, propagation in wanted
    ]


def _device(text: str) -> Json:
    """A device as "host[:container[:permissions]]"."""
    host, _, rest = text.partition(":")
    container, _, permissions = rest.partition(":")
    return {
        "PathOnHost": host,
        "PathInContainer": container or host,
        "CgroupPermissions": permissions or "rwm",
    }


def moment(text: str) -> datetime | None:
    """A time of Docker's ("2026-01-02T03:04:05.123456789Z", or with an offset), None for its zero time."""
    if not text or text.startswith("0001-"):
        return None
    microseconds = re.sub(r"(\.\d{1,6})\d*", r"\1", text)
    return datetime.fromisoformat(microseconds).astimezone(UTC)


def container_status(inspected: Json, start_error: str = "") -> ContainerStatus:
    """From the answer of container inspect. `start_error` is why its command could not be executed, if so."""
    config, state = inspected["Config"], inspected["State"]
    labels: Mapping[str, str] = config.get("Labels") or {}
    life = _STATES.get(state["Status"], State.EXITED)
    message = start_error or state.get("Error") or ""
    exit_code = int(state.get("ExitCode") or 0)
    failed = bool(message) and life is not State.RUNNING
    if failed:
        life, exit_code = State.EXITED, START_FAILED
    return ContainerStatus(
        id=inspected["Id"],
        sandbox_id=labels.get(SANDBOX, ""),
        pod_uid=labels.get(POD_UID, ""),
        name=labels.get(CONTAINER, ""),
        attempt=int(labels.get(ATTEMPT) or 0),
        state=life,
        image=config["Image"],
        image_id=inspected["Image"],
        pid=int(state.get("Pid") or 0) if life is State.RUNNING else 0,
        created_at=moment(inspected["Created"]),
        started_at=None if failed else moment(state.get("StartedAt", "")),
        finished_at=moment(state.get("FinishedAt", "")) if life is State.EXITED else None,
        exit_code=exit_code if life is State.EXITED else 0,
        signal=exit_code - 128 if life is State.EXITED and exit_code in _SIGNALLED else 0,
        oom_killed=bool(state.get("OOMKilled")) and life is State.EXITED,
        message=message if failed else "",
        labels=labels,
    )


def sandbox_status(inspected: Json, pod_uid: str, labels: Mapping[str, str]) -> SandboxStatus:
    """From the answer of container inspect; `pod_uid` and `labels` may come from a warm sandbox's claim."""
    state = inspected["State"]
    life = _STATES.get(state["Status"], State.EXITED)
    pid = int(state.get("Pid") or 0) if life is State.RUNNING else 0
    created = moment(inspected["Created"])
    assert created is not None
    return SandboxStatus(
        id=inspected["Id"],
        pod_uid=pod_uid,
        state=life,
        pid=pid,
        netns=f"/proc/{pid}/ns/net" if pid else "",
        created_at=created,
        labels=labels,
    )


def image(inspected: Json) -> Image:
    """From the answer of image inspect, or one entry of the image list."""
    return Image(
        id=inspected["Id"],
        tags=tuple(tag for tag in inspected.get("RepoTags") or () if tag != "<none>:<none>"),
        digests=tuple(digest for digest in inspected.get("RepoDigests") or () if "<none>" not in digest),
        size_bytes=int(inspected.get("Size") or 0),
        user=(inspected.get("Config") or {}).get("User") or "",
    )


def stats(answer: Json) -> Stats:
    """From the answer of container stats. The working set is usage without inactive file pages, as cAdvisor has it."""
    memory = answer.get("memory_stats") or {}
    detail = memory.get("stats") or {}
    inactive = detail.get("total_inactive_file", detail.get("inactive_file", 0))  # cgroup v1, v2
    at = moment(answer["read"])
    if at is None:
        raise RuntimeFailure("StatsError", "the container does not run")
    return Stats(
        cpu_ns=int(answer["cpu_stats"]["cpu_usage"]["total_usage"]),
        memory_bytes=max(0, int(memory.get("usage") or 0) - int(inactive)),
        at=at,
    )

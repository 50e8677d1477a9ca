"""The port to the container runtime, and its values. Real and fake adapters pass the same suite.

Everything the agent knows about containers comes back from the runtime's labels: the agent can lose its memory at any
time and adopt what is running. Nothing here knows Kubernetes objects; ids are opaque strings.
"""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from mesh.errors import CoveyError


class State(enum.StrEnum):
    """Where a container is in its life; it only moves forward."""

    CREATED = "created"
    RUNNING = "running"
    EXITED = "exited"


@dataclass(frozen=True, slots=True)
class Mount:
    """A host path seen in the container."""

    source: str
    target: str
    read_only: bool = False
    propagation: str = ""
    """`rslave` or `rshared`; "" for none, or as little of it as the runtime insists on for this source."""


@dataclass(frozen=True, slots=True)
class Resources:
    """Limits of one container or pod, in the units of cgroups; None means unlimited."""

    cpu_shares: int | None = None
    cpu_quota_us: int | None = None
    """CPU time per 100 ms period, in microseconds."""
    memory_bytes: int | None = None
    pids: int | None = None
    oom_score_adj: int = 0


@dataclass(frozen=True, slots=True)
class Security:
    """The part of the security context that a runtime enforces. `user` is "uid[:gid]" or a name."""

    user: str = ""
    groups: tuple[int, ...] = ()
    privileged: bool = False
    read_only_root: bool = False
    no_new_privileges: bool = False
    add_capabilities: tuple[str, ...] = ()
    drop_capabilities: tuple[str, ...] = ()
    seccomp_unconfined: bool = False


@dataclass(frozen=True, slots=True)
class SandboxSpec:
    """A pod's sandbox: the network namespace (and IPC namespace) that its containers share.

    `host_network` joins the node's own namespace. A sandbox without `pod_uid` is a warm one, for a pod to take later.
    """

    pod_uid: str
    pod_namespace: str
    pod_name: str
    sysctls: Mapping[str, str] = field(default_factory=dict)
    host_network: bool = False
    host_pid: bool = False
    host_ipc: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """One container to start inside a sandbox.

    `args` or `command` None leave the image's own. `environment` keeps order. `files` (hosts, resolv.conf) come as
    mounts. `hostname` is set in the container's own UTS namespace before its first instruction runs.
    """

    sandbox_id: str
    pod_uid: str
    name: str
    attempt: int
    image: str
    """The image id, as `Runtime.image` returned it."""
    hostname: str
    command: tuple[str, ...] | None = None
    args: tuple[str, ...] | None = None
    working_dir: str = ""
    environment: tuple[tuple[str, str], ...] = ()
    mounts: tuple[Mount, ...] = ()
    devices: tuple[str, ...] = ()
    resources: Resources = Resources()
    security: Security = Security()
    tty: bool = False
    stdin: bool = False
    stdin_once: bool = False
    stop_signal: str = ""
    host_pid: bool = False
    host_ipc: bool = False
    share_pid_with: str = ""
    """Id of the container (the sandbox) whose PID namespace to join, or ""."""
    cgroup_parent: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SandboxStatus:
    """A sandbox as the runtime sees it. `pid` is 0 unless it runs; `netns` is a path usable while it does."""

    id: str
    pod_uid: str
    state: State
    pid: int
    netns: str
    created_at: datetime
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ContainerStatus:
    """A container as the runtime sees it. Times are None until they happened."""

    id: str
    sandbox_id: str
    pod_uid: str
    name: str
    attempt: int
    state: State
    image: str
    image_id: str
    pid: int = 0
    created_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    exit_code: int = 0
    signal: int = 0
    oom_killed: bool = False
    message: str = ""
    """Why it could not start, in the runtime's words."""
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Image:
    """An image on the node. `user` is the image's own USER."""

    id: str
    tags: tuple[str, ...]
    digests: tuple[str, ...]
    size_bytes: int
    user: str = ""


@dataclass(frozen=True, slots=True)
class RuntimeEvent:
    """A doorbell: something happened to a container or sandbox of this pod; read its state again.

    An empty `pod_uid` names no pod: read everything again. The first event of every iterator is such a one; it says
    that from now on nothing is missed.
    """

    pod_uid: str
    container_id: str


@dataclass(frozen=True, slots=True)
class Stats:
    """Usage of one container at `at`: cumulative CPU time in nanoseconds, working set in bytes."""

    cpu_ns: int
    memory_bytes: int
    at: datetime


@dataclass(frozen=True, slots=True)
class RuntimeInfo:
    """What the runtime is and can do, for Node status and for checks at start."""

    name: str
    version: str
    cgroup_driver: str


UNSUPPORTED = "UnsupportedRuntime"


class RuntimeFailure(CoveyError):
    """The runtime refused or failed. `reason` is what Kubernetes shows (ErrImagePull, CreateContainerError,
    RunContainerError, ImageInspectError, ErrImageNeverPull, InvalidImageName); the message is the runtime's own."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class RuntimeAway(RuntimeFailure):
    """The runtime does not answer at all (its daemon is down): nothing is known, nothing may be concluded."""


class Process(Protocol):
    """A process attached to us: an exec, or an attached container."""

    async def read(self) -> tuple[int, bytes] | None:
        """The next (1 for stdout or 2 for stderr, bytes); None at the end. With a TTY all is 1."""

    async def write(self, data: bytes) -> None:
        """Bytes for its stdin; returns once they are accepted."""

    async def close_stdin(self) -> None:
        """End of its stdin."""

    async def resize(self, width: int, height: int) -> None:
        """New size of its terminal."""

    async def wait(self) -> int:
        """Its exit code, once it has ended (0 for an attachment that was only detached)."""

    async def close(self) -> None:
        """Detach; the container goes on, an exec'd process may."""


class Runtime(Protocol):
    """A container runtime on one node. Every method may raise `RuntimeFailure` or `RuntimeAway`."""

    async def info(self) -> RuntimeInfo:
        """What it is. One that cannot serve at all is a `RuntimeFailure` with the reason UNSUPPORTED."""

    async def create_sandbox(self, spec: SandboxSpec) -> SandboxStatus:
        """Create and start a sandbox without any network but loopback (unless host_network). Takes a warm one when
        there is one that can serve this spec (its network is wired already: `PodNetwork.attach` answers at once), else
        starts a cold one. Asked again for the same pod, the answer is its running sandbox."""

    async def remove_sandbox(self, sandbox_id: str) -> None:
        """Kill and remove a sandbox and whatever still runs in it. Gone already is fine."""

    async def create_container(self, spec: ContainerSpec) -> str:
        """Create a container; returns its id. The same (pod, name, attempt) twice returns the first one's id."""

    async def start_container(self, container_id: str) -> None:
        """Run it. Started already is fine."""

    async def stop_container(self, container_id: str, *, grace_seconds: float) -> None:
        """Ask it to end with its stop signal, and kill it after `grace_seconds`; returns once it has ended."""

    async def remove_container(self, container_id: str) -> None:
        """Remove an ended container with its log. Gone already is fine."""

    async def sandboxes(self) -> list[SandboxStatus]:
        """All sandboxes of this node, ended and warm ones too."""

    async def containers(self, pod_uid: str = "") -> list[ContainerStatus]:
        """All containers of this node (or of one pod), ended ones too, without sandboxes."""

    def events(self) -> AsyncIterator[RuntimeEvent]:
        """Doorbells from now on, until the iterator is closed. Raises `RuntimeAway` when the connection is lost."""

    async def image(self, reference: str) -> Image | None:
        """The image if it is present on the node."""

    async def pull(self, reference: str, *, credentials: Mapping[str, str] | None = None) -> Image:
        """Fetch it from its registry. `credentials` holds username, password or identitytoken."""

    async def images(self) -> list[Image]:
        """All images on the node."""

    async def remove_image(self, image_id: str) -> None:
        """Remove an image that no container uses."""

    async def exec(self, container_id: str, command: list[str], *, tty: bool, stdin: bool) -> Process:
        """Run a command in a running container, attached."""

    async def attach(self, container_id: str, *, stdin: bool) -> Process:
        """Attach to the container's own process."""

    def logs(
        self, container_id: str, *, follow: bool, tail: int | None, since: datetime | None, timestamps: bool
    ) -> AsyncIterator[tuple[int, bytes]]:
        """Log output as (1 stdout or 2 stderr, bytes), oldest first; with `follow` until the container ends.
        `timestamps` puts an RFC 3339 nano stamp before each line."""

    async def dial(self, sandbox_id: str, port: int) -> tuple[object, object]:
        """A TCP connection to a port on the sandbox's loopback: an asyncio (StreamReader, StreamWriter)."""

    async def stats(self, container_id: str) -> Stats:
        """Current usage of a running container."""

    async def close(self) -> None:
        """Let go of the connection; containers go on."""

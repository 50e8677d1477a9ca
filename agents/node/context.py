"""What all pod workers of one node share: ports, caches and facts. Wired once, by `agents.node.agent`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from agents.node.cgroups.pods import PodCgroups
from agents.node.fence_guard import Fence
from agents.node.files import PodFiles
from agents.node.handlers import Reach
from agents.node.images import Images
from agents.node.network_port import PodNetwork
from agents.node.objects import ReferencedObjects
from agents.node.ports import Runtime, RuntimeInfo
from agents.node.status import Host
from agents.node.status_writer import StatusWriter
from agents.node.tokens import Tokens
from mesh.client.client import Client
from mesh.client.events import EventRecorder
from mesh.clock import Clock
from mesh.config import AgentConfig
from mesh.objects.types import Object
from mesh.turns import Turns


@dataclass(slots=True)
class NodeContext:
    """The node as a pod worker sees it. `allocatable` and `host` are filled in once the machine has been measured."""

    config: AgentConfig
    client: Client
    runtime: Runtime
    network: PodNetwork
    files: PodFiles
    cgroups: PodCgroups
    reach: Reach
    images: Images
    objects: ReferencedObjects
    tokens: Tokens
    recorder: EventRecorder
    status: StatusWriter
    clock: Clock
    services: Callable[[], Sequence[Object]]
    """All Services, from the node's cache."""
    host: Host
    runtime_info: RuntimeInfo
    fence: Fence | None = None
    allocatable: Mapping[str, str] = field(default_factory=dict)
    node_memory: int = 0
    """Bytes."""
    node_hosts: str = ""
    """The machine's /etc/hosts."""
    node_resolv_conf: str = ""
    turns: Turns = field(default_factory=Turns)
    """For the passes of pod workers."""

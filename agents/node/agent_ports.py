"""What a node agent stands on. An entry point or a simulation fills it in: nothing else knows which adapters there are."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from agents.node.cgroups.pods import MakeCgroups
from agents.node.checkpoints import Checkpoints
from agents.node.fence_guard import Fence
from agents.node.files import PodFiles
from agents.node.handlers import Reach
from agents.node.machine import Machine, PressureReader
from agents.node.network_port import PodNetwork
from agents.node.ports import Runtime
from mesh.bus.port import Bus
from mesh.client.client import Client
from mesh.clock import Clock
from mesh.turns import Turns


@dataclass(slots=True)
class Ports:
    """Everything a node agent touches. `bus` None: nobody is told that we live (unit tests)."""

    client: Client
    bus: Bus | None
    runtime: Runtime
    network: PodNetwork
    files: PodFiles
    make_cgroups: MakeCgroups
    checkpoints: Checkpoints
    reach: Reach
    machine: Machine
    pressure: PressureReader
    clock: Clock
    rng: random.Random
    fence: Fence | None = None
    """None where no heartbeats are sent: then exclusive pods are not guarded."""
    node_hosts: str = ""
    node_resolv_conf: str = ""
    turns: Turns = field(default_factory=Turns)
    """For the passes of pod workers; nodes of one process share them."""

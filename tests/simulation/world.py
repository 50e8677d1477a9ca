"""One simulated cluster: servers, nodes, users, the broker and the store between them, and what is known of it all."""

from __future__ import annotations

import asyncio
import random
import traceback
from dataclasses import dataclass
from pathlib import Path

from mesh.api.port import User
from mesh.bus.memory import MemoryBroker
from mesh.client.informer import Informer
from mesh.config import BusConfig, ServerConfig
from mesh.objects.kinds import LEASES, PODS
from mesh.objects.meta import uid_of
from mesh.objects.types import Object
from mesh.store.memory import Engine
from tests.simulation import invariants
from tests.simulation.history import History, Version
from tests.simulation.ledger import Ledger
from tests.simulation.node import Node
from tests.simulation.server import Server
from tests.simulation.trace import Trace
from tests.simulation.weather import Weather

SERVERS = ("s1", "s2")
NODES = ("n1", "n2", "n3", "n4")
CLIENTS = ("UALICE", "UBOB", "UKEEPER")
"""Bus identities of those who use the cluster during the storm."""
OPERATOR = "UOPERATOR"
"""Of the one who tidies up after it."""
_ADMIN = User("kubernetes-admin", ("system:masters", "system:authenticated"))


@dataclass(frozen=True, slots=True)
class Failure:
    """An invariant that did not hold, and how."""

    invariant: str
    details: str
    at: float


class World:
    """Everything there is. `failure` is set by whoever finds that an invariant does not hold."""

    def __init__(self, seed: int, pki: Path) -> None:
        self.seed = seed
        self.trace = Trace()
        self.failure: Failure | None = None
        self.failed = asyncio.Event()
        unused = BusConfig(servers=[], seed_file="")
        self.server_config = ServerConfig(
            bus=unused, store=unused, identities_file="", pki_dir=str(pki), advertise_address="192.0.2.100"
        )
        self.weather = Weather(self.rng("weather"))
        self.broker = MemoryBroker(self.weather)
        self.engine, self.events_engine = Engine(), Engine()
        self.history = History(self.engine)
        self.history.on_write.append(self._written)
        self.ledger = Ledger(self)
        self.pods_ever: dict[str, Object] = {}
        """By UID: every pod there ever was, as it was last."""
        self.pods_gone: dict[str, float] = {}
        """By UID: when a pod was removed from the store."""
        self.checked: dict[Informer, tuple[int, int]] = {}
        """At which revision, of the cache and of the store, each cache was last found to be right."""
        self.cut_off: set[str] = set()
        """Identities that cannot reach the broker, and know it."""
        self.faults: dict[str, None] = {}
        """What is broken at this moment."""
        self._calm_since = 0.0
        self.written_at = 0.0
        """When anything but a Lease was last written."""
        self.servers = [Server(self, name) for name in SERVERS]
        self.nodes = [Node(self, name, number) for number, name in enumerate(NODES, 1)]
        self.users = {
            node.identity: User(f"system:node:{node.name}", ("system:nodes", "system:authenticated"))
            for node in self.nodes
        } | dict.fromkeys((*CLIENTS, OPERATOR), _ADMIN)

    def rng(self, purpose: str) -> random.Random:
        """A generator of its own for each purpose, so that one that draws more does not change the others."""
        return random.Random(f"{self.seed} {purpose}")

    def start(self) -> None:
        """Power on everything."""
        for server in self.servers:
            server.start()
        for node in self.nodes:
            node.boot()

    async def stop(self) -> None:
        """Power off everything."""
        for node in self.nodes:
            await node.lose_power()
        for server in self.servers:
            await server.crash()

    @property
    def machines(self) -> list[Server | Node]:
        """All servers and nodes."""
        return [*self.servers, *self.nodes]

    @property
    def now(self) -> float:
        """Virtual seconds since the beginning."""
        return asyncio.get_running_loop().time()

    @property
    def calm_since(self) -> float:
        """When the last fault ended, now while one lasts: what may take its time counts from there."""
        return self.now if self.faults else self._calm_since

    def broken(self, what: str) -> None:
        """A fault begins."""
        self.faults[what] = None
        self.trace.note("fault", f"begins: {what}")

    def mended(self, what: str) -> None:
        """A fault ends."""
        del self.faults[what]
        self._calm_since = self.now
        self.trace.note("fault", f"ends: {what}")

    # Connections

    def cut(self, identity: str) -> None:
        """Break the connections of an identity to the broker; it notices."""
        self.cut_off.add(identity)
        self.broker.cut(identity)

    def heal(self, identity: str) -> None:
        """Let it connect again."""
        self.cut_off.discard(identity)
        self.broker.heal(identity)

    # Invariants

    def fail(self, invariant: str, details: str, error: BaseException | None = None) -> None:
        """An invariant does not hold; the first failure is the one that counts."""
        if self.failure is not None:
            return
        if error is not None:
            details += "\n" + "".join(traceback.format_exception(error))
        self.failure = Failure(invariant, details, self.now)
        self.trace.note("FAILURE", f"{invariant} {details.splitlines()[0]}")
        self.trace.closed = True
        self.failed.set()

    def _written(self, new: Version, old: Version | None) -> None:
        if not new.of(LEASES):
            verb = "delete" if new.object is None else "create" if old is None or old.object is None else "update"
            self.written_at = self.now
            self.trace.note("store", f"{new.revision} {verb} {new.path}")
        if new.of(PODS):
            if new.object is not None:
                self.pods_ever[uid_of(new.object)] = new.object
            elif old is not None and old.object is not None:
                self.pods_gone[uid_of(old.object)] = self.now
        self._check(invariants.ON_WRITE, new, old)

    def containers_changed(self) -> None:
        """A container or sandbox on some node has changed."""
        self._check(invariants.ON_CONTAINERS)

    def look(self) -> None:
        """Check what takes longer to check; called again and again."""
        self._check(invariants.ON_LOOK)

    def _check(self, checks: invariants.Checks, *given: object) -> None:
        for check in checks:
            if complaint := check(self, *given):
                self.fail((check.__doc__ or "").split("\n\n")[0], complaint)

"""Hears the nodes' heartbeats and answers them: the shell around `NodeHealth`.

It owns the subscription on the bus, and runs only while its process leads, for the answer is the leader's
promise to the node that its pods are safe. A heartbeat counts only under the identity that the Node object names, so
that no node can vouch for another. A node without an object gets no answer, and so fences itself. A message that asks for
no answer is the sign of life of a node's proxy: it says that the node is there, not that its pods are looked after.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import msgpack
from prometheus_client import Counter, Gauge

from controlplane.controllers.node_health import NodeHealth
from mesh.api.port import User
from mesh.bus import subjects
from mesh.bus.identities import proxy_user
from mesh.bus.port import Bus, Message, Subscription
from mesh.clock import Clock
from mesh.errors import ApiError, Unavailable
from mesh.objects.meta import Key, annotations_of
from mesh.plan.controller import Cache

log = logging.getLogger(__name__)

IDENTITY = "covey.dev/identity"
"""Annotation of a Node: the NKEY of its agent."""

Who = Callable[[str], User | None]
"""The user behind an identity; None when nobody has it."""

_TICK_SECONDS = 0.25
_LATE_SECONDS = 1.0
"""A tick that comes this much too late means that we, not the nodes, were asleep."""
_MOST_WAITING = 10_000

_HEARD = Counter("covey_heartbeats_total", "Heartbeats heard, by what became of them.", ["result"])
_SILENT = Gauge("covey_nodes_silent", "Nodes that are declared unreachable.")


def nobody(_identity: str) -> User | None:
    """Where no proxies are known, only agents speak for their nodes."""
    return None


class Heartbeats:
    """The heartbeats of all nodes in `nodes`, as leader `leader`; thresholds in seconds as `NodeHealth` has them. `who`
    tells whose proxy an identity is."""

    def __init__(
        self,
        bus: Bus,
        nodes: Cache,
        clock: Clock,
        *,
        leader: str,
        silence_limit: float,
        fence_time: float,
        who: Who = nobody,
    ) -> None:
        self._bus = bus
        self._nodes = nodes
        self._clock = clock
        self._leader = leader
        self._silence_limit = silence_limit
        self._fence_time = fence_time
        self._since = clock.monotonic()
        self._who = who
        self._last: dict[str, float] = {}
        self._signs: dict[str, float] = {}
        self._answers: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue(_MOST_WAITING)
        bus.on_connection(self._connection)

    def health(self) -> NodeHealth:
        """What is known now; a `HealthSource`."""
        now = self._clock.monotonic()
        silent_for = {node: now - heard for node, heard in self._last.items()}
        signs_ago = {node: now - seen for node, seen in self._signs.items()}
        return NodeHealth(now - self._since, self._silence_limit, self._fence_time, silent_for, signs_ago)

    async def run(self, ring: Callable[[Key], None]) -> None:
        """Listen and answer until cancelled; `ring` is called with a node's key whenever it falls silent or speaks
        again."""
        subscription = await self._listen()
        self._last.clear()
        self._signs.clear()
        self._since = self._clock.monotonic()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._answer())
                await self._tick(ring)
        finally:
            await subscription.unsubscribe()

    async def _listen(self) -> Subscription:
        """Subscribe, as soon as the broker is there."""
        while True:
            try:
                return await self._bus.subscribe(subjects.ALL_HEARTBEATS, self._hear)
            except Unavailable as error:
                log.info("heartbeats.waiting error=%s", error)
                await asyncio.sleep(_TICK_SECONDS)

    async def _tick(self, ring: Callable[[Key], None]) -> None:
        """Look again and again who has fallen silent."""
        silent: set[str] = set()
        while True:
            before = self._clock.monotonic()
            await asyncio.sleep(_TICK_SECONDS)
            if self._clock.monotonic() - before > _TICK_SECONDS + _LATE_SECONDS:
                log.warning("heartbeats.late seconds=%.1f", self._clock.monotonic() - before)
                self._since = self._clock.monotonic()
            health = self.health()
            names = [str(node["metadata"]["name"]) for node in self._nodes.list()]
            now_silent = {name for name in names if health.is_silent(name)}
            for name in sorted(now_silent ^ silent):
                log.info("heartbeats.changed node=%s silent=%s", name, name in now_silent)
                ring(Key("", name))
            silent = now_silent
            _SILENT.set(len(silent))

    async def _answer(self) -> None:
        """Send the answers; one that cannot be sent is the node's to miss."""
        while True:
            reply, data = await self._answers.get()
            try:
                await self._bus.publish(reply, data)
            except ApiError as error:
                log.debug("heartbeats.unanswered error=%s", error)

    def _hear(self, message: Message) -> None:
        """Take one heartbeat, and queue its answer. What is counted is never earlier than what the node sent, so that
        our clock on its fence runs no faster than its own."""
        sender = subjects.sender(message.subject)
        try:
            beat = msgpack.unpackb(message.data)
            name, sequence = str(beat["node"]), int(beat["sequence"])
        except (ValueError, KeyError, TypeError, OverflowError, msgpack.UnpackException):
            _HEARD.labels("malformed").inc()
            log.warning("heartbeats.malformed identity=%s", sender)
            return
        if not message.reply:
            self._hear_proxy(sender, name)
            return
        node = self._nodes.get(Key("", name))
        if (
            node is None
            or annotations_of(node).get(IDENTITY) != sender
            or not subjects.answerable(message.reply, sender)
        ):
            _HEARD.labels("refused").inc()
            return
        try:
            self._answers.put_nowait((message.reply, msgpack.packb({"leader": self._leader, "sequence": sequence})))
        except asyncio.QueueFull:
            _HEARD.labels("overflow").inc()
            return
        self._last[name] = self._clock.monotonic()
        _HEARD.labels("answered").inc()

    def _hear_proxy(self, sender: str, node: str) -> None:
        """A sign of life counts only from the node's own proxy."""
        user = self._who(sender)
        if user is None or user.name != proxy_user(node):
            _HEARD.labels("refused").inc()
            return
        self._signs[node] = self._clock.monotonic()
        _HEARD.labels("sign").inc()

    def _connection(self, connected: bool) -> None:
        """After a time without the broker we know of nobody's silence but our own."""
        if connected:
            self._since = self._clock.monotonic()

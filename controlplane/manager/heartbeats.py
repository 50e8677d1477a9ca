"""Hears the nodes' heartbeats and answers them: the shell around `NodeHealth`.

It owns the subscription on the bus, and runs only while its process leads, for the answer is the leader's
promise to the node that its pods are safe. A heartbeat counts only under the identity that the Node object names, so
that no node can vouch for another. A node without an object gets no answer, and so fences itself. A message that asks for
no answer is the sign of life of a node's proxy: it says that the node is there, not that its pods are looked after.

Silence is judged by what we could have heard. A leader that is busy, or whose connection lags, reads heartbeats late; so
it sends marks to itself among them. When a mark has come back, everything that the broker had before it has been taken,
and whoever was not heard by the moment the mark was sent was silent then.
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

_MARK_SECONDS = 0.25
_MOST_WAITING = 10_000

_HEARD = Counter("covey_heartbeats_total", "Heartbeats heard, by what became of them.", ["result"])
_SILENT = Gauge("covey_nodes_silent", "Nodes that are declared unreachable.")


def nobody(_identity: str) -> User | None:
    """Where no proxies are known, only agents speak for their nodes."""
    return None


def _nobody_cares(_node: Key) -> None:
    """Before `run` nobody is to be told."""


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
        self._who = who
        self._since = clock.monotonic()
        self._heard_until = self._since
        """When the latest mark that has come back was sent."""
        self._last: dict[str, float] = {}
        self._signs: dict[str, float] = {}
        self._silent: set[str] = set()
        self._ring: Callable[[Key], None] = _nobody_cares
        self._answers: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue(_MOST_WAITING)
        bus.on_connection(self._connection)

    def health(self) -> NodeHealth:
        """What is known of the time up to the latest mark; a `HealthSource`."""
        until = self._heard_until
        silent_for = {node: max(until - heard, 0.0) for node, heard in self._last.items()}
        signs_ago = {node: max(until - seen, 0.0) for node, seen in self._signs.items()}
        return NodeHealth(max(until - self._since, 0.0), self._silence_limit, self._fence_time, silent_for, signs_ago)

    async def run(self, ring: Callable[[Key], None]) -> None:
        """Listen and answer until cancelled; `ring` is called with a node's key whenever it falls silent or speaks
        again."""
        subscription = await self._listen()
        self._ring = ring
        self._last.clear()
        self._signs.clear()
        self._silent.clear()
        self._since = self._heard_until = self._clock.monotonic()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._answer())
                tasks.create_task(self._mark())
        finally:
            await subscription.unsubscribe()

    async def _listen(self) -> Subscription:
        """Subscribe, as soon as the broker is there."""
        while True:
            try:
                return await self._bus.subscribe(subjects.ALL_HEARTBEATS, self._hear)
            except Unavailable as error:
                log.info("heartbeats.waiting error=%s", error)
                await asyncio.sleep(_MARK_SECONDS)

    async def _mark(self) -> None:
        """Send ourselves the time, again and again."""
        while True:
            mark = msgpack.packb(self._clock.monotonic())
            try:
                await self._bus.publish(subjects.heartbeat(self._bus.identity), mark)
            except Unavailable as error:
                log.debug("heartbeats.unmarked error=%s", error)
            await asyncio.sleep(_MARK_SECONDS)

    def _judge(self, marked: float) -> None:
        """A mark sent at `marked` has come back: see who has fallen silent, and who speaks again."""
        self._heard_until = max(self._heard_until, marked)
        health = self.health()
        names = [str(node["metadata"]["name"]) for node in self._nodes.list()]
        silent = {name for name in names if health.is_silent(name)}
        for name in sorted(silent ^ self._silent):
            log.info("heartbeats.changed node=%s silent=%s", name, name in silent)
            self._ring(Key("", name))
        self._silent = silent
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
        if sender == self._bus.identity:
            self._judge(msgpack.unpackb(message.data))
            return
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

"""The bus in memory, for the simulation and for unit tests: same contract and permissions as NATS', no sockets.

`MemoryBroker` is the "server"; each process has a `MemoryBus` on it. A `Policy` decides, from a seed of its own, what
becomes of each message between two identities. As on NATS, messages from one sender to one receiver never overtake each
other.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from mesh.bus.permissions import Permissions, client_permissions, covers, server_permissions
from mesh.bus.port import WORKING, Message, NobodyListens, Silence
from mesh.bus.subjects import inbox_prefix
from mesh.errors import Forbidden, Unavailable


class Policy(Protocol):
    """What happens to messages on their way."""

    def copies(self, sender: str, receiver: str, subject: str) -> Sequence[float]:
        """After how many seconds each copy of a message arrives: `(0,)` is normal, `()` loses it."""


class Reliable:
    """Every message arrives once, at once."""

    def copies(self, sender: str, receiver: str, subject: str) -> Sequence[float]:
        """One copy, now."""
        del sender, receiver, subject
        return (0.0,)


class MemoryBroker:
    """Routes messages between the buses connected to it."""

    def __init__(self, policy: Policy | None = None) -> None:
        self._policy = policy or Reliable()
        self._buses: list[MemoryBus] = []
        self._links: dict[tuple[MemoryBus, MemoryBus], _Link] = {}
        self._turn = itertools.count()
        self._numbers = itertools.count(1)

    def connect(self, identity: str, *, server: bool = False) -> MemoryBus:
        """A connection of `identity`, with the rights of a server or of a client."""
        permissions = server_permissions(identity) if server else client_permissions(identity)
        bus = MemoryBus(self, identity, permissions, next(self._numbers))
        self._buses.append(bus)
        return bus

    def cut(self, identity: str) -> None:
        """Break the connections of `identity`, which notices at once; what is under way is lost."""
        for bus in self._of(identity):
            bus.set_connected(up=False)

    def heal(self, identity: str) -> None:
        """Let `identity` connect again."""
        for bus in self._of(identity):
            bus.set_connected(up=True)

    def _of(self, identity: str) -> list[MemoryBus]:
        return [bus for bus in self._buses if bus.identity == identity]

    def leave(self, bus: MemoryBus) -> None:
        """`bus` is closed."""
        self._buses.remove(bus)
        self._links = {ends: link for ends, link in self._links.items() if bus not in ends}

    def route(self, sender: MemoryBus, message: Message) -> bool:
        """Deliver to all who listen; whether there was anybody."""
        groups: dict[str, list[_Subscription]] = {}
        chosen: list[_Subscription] = []
        for bus in self._buses:
            for subscription in bus.matching(message.subject):
                if subscription.queue:
                    groups.setdefault(subscription.queue, []).append(subscription)
                else:
                    chosen.append(subscription)
        chosen += [members[next(self._turn) % len(members)] for members in groups.values()]
        for subscription in chosen:
            receiver = subscription.bus
            link = self._links.setdefault((sender, receiver), _Link())
            for delay in self._policy.copies(sender.identity, receiver.identity, message.subject):
                link.carry(delay, subscription, message)
        return bool(chosen)


class _Link:
    """The way from one sender to one receiver: messages keep their order."""

    def __init__(self) -> None:
        self._queue: deque[tuple[float, _Subscription, Message]] = deque()

    def carry(self, delay: float, subscription: _Subscription, message: Message) -> None:
        loop = asyncio.get_running_loop()
        earliest = self._queue[-1][0] if self._queue else 0.0
        self._queue.append((max(loop.time() + delay, earliest), subscription, message))
        if len(self._queue) == 1:
            loop.call_at(self._queue[0][0], self._arrive)

    def _arrive(self) -> None:
        loop = asyncio.get_running_loop()
        while self._queue and self._queue[0][0] <= loop.time():
            _, subscription, message = self._queue[0]
            subscription.deliver(message)
            self._queue.popleft()
        if self._queue:
            loop.call_at(self._queue[0][0], self._arrive)


@dataclass(eq=False)
class _Subscription:
    bus: MemoryBus
    subject: str
    queue: str
    handler: Callable[[Message], None] | None

    def deliver(self, message: Message) -> None:
        if self.handler is not None and self.bus.connected:
            self.bus.received(message)
            self.handler(message)

    async def unsubscribe(self) -> None:
        """End it."""
        self.handler = None
        self.bus.forget(self)


class MemoryBus:
    """`mesh.bus.port.Bus` on a `MemoryBroker`."""

    def __init__(self, broker: MemoryBroker, identity: str, permissions: Permissions, number: int) -> None:
        self._broker = broker
        self._number = number
        self._identity = identity
        self._permissions = permissions
        self._connected = True
        self._closed = False
        self._subscriptions: list[_Subscription] = []
        self._listeners: list[Callable[[bool], None]] = []
        self._answers: dict[asyncio.Future[bytes], None] = {}
        self._answerable: set[str] = set()
        self._inboxes = itertools.count(1)

    @property
    def identity(self) -> str:
        """The identity given to `connect`."""
        return self._identity

    @property
    def connected(self) -> bool:
        """Whether the broker is in reach."""
        return self._connected and not self._closed

    async def publish(self, subject: str, data: bytes, *, reply: str = "") -> None:
        """Send one message."""
        self._send(subject, data, reply)

    def _send(self, subject: str, data: bytes, reply: str) -> bool:
        if not self.connected:
            raise Unavailable("no connection to the broker")
        if subject in self._answerable:
            self._answerable.discard(subject)
        elif not self._permissions.may_publish(subject):
            raise Forbidden(f"the broker refuses {self._identity} to publish on {subject}")
        return self._broker.route(self, Message(subject, reply, data))

    async def request(self, subject: str, data: bytes, *, timeout: float) -> bytes:
        """Send and wait for one answer."""
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        reply = self.new_inbox()
        loop, limit = asyncio.get_running_loop(), asyncio.timeout(timeout)

        def take(message: Message) -> None:
            if answer.done():
                return
            if message.data == WORKING:
                limit.reschedule(loop.time() + timeout)
            else:
                answer.set_result(message.data)

        subscription = await self.subscribe(reply, take)
        self._answers[answer] = None
        try:
            if not self._send(subject, data, reply):
                raise NobodyListens(f"nobody listens on {subject}")
            async with limit:
                return await answer
        except TimeoutError:
            raise Silence(f"no answer on {subject} within {timeout:g} s") from None
        finally:
            del self._answers[answer]
            await subscription.unsubscribe()

    async def subscribe(self, subject: str, handler: Callable[[Message], None], *, queue: str = "") -> _Subscription:
        """Call `handler` for each message."""
        if not self._permissions.may_subscribe(subject):
            raise Forbidden(f"the broker refuses {self._identity} to subscribe to {subject}")
        subscription = _Subscription(self, subject, queue, handler)
        self._subscriptions.append(subscription)
        return subscription

    def new_inbox(self) -> str:
        """A fresh subject under our own inbox. Nothing here needs it unguessable, and a simulation repeats."""
        return f"{inbox_prefix(self._identity)}.{self._number}.{next(self._inboxes)}"

    def on_connection(self, handler: Callable[[bool], None]) -> None:
        """Call `handler` with each change."""
        self._listeners.append(handler)

    async def close(self) -> None:
        """Leave the broker."""
        if not self._closed:
            self.set_connected(up=False)
            self._closed = True
            self._broker.leave(self)

    def matching(self, subject: str) -> list[_Subscription]:
        """Our subscriptions that hear `subject`."""
        if not self.connected:
            return []
        return [subscription for subscription in self._subscriptions if covers(subscription.subject, subject)]

    def received(self, message: Message) -> None:
        """Whoever received a message may answer it once."""
        if message.reply and self._permissions.responses:
            self._answerable.add(message.reply)

    def forget(self, subscription: _Subscription) -> None:
        """It ended."""
        if subscription in self._subscriptions:
            self._subscriptions.remove(subscription)

    def set_connected(self, *, up: bool) -> None:
        """The connection is lost, or there again."""
        if up == self._connected or self._closed:
            return
        self._connected = up
        if not up:
            for answer in list(self._answers):
                if not answer.done():
                    answer.set_exception(Unavailable("connection to the broker lost"))
        for listener in list(self._listeners):
            listener(up)

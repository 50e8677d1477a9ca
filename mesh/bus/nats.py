"""The real bus: a `Bus` over one NATS connection. The broker enforces who may use which subject."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mesh.bus.connection import Connection
from mesh.bus.identities import Signer
from mesh.bus.natspy import Msg
from mesh.bus.port import Message, Subscription


class NatsBus:
    """`mesh.bus.port.Bus` on NATS."""

    def __init__(self, servers: Sequence[str], signer: Signer, *, name: str = "") -> None:
        self._connection = Connection(servers, signer, name=name)

    async def start(self, *, wait: float = 10.0) -> None:
        """Begin to connect, and wait up to `wait` seconds for it; `Unavailable` when it takes longer.

        With `wait` 0 it returns at once and connects when the broker comes into reach.
        """
        await self._connection.start(wait=wait)

    @property
    def identity(self) -> str:
        """Our NKEY public key."""
        return self._connection.identity

    @property
    def connected(self) -> bool:
        """Whether the broker is in reach at this moment."""
        return self._connection.connected

    async def publish(self, subject: str, data: bytes, *, reply: str = "") -> None:
        """Send one message."""
        await self._connection.publish(subject, data, reply=reply)

    async def request(self, subject: str, data: bytes, *, timeout: float) -> bytes:
        """Send and wait for one answer."""
        message = await self._connection.request(subject, data, timeout=timeout)
        return message.data

    async def subscribe(self, subject: str, handler: Callable[[Message], None], *, queue: str = "") -> Subscription:
        """Call `handler` for each message, over all reconnections."""

        def deliver(message: Msg) -> None:
            handler(Message(message.subject, message.reply, message.data))

        return await self._connection.subscribe(subject, deliver, queue=queue)

    def new_inbox(self) -> str:
        """A fresh unguessable subject under our own inbox."""
        return self._connection.new_inbox()

    def on_connection(self, handler: Callable[[bool], None]) -> None:
        """Call `handler` with True after each connect and with False after each loss."""
        self._connection.on_connection(handler)

    async def close(self) -> None:
        """Leave the broker."""
        await self._connection.close()

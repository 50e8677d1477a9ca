"""A subscription that outlives connections, and the client of nats-py on which it is made again and again."""

from __future__ import annotations

import logging
from collections.abc import Callable

from mesh.bus.natspy import Client, Msg
from mesh.bus.natspy import Subscription as NatsSubscription
from mesh.bus.tcp import SocketTransport

log = logging.getLogger("covey.bus")

ROUND_TRIP = 30
"""Seconds that an answer to a ping may take."""


class BrokerClient(Client):
    """nats-py's client over our socket, which ends in bounded time."""

    def __init__(self) -> None:
        super().__init__()
        self.socket = SocketTransport()
        self._transport = self.socket

    async def round_trip(self) -> None:
        """Return when the server has answered everything sent so far. (A ping overtakes what is not yet flushed.)"""
        await self._flush_pending(force_flush=True)
        await self.flush(timeout=ROUND_TRIP)


class Subscribed:
    """A subscription that outlives connections. `handler` is called with each message, in order."""

    def __init__(
        self, subject: str, queue: str, handler: Callable[[Msg], None], forget: Callable[[Subscribed], None]
    ) -> None:
        self.subject = subject
        self.queue = queue
        self._forget = forget
        self._handler: Callable[[Msg], None] | None = handler
        self._client: BrokerClient | None = None
        self._current: NatsSubscription | None = None

    def attached(self, client: BrokerClient) -> bool:
        """Whether it has been made on this client."""
        return self._client is client

    async def attach(self, client: BrokerClient) -> None:
        """Make it on a new client. Its queue has no limit: senders to it are bounded by their own protocols."""
        self._client = client
        self._current = await client.subscribe(
            self.subject, queue=self.queue, cb=self._deliver, pending_msgs_limit=0, pending_bytes_limit=0
        )

    async def _deliver(self, message: Msg) -> None:
        if self._handler is None:
            return
        try:
            self._handler(message)
        except Exception:
            log.exception("message handler failed", extra={"subject": message.subject})

    async def unsubscribe(self) -> None:
        """End it; no handler call starts after this returns."""
        self._handler = None
        self._forget(self)
        current, self._current = self._current, None
        if current is not None and self._client is not None and self._client.is_connected:
            await current.unsubscribe()

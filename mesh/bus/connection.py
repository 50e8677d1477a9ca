"""One authenticated NATS connection that never gives up: shared by the bus (`nats.py`) and the store.

nats-py speaks the protocol; what is ours is the life around it. Every way in which its client can end (many errors
close it for good) leads to one path: whoever waits for an answer learns it at once, a new client is dialled, the
subscriptions are made again, and the listeners are told.
"""

from __future__ import annotations

import asyncio
import logging
import random
import re
from collections.abc import Callable, Mapping, Sequence

from mesh.bus.identities import Signer
from mesh.bus.natspy import Msg, errors
from mesh.bus.port import Silence
from mesh.bus.replies import Replies
from mesh.bus.subjects import inbox_prefix
from mesh.bus.subscribed import BrokerClient, Subscribed
from mesh.errors import Forbidden, Unavailable

log = logging.getLogger("covey.bus")

CONNECT_TIMEOUT = 3
"""Seconds for one attempt to connect."""
PING_INTERVAL = 2
"""Seconds between pings; the third unanswered one ends the connection."""
RETRY = (0.1, 0.6)
"""Bounds in seconds of the random wait before another attempt."""
REFUSED_AT_MOST = 256
"""Refused subjects that are remembered. Whoever is asked to answer on subjects that others name may meet many; of one that
was forgotten the broker is asked again."""
_VIOLATION = re.compile(r'permissions violation for (publish|subscription) to "([^"]*)"')


class Connection:
    """A connection to the broker under one identity, dialled again for ever until `close`."""

    def __init__(self, servers: Sequence[str], signer: Signer, *, name: str = "") -> None:
        self.identity = signer.identity
        self._servers = list(servers)
        self._signer = signer
        self._name = name
        self._client: BrokerClient | None = None
        self._runner: asyncio.Task[None] | None = None
        self._up, self._down = asyncio.Event(), asyncio.Event()
        self._failure = "not tried yet"
        self._subscriptions: list[Subscribed] = []
        self._listeners: list[Callable[[bool], None]] = []
        self._refused: dict[tuple[str, str], None] = {}
        self._replies = Replies(self.new_inbox())

    async def start(self, *, wait: float) -> None:
        """Begin to dial, and wait up to `wait` seconds for the first connection.

        Raises `Unavailable` with the last reason when there is none by then; with `wait` 0 it returns at once.
        """
        await self.subscribe(self._replies.subject, self._replies.came)
        self._runner = asyncio.create_task(self._run(), name=f"nats {self._name or self.identity}")
        if wait <= 0:
            return
        try:
            async with asyncio.timeout(wait):
                await self._up.wait()
        except TimeoutError:
            await self.close()
            raise Unavailable(f"no connection to {', '.join(self._servers)}: {self._failure}") from None

    async def close(self) -> None:
        """End the connection; pending requests get `Unavailable`."""
        if self._runner is not None:
            self._runner.cancel()
            await asyncio.wait({self._runner})
            self._runner = None

    @property
    def connected(self) -> bool:
        """Whether the broker is in reach at this moment."""
        return self._client is not None and self._client.is_connected

    async def wait_connected(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds for the broker; whether it is in reach then."""
        try:
            async with asyncio.timeout(timeout):
                await self._up.wait()
                if not self.connected:
                    # nats-py knows of a loss before we do. Who was told so at once, and asked again at once, would take
                    # the turn in which we are to learn of it, and wait for ever.
                    await self._down.wait()
                    await self._up.wait()
        except TimeoutError:
            pass
        return self.connected

    def on_connection(self, handler: Callable[[bool], None]) -> Callable[[], None]:
        """Call `handler` with True after each connect and with False after each loss, until the returned function is
        called."""
        self._listeners.append(handler)
        return lambda: self._listeners.remove(handler)

    def new_inbox(self) -> str:
        """A fresh unguessable subject under our own inbox."""
        return f"{inbox_prefix(self.identity)}.{random.SystemRandom().getrandbits(96):024x}"

    async def publish(
        self, subject: str, data: bytes, *, reply: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        """Hand one message to the connection; raises `Unavailable` without one, `Forbidden` for a refused subject."""
        if self._refused and ("publish", subject.lower()) in self._refused:
            raise Forbidden(f"the broker refuses {self.identity} to publish on {subject}")
        client = self._client
        if client is None or not client.is_connected:
            raise Unavailable(f"no connection to the broker: {self._failure}")
        try:
            await client.publish(subject, data, reply, dict(headers) if headers else None)
        except errors.MaxPayloadError as error:
            raise Unavailable(f"{len(data)} bytes on {subject}: more than the broker takes in one message") from error
        except (errors.Error, OSError) as error:
            raise Unavailable(f"cannot publish on {subject}: {error}") from error

    def expect(self, subject: str) -> tuple[str, asyncio.Future[Msg]]:
        """A reply subject for a message on `subject`, and the answer that will come there.

        The future fails with `NobodyListens`, with `Unavailable` when the connection is lost, and with `Forbidden` when
        the broker refuses `subject`. Cancel it when it is no longer wanted.
        """
        expected = self._replies.expect(subject, patient=False)
        return expected.reply, expected.answer

    async def request(
        self, subject: str, data: bytes, *, timeout: float, headers: Mapping[str, str] | None = None
    ) -> Msg:
        """Send and wait for one answer; errors as in `publish` and `expect`, and `Silence` when `timeout` seconds pass
        without it and without `WORKING`."""
        expected = self._replies.expect(subject, patient=True)
        try:
            async with asyncio.timeout(timeout):
                await self.publish(subject, data, reply=expected.reply, headers=headers)
            return await expected.within(timeout)
        except TimeoutError:
            raise Silence(f"{subject}: the broker took nothing within {timeout:g} s") from None
        finally:
            expected.answer.cancel()

    async def subscribe(self, subject: str, handler: Callable[[Msg], None], *, queue: str = "") -> Subscribed:
        """Subscribe now and after every reconnection. `Forbidden` when the broker refuses (known only while there is
        a connection; later refusals are logged)."""
        subscription = Subscribed(subject, queue, handler, self._forget)
        self._subscriptions.append(subscription)
        client = self._client
        if client is not None and client.is_connected:
            try:
                await subscription.attach(client)
                await self._round_trip(client)
            except (errors.Error, OSError):
                return subscription  # the connection has just ended; it is made on the next one
            except BaseException:
                await subscription.unsubscribe()  # who asked has given up, and has nothing to end it by
                raise
            if ("subscription", subject.lower()) in self._refused:
                await subscription.unsubscribe()
                raise Forbidden(f"the broker refuses {self.identity} to subscribe to {subject}")
        return subscription

    def _forget(self, subscription: Subscribed) -> None:
        """Do not make it again on the next connection."""
        if subscription in self._subscriptions:
            self._subscriptions.remove(subscription)

    async def _round_trip(self, client: BrokerClient) -> None:
        """Return when the broker has answered everything sent so far, or the connection is lost.

        An abandoned ping would trip nats-py's reader when its answer comes after all, so that only the end of the
        connection ends the wait early.
        """
        ping = asyncio.ensure_future(client.round_trip())
        ping.add_done_callback(lambda done: done.cancelled() or done.exception())  # its failure is the connection's
        lost = asyncio.ensure_future(client.socket.lost())
        try:
            await asyncio.wait({ping, lost}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            lost.cancel()
        if not ping.done():
            ping.cancel()  # not awaited: nats-py may swallow it and go on waiting for its pong

    async def _run(self) -> None:
        turn = 0
        try:
            while True:
                client = await self._dial(self._servers[turn % len(self._servers)])
                turn += 1
                if client is not None:
                    try:
                        await self._use(client)
                    except (errors.Error, OSError) as error:
                        self._failure = str(error)
                    except Exception:
                        log.exception("connection failed", extra={"identity": self.identity})
                    finally:
                        self._lose()
                        await self._discard(client)
                await asyncio.sleep(random.uniform(*RETRY))
        finally:
            self._lose()

    async def _dial(self, server: str) -> BrokerClient | None:
        """One attempt; None and a reason in `_failure` when it fails."""
        client = BrokerClient()
        seed = self._signer.seed
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await client.connect(
                    [server],
                    name=self._name or None,
                    nkeys_seed_str=seed,
                    inbox_prefix=inbox_prefix(self.identity),
                    allow_reconnect=False,
                    max_reconnect_attempts=1,
                    reconnect_time_wait=0,
                    connect_timeout=CONNECT_TIMEOUT,
                    ping_interval=PING_INTERVAL,
                    max_outstanding_pings=2,
                    error_cb=self._on_error,
                )
        except Exception as error:  # noqa: BLE001 - nats-py stumbles in many ways over what is no broker
            if not isinstance(error, errors.NoServersError):  # the reason came to _on_error before
                self._failure = str(error) or type(error).__name__
            log.debug("cannot connect", extra={"server": server, "error": self._failure})
            await self._discard(client)
            return None
        return client

    async def _use(self, client: BrokerClient) -> None:
        """Serve on a fresh connection until it is lost."""
        self._refused.clear()
        while missing := [s for s in self._subscriptions if not s.attached(client)]:
            for subscription in missing:
                await subscription.attach(client)
        self._client = client
        self._down.clear()
        self._up.set()
        log.info("connected to the broker", extra={"identity": self.identity})
        self._tell(up=True)
        await client.socket.lost()

    def _lose(self) -> None:
        """The connection is gone: tell everybody who waits."""
        if self._client is None:
            return
        self._client = None
        self._up.clear()
        self._down.set()
        log.warning("connection to the broker lost", extra={"identity": self.identity, "error": self._failure})
        self._replies.fail(lambda subject: Unavailable(f"connection to the broker lost before an answer on {subject}"))
        self._tell(up=False)

    def _tell(self, *, up: bool) -> None:
        for listener in list(self._listeners):
            try:
                listener(up)
            except Exception:
                log.exception("connection listener failed")

    async def _discard(self, client: BrokerClient) -> None:
        try:
            await client.close()
        except Exception as error:  # noqa: BLE001 - see _dial
            log.debug("closing a lost connection", extra={"error": str(error)})
        client.socket.close()
        await client.socket.wait_closed()

    async def _on_error(self, error: Exception) -> None:
        """What nats-py reports beside the calls: connection troubles and permission violations."""
        violation = _VIOLATION.search(str(error))
        if violation is None:
            self._failure = str(error) or type(error).__name__
            log.debug("broker connection", extra={"error": self._failure})
            return
        kind, subject = violation[1], violation[2]
        self._refused[kind, subject] = None
        if len(self._refused) > REFUSED_AT_MOST:
            del self._refused[next(iter(self._refused))]
        log.warning("refused by the broker", extra={"kind": kind, "subject": subject})
        if kind == "publish":
            told = f"the broker refuses {self.identity} to publish on"
            self._replies.fail(lambda wanted: Forbidden(f"{told} {wanted}") if wanted.lower() == subject else None)

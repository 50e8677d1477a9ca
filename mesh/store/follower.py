"""Following a stream from a revision on, without gaps, over reconnections and restarts of the broker.

A push consumer delivers to an inbox of ours. Its sequence numbers tell when a message is missing, its heartbeats when
it has fallen silent; either way, and after each reconnection, a new consumer begins behind the last revision seen.
Because the stream keeps only the last message of each subject, beginning at a sequence *is* the snapshot of all newer
versions (and a version superseded before it could be sent is never seen).
Flow control keeps what is under way far below what would cut a slow reader off.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
from functools import partial

from mesh.bus.connection import Connection
from mesh.bus.natspy import Msg
from mesh.bus.subscribed import Subscribed
from mesh.clock import Clock
from mesh.errors import CoveyError, Unavailable
from mesh.store import api
from mesh.store.bucket import Bucket
from mesh.store.port import Entry, Sink

log = logging.getLogger("covey.store")

HEARTBEAT = 1.0
"""Seconds of quiet after which the consumer says that it is alive."""
SILENCE = 4.0
"""Seconds without anything after which it is taken for dead."""
_RETRY = 0.2
_NANOSECONDS = 1_000_000_000


class Lost(CoveyError):
    """The stream is not the one we followed, or has forgotten deletions that we have not seen."""


class Follower:
    """One running `Store.follow`. `on_tombstone` hears of every deletion that passes."""

    def __init__(
        self,
        connection: Connection,
        bucket: Bucket,
        clock: Clock,
        sink: Sink,
        *,
        after: int,
        on_tombstone: Callable[[str, int], None],
    ) -> None:
        self._connection = connection
        self._api = api.StreamApi(connection)
        self._bucket = bucket
        self._clock = clock
        self._sink = sink
        self._on_tombstone = on_tombstone
        self._last = after
        self._created = ""
        self._epoch = 0
        self._next_delivery = 1
        self._target = 0
        self._caught_up = False
        self._heard = clock.boottime()
        self._subscription: Subscribed | None = None
        self._doorbell = asyncio.Event()
        self._runner: asyncio.Task[None] | None = None
        self._deaf: Callable[[], None] | None = None
        self._broken_sink: Exception | None = None

    @property
    def ended(self) -> bool:
        """Whether it was stopped or has lost its stream."""
        return self._epoch < 0

    def start(self) -> None:
        """Begin to deliver."""
        self._deaf = self._connection.on_connection(self._on_connection)
        self._runner = asyncio.create_task(self._run(), name=f"follow {self._bucket.name}")

    async def stop(self) -> None:
        """End; no call to the sink happens after this returns."""
        self._end()
        if self._runner is not None and self._runner is not asyncio.current_task():
            self._runner.cancel()
            await asyncio.wait({self._runner})
        await self._end_subscription()

    def _end(self) -> None:
        self._epoch = -1
        if self._deaf is not None:
            self._deaf()
            self._deaf = None

    def _on_connection(self, up: bool) -> None:
        if up:
            self._doorbell.set()

    async def _run(self) -> None:
        """Begin; begin again whenever the consumer is broken, or silent."""
        broken = True
        while self._epoch >= 0:
            try:
                if broken:
                    await self._begin()
                    broken = False
            except Unavailable as error:
                log.debug("cannot follow yet", extra={"stream": self._bucket.stream, "error": str(error)})
                await asyncio.sleep(_RETRY)
                continue
            except (Lost, api.StreamNotFound) as error:
                await self._give_up(error)
                return
            except Exception:
                # Nobody awaits this task: were it to end, the sink would silently grow old.
                log.exception("cannot follow", extra={"stream": self._bucket.stream})
                await asyncio.sleep(HEARTBEAT)
                continue
            try:
                async with asyncio.timeout(HEARTBEAT):
                    await self._doorbell.wait()
                self._doorbell.clear()
                broken = True
                if self._broken_sink is not None:
                    await self._give_up(self._broken_sink)
                    return
            except TimeoutError:
                broken = self._clock.boottime() - self._heard > SILENCE

    async def _give_up(self, error: Exception) -> None:
        log.warning("stream lost", extra={"stream": self._bucket.stream, "error": str(error)})
        self._end()
        await self._end_subscription()
        self._sink.lost(error)

    async def _end_subscription(self) -> None:
        if self._subscription is not None:
            ended, self._subscription = self._subscription, None
            await ended.unsubscribe()

    async def _begin(self) -> None:
        """Check that the stream is the same, and make a consumer behind the last revision seen."""
        await self._end_subscription()
        self._doorbell.clear()
        info = await self._api.info(self._bucket.stream)
        self._check(info)
        self._created = info.created
        self._epoch += 1
        self._next_delivery = 1
        self._target = info.last_revision
        self._caught_up = False
        inbox = self._connection.new_inbox()
        self._subscription = await self._connection.subscribe(inbox, partial(self._on_message, self._epoch))
        pending = await self._consume(inbox)
        self._heard = self._clock.boottime()
        if not pending and not self._caught_up:
            self._reached(max(self._last, self._target))

    def _check(self, info: api.StreamInfo) -> None:
        away = self._clock.boottime() - self._heard
        if self._created and info.created != self._created:
            raise Lost(f"{self._bucket.stream} was replaced by another stream")
        if info.last_revision < self._last:
            raise Lost(f"{self._bucket.stream} ends at {info.last_revision}, before revision {self._last}")
        if self._last and away > self._bucket.tombstone_seconds / 2:
            raise Lost(f"out of touch with {self._bucket.stream} for {away:.0f} s: deletions may have been missed")

    async def _consume(self, inbox: str) -> int:
        """Create the consumer; returns how many messages it has to deliver."""
        name = f"follow-{secrets.token_hex(8)}"
        answer = await self._api.call(
            f"CONSUMER.CREATE.{self._bucket.stream}.{name}.{self._bucket.prefix}>",
            {
                "stream_name": self._bucket.stream,
                "config": {
                    "name": name,
                    "filter_subject": f"{self._bucket.prefix}>",
                    "deliver_subject": inbox,
                    "deliver_policy": "by_start_sequence",
                    "opt_start_seq": self._last + 1,
                    "ack_policy": "none",
                    "replay_policy": "instant",
                    "flow_control": True,
                    "idle_heartbeat": int(HEARTBEAT * _NANOSECONDS),
                    "inactive_threshold": int(SILENCE * _NANOSECONDS),
                    "mem_storage": True,
                    "num_replicas": 1,
                },
            },
        )
        return int(answer["num_pending"])

    def _on_message(self, epoch: int, message: Msg) -> None:
        if epoch != self._epoch or self._broken_sink is not None:
            return
        try:
            self._take(message)
        except Exception as error:
            # A sink that failed has missed something: it cannot go on from here.
            log.exception("sink failed", extra={"stream": self._bucket.stream})
            self._broken_sink = error
            self._doorbell.set()

    def _take(self, message: Msg) -> None:
        self._heard = self._clock.boottime()
        headers = message.headers
        if headers is not None and headers.get("Status") == "100":
            self._on_control(message, headers)
            return
        revision, delivery, pending = _metadata(message.reply)
        if delivery != self._next_delivery:
            self._doorbell.set()
            return
        self._next_delivery += 1
        key = message.subject[len(self._bucket.prefix) :]
        deleted = api.is_tombstone(headers)
        if deleted:
            self._on_tombstone(key, revision)
        self._last = revision
        self._sink.entry(Entry(key, None if deleted else message.data, revision))
        if not self._caught_up and (pending == 0 or revision >= self._target):
            self._reached(max(revision, self._target) if pending == 0 else revision)

    def _on_control(self, message: Msg, headers: dict[str, str]) -> None:
        """Flow control wants an answer; a heartbeat tells how far the consumer thinks we are."""
        if message.reply:
            self._answer(message.reply)
            return
        if stalled := headers.get("Nats-Consumer-Stalled"):
            self._answer(stalled)
        elif int(headers.get("Nats-Last-Consumer", "0")) != self._next_delivery - 1:
            self._doorbell.set()
        elif not self._caught_up:
            self._reached(max(self._last, self._target))

    def _answer(self, subject: str) -> None:
        task = asyncio.ensure_future(self._connection.publish(subject, b""))
        task.add_done_callback(lambda done: done.cancelled() or done.exception())

    def _reached(self, revision: int) -> None:
        self._caught_up = True
        self._last = max(self._last, revision)
        self._sink.caught_up(revision)


def _metadata(reply: str) -> tuple[int, int, int]:
    """Stream sequence, consumer sequence and pending count from a delivery's reply subject (ADR-15: both forms)."""
    tokens = reply.split(".")
    first = 5 if len(tokens) == 9 else 7
    return int(tokens[first]), int(tokens[first + 1]), int(tokens[first + 3])

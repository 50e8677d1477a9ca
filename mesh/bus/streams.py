"""Byte streams over a pair of subjects: numbered frames, credit, keepalives.

NATS delivers a message at most once and drops what nobody listens to. So every frame with data carries a number, and a
gap ends the stream. A sender may have no more bytes under way than its peer has granted: the peer grants a window
beyond what its reader has taken, so that a slow reader slows the writer and nobody's memory grows. Each side tells the
other every `KEEPALIVE` seconds how much it has sent and how much it grants; whoever hears nothing for `SILENCE` seconds
gives the peer up.

A stream always lies between a server and an identity X (`mesh/bus/subjects.py`); the server chooses its id, so that one
subscription of its `StreamHub` serves all its streams.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Any

import msgpack

from mesh.bus import subjects
from mesh.bus.port import Bus, Message, Subscription
from mesh.errors import ApiError, Unavailable

log = logging.getLogger("covey.streams")

WINDOW = 1024 * 1024
"""Bytes that a peer may send ahead of our reader."""
CHUNK = 64 * 1024
"""Most bytes in one frame."""
KEEPALIVE = 1.5
SILENCE = 5.0

_DATA = 0
_STATE = 1
_CLOSE = 2
_ABORT = 3
_OVERHEAD = 64
"""What a frame counts for beyond its bytes, so that empty ones are bounded too."""


class FrameStream:
    """`mesh.api.port.Stream` over any bus. Made by `StreamHub.open` and `join`."""

    def __init__(self, bus: Bus, to_subject: str) -> None:
        self._bus = bus
        self._to = to_subject
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[None] = self._loop.create_future()
        """Done when the peer has closed or vanished, or when we have closed."""
        self._sent = 0
        self._spent = 0
        self._granted = 0
        self._received = 0
        self._taken = 0
        self._told = 0
        self._inbox: deque[tuple[int, bytes]] = deque()
        self._changed = asyncio.Event()
        self._turn = asyncio.Lock()
        self._closed = False
        self._peer_closed = False
        self._greeted = False
        self._failure: Unavailable | None = None
        self._received_bytes = 0
        self._heard = self._spoke = self._due = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self._subscription: Subscription | None = None
        self._sending: set[asyncio.Task[None]] = set()
        self._on_end: Callable[[], None] | None = None

    # The reader's and writer's side.

    async def send(self, channel: int, data: bytes) -> None:
        """Send once there is credit for it; raises `Unavailable` when the stream or the peer is gone."""
        async with self._turn:
            view = memoryview(data)
            first = True
            while first or view:
                first = False
                await self._send_frame(channel, bytes(view[:CHUNK]))
                view = view[CHUNK:]

    async def _send_frame(self, channel: int, data: bytes) -> None:
        while not self._failure and not self._closed and not self._peer_closed and self._spent >= self._granted:
            await self._wait()
        if self._failure:
            raise self._failure
        if self._closed or self._peer_closed:
            raise Unavailable("the stream is closed")
        self._sent += 1
        self._spent += len(data) + _OVERHEAD
        try:
            await self._publish([_DATA, self._sent, channel, data])
        except Unavailable as error:
            self._fail(error)  # the peer would miss this frame
            raise

    async def receive(self) -> tuple[int, bytes] | None:
        """The next (channel, bytes), or None once the peer has closed. `Unavailable` when the peer vanished."""
        while not self._inbox:
            if self._peer_closed or self._closed:
                return None
            if self._failure:
                raise self._failure
            await self._wait()
        channel, data = self._inbox.popleft()
        self._taken += len(data) + _OVERHEAD
        if self._taken - self._told >= WINDOW // 4 and not self._peer_closed:
            self._tell()
        return channel, data

    async def close(self) -> None:
        """End the stream in both directions; the peer reads what was sent, and then None. May be called again."""
        if self._closed:
            return
        self._closed = True
        self._changed.set()  # a `send` that waits for credit gives up
        async with self._turn:
            if not self._failure and not self._peer_closed:
                try:
                    await self._publish([_CLOSE, self._sent, 0, b""])
                except Unavailable as error:
                    log.debug("close not sent", extra={"error": str(error)})
        await self._end()

    async def abort(self, error: Unavailable) -> None:
        """End the stream with a failure: the peer's reader gets `Unavailable` with the same message."""
        if not self._closed and not self._failure and not self._peer_closed:
            self._post([_ABORT, self._sent, 0, error.message.encode()])
        self._fail(error)
        self._closed = True
        await self._end()

    # The wire's side.

    def start(self, *, subscription: Subscription | None = None, on_end: Callable[[], None] | None = None) -> None:
        """Begin to speak. `subscription` ends with the stream; `on_end` is called when it ends."""
        self._subscription = subscription
        self._on_end = on_end
        self._tell()
        self._schedule()

    def on_frame(self, message: Message) -> None:
        """A frame from the peer."""
        try:
            kind, number, channel, data = _parse(message.data)
        except ValueError as error:
            self._fail(Unavailable(f"the peer sent something that is no frame: {error}"))
            return
        self._heard = self._loop.time()
        if self._peer_closed or self._closed:
            return
        if not self._greeted:
            self._greeted = True
            self._tell()  # what we said before may have come too early for the peer to hear
        expected = self._received + 1 if kind == _DATA else self._received
        if number != expected and kind != _ABORT:
            self._fail(Unavailable(f"frames were lost: number {number} came instead of {expected}"))
        elif kind == _DATA:
            self._received = number
            self._received_bytes += len(data) + _OVERHEAD
            self._inbox.append((channel, data))
            if self._received_bytes > self._told + WINDOW + CHUNK + _OVERHEAD:
                self._fail(Unavailable("the peer sent more than it was granted"))
        elif kind == _STATE:
            self._granted = max(self._granted, channel)
        elif kind == _CLOSE:
            self._peer_closed = True
            self._finish()
        else:
            self._fail(Unavailable(data.decode(errors="replace")))
        self._changed.set()

    def _tell(self) -> None:
        """Tell the peer what we have sent and how much it may send."""
        self._told = self._taken
        self._post([_STATE, self._sent, self._taken + WINDOW, b""])

    def _tick(self) -> None:
        if self._closed or self._failure or self._peer_closed:
            return
        now = self._loop.time()
        late = now - self._due
        if late > KEEPALIVE:
            self._heard += late  # we slept ourselves: what the peer sent meanwhile has yet to be read
        if now - self._heard > SILENCE:
            self._fail(Unavailable(f"the peer has been silent for {SILENCE:g} s"))
            return
        if now - self._spoke >= KEEPALIVE * 0.9:
            self._tell()
        self._schedule()

    def _schedule(self) -> None:
        self._due = self._loop.time() + KEEPALIVE
        self._timer = self._loop.call_at(self._due, self._tick)

    def _post(self, frame: list[Any]) -> None:
        """Send a frame that nobody waits for."""
        task = self._loop.create_task(self._publish_or_fail(frame))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _publish_or_fail(self, frame: list[Any]) -> None:
        try:
            # A keepalive tells the number sent so far: it must not be older than a frame sent meanwhile.
            await self._publish([frame[0], self._sent, *frame[2:]])
        except ApiError as error:
            self._fail(Unavailable(error.message))

    async def _publish(self, frame: list[Any]) -> None:
        self._spoke = self._loop.time()
        await self._bus.publish(self._to, msgpack.packb(frame))

    async def _wait(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    def _fail(self, error: Unavailable) -> None:
        if self._failure is None and not self._peer_closed:
            self._failure = error
        self._finish()

    def _finish(self) -> None:
        """Nothing more will come or go: wake everybody."""
        self._changed.set()
        if not self.ended.done():
            self.ended.set_result(None)

    async def _end(self) -> None:
        self._finish()
        if self._timer is not None:
            self._timer.cancel()
        if self._on_end is not None:
            self._on_end()
            self._on_end = None
        if self._subscription is not None:
            ended, self._subscription = self._subscription, None
            await ended.unsubscribe()


def _parse(data: bytes) -> tuple[int, int, int, bytes]:
    """Kind, number, channel (or credit) and bytes of a frame; raises ValueError for anything else."""
    try:
        kind, number, channel, content = msgpack.unpackb(data)
    except (TypeError, msgpack.UnpackException) as error:
        raise ValueError(str(error)) from error
    if not all(type(part) is int for part in (kind, number, channel)) or not isinstance(content, bytes):
        raise ValueError("wrong types")
    return kind, number, channel, content


class StreamHub:
    """A server's streams: one subscription, from which each stream gets its frames."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._instance = bus.new_inbox().removeprefix(subjects.inbox_prefix(bus.identity) + ".").replace(".", "-")
        self._count = 0
        self._streams: dict[str, FrameStream] = {}
        self._subscription: Subscription | None = None

    async def start(self) -> None:
        """Begin to hear."""
        self._subscription = await self._bus.subscribe(
            subjects.stream_out("*", f"{self._instance}.*"), self._on_message
        )

    async def close(self) -> None:
        """End all streams."""
        for stream in list(self._streams.values()):
            await stream.abort(Unavailable("the server stops"))
        if self._subscription is not None:
            await self._subscription.unsubscribe()
            self._subscription = None

    def open(self, identity: str) -> tuple[str, FrameStream]:
        """A new stream with `identity`, which hears frames at once and speaks after `start`; and the id to join by."""
        self._count += 1
        stream_id = f"{self._instance}.{self._count}"
        subject = subjects.stream_out(identity, stream_id)
        stream = FrameStream(self._bus, subjects.stream_in(identity, stream_id))
        self._streams[subject] = stream
        return stream_id, stream

    def start_stream(self, identity: str, stream_id: str) -> None:
        """Begin to speak on a stream that `open` made."""
        subject = subjects.stream_out(identity, stream_id)
        self._streams[subject].start(on_end=lambda: self.discard(identity, stream_id))

    def discard(self, identity: str, stream_id: str) -> None:
        """Forget a stream that ended or never began."""
        self._streams.pop(subjects.stream_out(identity, stream_id), None)

    def _on_message(self, message: Message) -> None:
        stream = self._streams.get(message.subject)
        if stream is not None:
            stream.on_frame(message)


async def join(bus: Bus, stream_id: str) -> FrameStream:
    """Our end, as an identity, of a stream that a server has opened."""
    stream = FrameStream(bus, subjects.stream_out(bus.identity, stream_id))
    subscription = await bus.subscribe(subjects.stream_in(bus.identity, stream_id), stream.on_frame)
    stream.start(subscription=subscription)
    return stream

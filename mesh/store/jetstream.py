"""The real store: one JetStream key-value stream, whose sequence is the revision.

The parts: `bucket` (what the stream looks like), `commit` (writes), `follower` (the feed), `api` (JetStream's calls).
"""

from __future__ import annotations

import asyncio

from mesh.bus.connection import Connection
from mesh.clock import Clock, SystemClock
from mesh.errors import Unavailable
from mesh.store.api import StreamApi, StreamNotFound
from mesh.store.bucket import Bucket, ensure
from mesh.store.commit import Committer
from mesh.store.follower import Follower
from mesh.store.port import Following, Sink, Write


class JetStreamStore:
    """`mesh.store.port.Store` on one bucket. The connection belongs to the caller; several stores may share it."""

    def __init__(self, connection: Connection, bucket: Bucket, clock: Clock) -> None:
        self._connection = connection
        self._bucket = bucket
        self._clock = clock
        self._api = StreamApi(connection)
        self._committer = Committer(connection, bucket)
        self._followers: set[Follower] = set()
        self._asking: asyncio.Task[int] | None = None
        self._asking_next: asyncio.Task[int] | None = None

    async def start(self) -> None:
        """Make the stream, or check the one that is there. Raises `Terminal` or `Unavailable`."""
        await ensure(self._api, self._bucket)
        self._committer.start()

    async def write(self, write: Write) -> int:
        """Commit one write; concurrent ones are committed together."""
        return await self._committer.write(write)

    async def follow(self, sink: Sink, *, after: int = 0) -> Following:
        """Deliver everything after a revision; `after`, unless 0, must be younger than the bucket's tombstones live."""
        follower = Follower(
            self._connection, self._bucket, self._clock, sink, after=after, on_tombstone=self._committer.deleted
        )
        self._followers = {other for other in self._followers if not other.ended} | {follower}
        follower.start()
        return follower

    async def last_revision(self) -> int:
        """Ask the stream's leader. A question serves all who ask before it is sent, none who ask later."""
        if self._asking_next is None:
            self._asking_next = asyncio.create_task(self._ask(self._asking))
            self._asking_next.add_done_callback(lambda task: task.cancelled() or task.exception())
        return await asyncio.shield(self._asking_next)

    async def _ask(self, before: asyncio.Task[int] | None) -> int:
        if before is not None:
            await asyncio.wait({before})
        self._asking, self._asking_next = self._asking_next, None
        try:
            return (await self._api.info(self._bucket.stream)).last_revision
        except StreamNotFound as error:
            raise Unavailable(f"the store is gone: {error}") from error

    async def close(self) -> None:
        """Stop writing and following."""
        await self._committer.close()
        for follower in list(self._followers):
            await follower.stop()
        self._followers.clear()


async def open_store(connection: Connection, bucket: Bucket, clock: Clock | None = None) -> JetStreamStore:
    """A started store on `bucket`, over a connection in the broker's STORE account."""
    store = JetStreamStore(connection, bucket, clock or SystemClock())
    await store.start()
    return store

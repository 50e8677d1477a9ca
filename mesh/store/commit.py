"""Group commit: many concurrent compare-and-set writes become few disk syncs, and none is reported wrongly.

While one group is being committed the next one gathers. A small group travels as single messages, side by side; a
large one as an atomic batch, which costs about as much as a dozen synced singles, however large (measured).
A batch is refused as a whole, and the refusal tells only a revision, by which the culprit is looked up; when that fails
the batch is halved. When an acknowledgement is lost the subject is read back: every message carries the id of its
write.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import secrets
from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass

from nats.aio.msg import Msg

from mesh.bus.connection import Connection
from mesh.errors import Unavailable
from mesh.store import api
from mesh.store.bucket import Bucket
from mesh.store.port import RevisionMismatch, Write

log = logging.getLogger("covey.store")

BATCH_FROM = 12
"""Groups of fewer writes travel as single messages."""
BATCH_UP_TO = 500
"""Writes in one batch at most (JetStream allows 1,000; more than this gains nothing)."""
BATCH_BYTES = 8 * 1024 * 1024
WRITE_TIMEOUT = 10.0
"""Seconds after which a caller gets `Unavailable`, wherever its write has come to."""
WAITING_UP_TO = 20_000
"""Writes that may wait; more are refused at once."""
_TOMBSTONES_KEPT = 50_000
_CULPRITS_UP_TO = 5
"""A batch with more conflicts than this is sent again as single messages."""


@dataclass(slots=True, eq=False)
class _Pending:
    """One write on its way.

    `base` is the subject's last sequence it goes out with; `doubtful` once an attempt may or may not have taken effect;
    `behind` when it had to let an earlier write of the same key go first.
    """

    write: Write
    subject: str
    id: str
    base: int
    done: asyncio.Future[int]
    doubtful: bool = False
    behind: bool = False

    @property
    def size(self) -> int:
        return len(self.write.value or b"")


class Committer:
    """Commits the writes of one process to one bucket."""

    def __init__(self, connection: Connection, bucket: Bucket) -> None:
        self._connection = connection
        self._api = api.StreamApi(connection)
        self._bucket = bucket
        self._queue: deque[_Pending] = deque()
        self._wake = asyncio.Event()
        self._runner: asyncio.Task[None] | None = None
        self._ids = (f"{prefix}-{n}" for prefix in (secrets.token_hex(8),) for n in itertools.count(1))
        self._tombstones: OrderedDict[str, int] = OrderedDict()
        self._committed: dict[str, tuple[int, bool]] = {}
        """Of the last group: key -> (revision, deleted)."""

    def start(self) -> None:
        """Begin to commit."""
        self._runner = asyncio.create_task(self._run(), name=f"commit {self._bucket.name}")

    async def close(self) -> None:
        """Stop; writes that wait get `Unavailable`."""
        if self._runner is not None:
            self._runner.cancel()
            await asyncio.wait({self._runner})
            self._runner = None
        while self._queue:
            _fail(self._queue.popleft(), Unavailable("the store is closed"))

    def deleted(self, key: str, revision: int) -> None:
        """Remember where a key's tombstone is, for whoever creates it again."""
        self._tombstones[key] = revision
        self._tombstones.move_to_end(key)
        if len(self._tombstones) > _TOMBSTONES_KEPT:
            self._tombstones.popitem(last=False)

    async def write(self, write: Write) -> int:
        """Commit one write; see `Store.write`."""
        if self._runner is None:
            raise Unavailable("the store is closed")
        if len(self._queue) >= WAITING_UP_TO:
            raise Unavailable(f"{WAITING_UP_TO} writes are waiting for the store already")
        base = write.expected or self._tombstones.get(write.key, 0)
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._queue.append(_Pending(write, self._bucket.prefix + write.key, next(self._ids), base, done))
        self._wake.set()
        try:
            async with asyncio.timeout(WRITE_TIMEOUT):
                return await done
        except TimeoutError:
            raise Unavailable(f"{write.key}: the store did not answer within {WRITE_TIMEOUT:g} s") from None

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._queue:
                await self._connection.wait_connected(1.0)
                group = self._take()
                self._committed = {}
                if not group:
                    continue
                if not self._connection.connected:
                    self._again(group)
                    continue
                try:
                    await self._commit(group)
                except Exception:
                    log.exception("commit failed")
                finally:
                    # Only a commit that was cancelled or failed leaves any of them open.
                    for pending in group:
                        if not pending.done.done() and pending not in self._queue:
                            _fail(pending, Unavailable(f"{pending.write.key}: the commit was interrupted"))

    def _take(self) -> list[_Pending]:
        """The next group: in order of arrival, each key once, without those that nobody waits for any more."""
        group: dict[str, _Pending] = {}
        later: list[_Pending] = []
        size = 0
        while self._queue and len(group) < BATCH_UP_TO and size < BATCH_BYTES:
            pending = self._queue.popleft()
            key = pending.write.key
            if pending.done.done():
                continue
            if key in group:
                pending.behind = True
                later.append(pending)
            elif not self._rejected(pending):
                group[key] = pending
                size += pending.size
        self._queue.extendleft(reversed(later))
        return list(group.values())

    def _rejected(self, pending: _Pending) -> bool:
        """Fail a write that waited behind another of the same key and now cannot succeed: it would spoil a batch."""
        revision, deleted = self._committed.get(pending.write.key, (0, False))
        if not pending.behind or not revision or pending.doubtful or pending.write.expected == revision:
            return False
        if deleted and pending.write.expected == 0:
            pending.base = revision
            return False
        _fail(pending, RevisionMismatch(pending.write.key, pending.write.expected))
        return True

    def _again(self, group: Sequence[_Pending]) -> None:
        self._queue.extendleft(reversed(group))
        self._wake.set()

    async def _commit(self, group: Sequence[_Pending]) -> None:
        if len(group) >= BATCH_FROM and self._bucket.durable:
            await self._commit_batch(group)
        else:
            await self._commit_singles(group)

    async def _commit_singles(self, group: Sequence[_Pending]) -> None:
        """Send all, then wait for all."""
        answers: list[asyncio.Future[Msg]] = []
        try:
            for pending in group:
                reply, answer = self._connection.expect(pending.subject)
                answers.append(answer)
                await self._publish(pending, reply, {})
            await asyncio.wait(answers, timeout=api.TIMEOUT)
        except Unavailable as error:
            log.debug("commit interrupted", extra={"error": str(error)})
        for pending, answer in itertools.zip_longest(group, answers):
            await self._settle_single(pending, answer)

    async def _settle_single(self, pending: _Pending, answer: asyncio.Future[Msg] | None) -> None:
        if answer is None:
            self._again([pending])
            return
        try:
            if not answer.cancel() and not answer.cancelled():
                self._succeed(pending, api.check(answer.result().data)["seq"])
                return
            pending.doubtful = True
        except api.Refused:
            pass
        except api.Rejected as error:
            _fail(pending, error)
            return
        except Unavailable:
            pending.doubtful = True
        await self._read_back(pending)

    async def _commit_batch(self, group: Sequence[_Pending]) -> None:
        """One atomic batch. While it is refused, take the write that is at fault out of it."""
        left = list(group)
        for _ in range(_CULPRITS_UP_TO):
            try:
                await self._send_batch(left)
                return
            except api.Refused as refused:
                culprit = await self._culprit(left, refused)
            if culprit is None:
                half = len(left) // 2
                await self._commit(left[:half])
                await self._commit(left[half:])
                return
            left.remove(culprit)
            await self._read_back(culprit)
        await self._commit_singles(left)

    async def _culprit(self, group: Sequence[_Pending], refused: api.Refused) -> _Pending | None:
        """Which write was refused. JetStream tells only the revision that its subject has."""
        if not refused.revision:
            return None
        try:
            subject = await self._api.subject_at(self._bucket.stream, refused.revision)
        except Unavailable as error:
            log.debug("cannot tell who was refused", extra={"error": str(error)})
            return None
        return next((pending for pending in group if pending.subject == subject), None)

    async def _send_batch(self, group: Sequence[_Pending]) -> None:
        """All or nothing, with contiguous revisions. Raises `Refused`."""
        batch = next(self._ids)
        start_reply, started = self._connection.expect("batch")
        commit_reply, committed = self._connection.expect("batch")
        last = len(group)
        try:
            for number, pending in enumerate(group, 1):
                headers = {api.BATCH: batch, api.BATCH_SEQUENCE: str(number)}
                if number == last:
                    headers[api.BATCH_COMMIT] = "1"
                await self._publish(pending, {1: start_reply, last: commit_reply}.get(number, ""), headers)
            await asyncio.wait({committed}, timeout=api.TIMEOUT)
            if not committed.done():
                raise Unavailable("no acknowledgement of a batch in time")
            answer = api.check(committed.result().data)
        except api.Rejected as error:
            for pending in group:
                _fail(pending, error)
        except Unavailable as error:
            await self._doubt(group, error)
        else:
            for revision, pending in enumerate(group, answer["seq"] - last + 1):
                self._succeed(pending, revision)
        finally:
            started.cancel()
            committed.cancel()

    async def _doubt(self, group: Sequence[_Pending], error: Unavailable) -> None:
        """A batch whose fate is unknown."""
        log.warning("batch not acknowledged", extra={"count": len(group), "error": str(error)})
        for pending in group:
            pending.doubtful = True
        for pending in group:
            await self._read_back(pending)

    async def _publish(self, pending: _Pending, reply: str, headers: dict[str, str]) -> None:
        headers[api.EXPECTED] = str(pending.base)
        headers[api.WRITE_ID] = pending.id
        if pending.write.value is None:
            headers[api.OPERATION] = "DEL"
            headers[api.TTL] = f"{self._bucket.tombstone_seconds}s"
        elif self._bucket.value_seconds:
            headers[api.TTL] = f"{self._bucket.value_seconds}s"
        await self._connection.publish(pending.subject, pending.write.value or b"", reply=reply, headers=headers)

    async def _read_back(self, pending: _Pending) -> None:
        """Find out what became of a write that was refused, or not acknowledged; send it again where that is right.

        Sending again is safe: whichever of the two copies comes second is refused, and its id is recognized.
        """
        while not pending.done.done():
            if not await self._connection.wait_connected(1.0):
                continue  # until the caller's time is up
            try:
                last = await self._api.last(self._bucket.stream, pending.subject)
            except (Unavailable, api.StreamNotFound) as error:
                log.debug("cannot read back", extra={"key": pending.write.key, "error": str(error)})
                await asyncio.sleep(0.1)
                continue
            self._judge(pending, last)
            return

    def _judge(self, pending: _Pending, last: api.Stored | None) -> None:
        """What the subject's last message says about the write."""
        write = pending.write
        if last is not None and last.write_id == pending.id:
            self._succeed(pending, last.revision)
            return
        revision = last.revision if last else 0
        free = last is None or last.deleted
        if pending.doubtful and revision == pending.base:
            self._again([pending])
        elif pending.doubtful:
            _fail(pending, Unavailable(f"{write.key}: written by others before our own write was acknowledged"))
        elif write.expected == 0 and free:
            pending.base = revision  # there is a tombstone that we did not know, or the one we knew has expired
            self._again([pending])
        else:
            _fail(pending, RevisionMismatch(write.key, write.expected))

    def _succeed(self, pending: _Pending, revision: int) -> None:
        key = pending.write.key
        deleted = pending.write.value is None
        self._committed[key] = (revision, deleted)
        if deleted:
            self.deleted(key, revision)
        else:
            self._tombstones.pop(key, None)
        if not pending.done.done():
            pending.done.set_result(revision)


def _fail(pending: _Pending, error: Exception) -> None:
    if not pending.done.done():
        pending.done.set_exception(error)

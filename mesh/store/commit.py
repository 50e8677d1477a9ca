"""Group commit: many concurrent compare-and-set writes become few disk syncs, and none is reported wrongly.

While one group is being committed the next one gathers (`group.py`). A small group travels as single messages, side by
side; a large one as an atomic batch, which costs about as much as a dozen synced singles, however large. A batch is
refused as a whole, and the refusal tells only a revision, by which the culprit is looked up; when that fails the batch
is halved. When an acknowledgement is lost the subject is read back: every message carries the id of its write.
Why so: docs/decisions/0010-group-commit.md.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import secrets
from collections.abc import Sequence

from prometheus_client import Histogram

from mesh.bus.connection import Connection
from mesh.bus.natspy import Msg
from mesh.errors import Unavailable
from mesh.store import api
from mesh.store.bucket import Bucket
from mesh.store.group import Pending, Queue, Stored, Verdict, judge
from mesh.store.port import RevisionMismatch, Write

log = logging.getLogger("covey.store")

_SECONDS = Histogram("covey_store_commit_seconds", "Time to commit one group of writes.", ["bucket"])
_WRITES = Histogram(
    "covey_store_commit_writes", "Writes in one group.", ["bucket"], buckets=(1, 2, 5, 12, 25, 50, 100, 250, 500)
)

BATCH_FROM = 12
"""Groups of fewer writes travel as single messages."""
WRITE_TIMEOUT = 10.0
"""Seconds after which a caller gets `Unavailable`, wherever its write has come to."""
WAITING_UP_TO = 20_000
"""Writes that may wait; more are refused at once."""
_CULPRITS_UP_TO = 5
"""A batch with more conflicts than this is sent again as single messages."""


class Committer:
    """Commits the writes of one process to one bucket."""

    def __init__(self, connection: Connection, bucket: Bucket) -> None:
        self._connection = connection
        self._api = api.StreamApi(connection)
        self._bucket = bucket
        self._queue = Queue()
        self._callers: dict[Pending, asyncio.Future[int]] = {}
        self._wake = asyncio.Event()
        self._runner: asyncio.Task[None] | None = None
        self._again: list[Pending] = []
        """Writes of the group under way that have to be sent again."""
        self._ids = (f"{prefix}-{n}" for prefix in (secrets.token_hex(8),) for n in itertools.count(1))

    def start(self) -> None:
        """Begin to commit."""
        self._runner = asyncio.create_task(self._run(), name=f"commit {self._bucket.name}")

    async def close(self) -> None:
        """Stop; writes that wait get `Unavailable`."""
        if self._runner is not None:
            self._runner.cancel()
            await asyncio.wait({self._runner})
            self._runner = None
        for pending in self._queue.drain():
            self._fail(pending, Unavailable("the store is closed"))

    def deleted(self, key: str, revision: int) -> None:
        """A deletion was seen: its tombstone is at `revision`."""
        self._queue.deleted(key, revision)

    async def write(self, write: Write) -> int:
        """Commit one write; see `Store.write`."""
        if self._runner is None:
            raise Unavailable("the store is closed")
        if len(self._queue) >= WAITING_UP_TO:
            raise Unavailable(f"{WAITING_UP_TO} writes are waiting for the store already")
        pending = self._queue.add(write, next(self._ids))
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._callers[pending] = done
        self._wake.set()
        late = Unavailable(f"{write.key}: the store did not answer within {WRITE_TIMEOUT:g} s")
        # A plain timer: asyncio.timeout costs several times as much, and this is on the path of every write.
        timer = asyncio.get_running_loop().call_later(WRITE_TIMEOUT, self._fail, pending, late)
        try:
            return await done
        finally:
            timer.cancel()
            pending.settled = True
            self._callers.pop(pending, None)

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._queue:
                if await self._connection.wait_connected(1.0):
                    await self._commit_next()

    async def _commit_next(self) -> None:
        group, failing = self._queue.take()
        for pending in failing:
            self._fail(pending, RevisionMismatch(pending.write.key, pending.write.expected))
        if not group:
            return
        self._again = []
        _WRITES.labels(self._bucket.name).observe(len(group))
        try:
            with _SECONDS.labels(self._bucket.name).time():
                await self._commit(group)
        except Exception:
            log.exception("commit failed")
        finally:
            waiting = set(self._again)
            for pending in group:  # only a commit that was cancelled or failed leaves any of them open
                if not pending.settled and pending not in waiting:
                    self._fail(pending, Unavailable(f"{pending.write.key}: the commit was interrupted"))
            self._queue.put_back(self._again)

    async def _commit(self, group: Sequence[Pending]) -> None:
        if len(group) >= BATCH_FROM and self._bucket.durable:
            await self._commit_batch(group)
        elif group:
            await self._commit_singles(group)

    async def _commit_singles(self, group: Sequence[Pending]) -> None:
        """Send all, then wait for all."""
        answers: list[asyncio.Future[Msg]] = []
        try:
            for pending in group:
                reply, answer = self._connection.expect(self._subject(pending))
                answers.append(answer)
                await self._publish(pending, reply, {})
            await asyncio.wait(answers, timeout=api.TIMEOUT)
        except Unavailable as error:
            log.debug("commit interrupted", extra={"error": str(error)})
        for pending, answer in itertools.zip_longest(group, answers):
            if answer is None:
                self._again.append(pending)  # not sent
            else:
                await self._settle(pending, answer)

    async def _settle(self, pending: Pending, answer: asyncio.Future[Msg]) -> None:
        try:
            if not answer.cancel() and not answer.cancelled():
                self._succeed(pending, api.check(answer.result().data)["seq"])
                return
            pending.doubtful = True
        except api.Refused:
            pass
        except api.Rejected as error:
            self._fail(pending, error)
            return
        except Unavailable:
            pending.doubtful = True
        await self._read_back(pending)

    async def _commit_batch(self, group: Sequence[Pending]) -> None:
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

    async def _culprit(self, group: Sequence[Pending], refused: api.Refused) -> Pending | None:
        """Which write was refused. JetStream tells only the revision that its subject has."""
        if not refused.revision:
            return None
        try:
            subject = await self._api.subject_at(self._bucket.stream, refused.revision)
        except Unavailable as error:
            log.debug("cannot tell who was refused", extra={"error": str(error)})
            return None
        return next((pending for pending in group if self._subject(pending) == subject), None)

    async def _send_batch(self, group: Sequence[Pending]) -> None:
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
                self._fail(pending, error)
        except Unavailable as error:
            log.warning("batch not acknowledged", extra={"count": last, "error": str(error)})
            for pending in group:
                pending.doubtful = True
            for pending in group:
                await self._read_back(pending)
        else:
            for revision, pending in enumerate(group, answer["seq"] - last + 1):
                self._succeed(pending, revision)
        finally:
            started.cancel()
            committed.cancel()

    async def _publish(self, pending: Pending, reply: str, headers: dict[str, str]) -> None:
        headers[api.EXPECTED] = str(pending.base)
        headers[api.WRITE_ID] = pending.id
        if pending.write.value is None:
            headers[api.OPERATION] = "DEL"
            headers[api.TTL] = f"{self._bucket.tombstone_seconds}s"
        elif self._bucket.value_seconds:
            headers[api.TTL] = f"{self._bucket.value_seconds}s"
        await self._connection.publish(self._subject(pending), pending.write.value or b"", reply=reply, headers=headers)

    def _subject(self, pending: Pending) -> str:
        return self._bucket.prefix + pending.write.key

    async def _read_back(self, pending: Pending) -> None:
        """Find out what became of a write that was refused, or not acknowledged, and act on it."""
        while not pending.settled:
            if not await self._connection.wait_connected(1.0):
                continue  # until the caller's time is up
            try:
                last = await self._api.last(self._bucket.stream, self._subject(pending))
            except (Unavailable, api.StreamNotFound) as error:
                log.debug("cannot read back", extra={"key": pending.write.key, "error": str(error)})
                await asyncio.sleep(0.1)
                continue
            self._conclude(pending, last)
            return

    def _conclude(self, pending: Pending, last: Stored | None) -> None:
        revision = last.revision if last else 0
        match judge(pending, last):
            case Verdict.DONE:
                self._succeed(pending, revision)
            case Verdict.AGAIN:
                pending.base = revision
                self._again.append(pending)
            case Verdict.MISMATCH:
                self._fail(pending, RevisionMismatch(pending.write.key, pending.write.expected))
            case Verdict.UNKNOWN:
                message = f"{pending.write.key}: written by others before our own write was acknowledged"
                self._fail(pending, Unavailable(message))

    def _succeed(self, pending: Pending, revision: int) -> None:
        self._queue.committed(pending, revision)
        pending.settled = True
        if (done := self._callers.get(pending)) is not None and not done.done():
            done.set_result(revision)

    def _fail(self, pending: Pending, error: Exception) -> None:
        pending.settled = True
        if (done := self._callers.get(pending)) is not None and not done.done():
            done.set_exception(error)

"""Which waiting writes go together into the next commit, and what became of one whose answer is missing. Pure.

`mesh/store/commit.py` sends what is decided here.
"""

from __future__ import annotations

import enum
from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass

from mesh.store.port import Write

GROUP_UP_TO = 500
"""Writes in one group at most (JetStream takes 1,000 in a batch; more than this gains nothing)."""
GROUP_BYTES = 8 * 1024 * 1024
TOMBSTONES_KEPT = 50_000


@dataclass(slots=True, eq=False)
class Pending:
    """One write on its way.

    `base` is the subject's last sequence it goes out with; `doubtful` once an attempt may or may not have taken effect;
    `behind` when it had to let an earlier write of the same key go first; `settled` once its caller has an answer, or
    waits no longer.
    """

    write: Write
    id: str
    base: int
    doubtful: bool = False
    behind: bool = False
    settled: bool = False


@dataclass(frozen=True, slots=True)
class Stored:
    """The last message of a subject."""

    revision: int
    deleted: bool
    write_id: str


class Verdict(enum.Enum):
    """What the subject's last message says about a write that was refused or not acknowledged."""

    DONE = "it is there"
    AGAIN = "it did not take effect, and may be sent with the subject's revision as its base"
    MISMATCH = "it did not take effect, and cannot"
    UNKNOWN = "others have written since, perhaps after it"


def judge(pending: Pending, last: Stored | None) -> Verdict:
    """The verdict on `pending`, given the subject's last message as its leader has it now.

    Sending a doubtful write again is safe: whichever of the two copies comes second is refused, and its id recognized.
    """
    if last is not None and last.write_id == pending.id:
        return Verdict.DONE
    if pending.doubtful:
        return Verdict.AGAIN if (last.revision if last else 0) == pending.base else Verdict.UNKNOWN
    if pending.write.expected == 0 and (last is None or last.deleted):
        return Verdict.AGAIN  # there is a tombstone that we did not know, or the one we knew has expired
    return Verdict.MISMATCH


class Queue:
    """Writes in order of arrival, and what is known of the tombstones that creations have to name."""

    def __init__(self) -> None:
        self._waiting: deque[Pending] = deque()
        self._tombstones: OrderedDict[str, int] = OrderedDict()
        self._committed: dict[str, tuple[int, bool]] = {}
        """Of the group under way or the last one: key -> (revision, deleted)."""

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, write: Write, write_id: str) -> Pending:
        """A new write, behind all others."""
        pending = Pending(write, write_id, write.expected or self._tombstones.get(write.key, 0))
        self._waiting.append(pending)
        return pending

    def put_back(self, group: Sequence[Pending]) -> None:
        """Writes to be sent again, before all others."""
        self._waiting.extendleft(reversed(group))

    def take(self) -> tuple[list[Pending], list[Pending]]:
        """The next group, each key once, without what is settled; and the writes that certainly fail.

        Those waited behind another write of their key, which has gone another way: they would spoil a batch.
        """
        group: dict[str, Pending] = {}
        failing: list[Pending] = []
        later: list[Pending] = []
        size = 0
        while self._waiting and len(group) < GROUP_UP_TO and size < GROUP_BYTES:
            pending = self._waiting.popleft()
            if pending.settled:
                continue
            if pending.write.key in group:
                pending.behind = True
                later.append(pending)
            elif self._fails(pending):
                failing.append(pending)
            else:
                group[pending.write.key] = pending
                size += len(pending.write.value or b"")
        self._waiting.extendleft(reversed(later))
        self._committed = {}
        return list(group.values()), failing

    def _fails(self, pending: Pending) -> bool:
        revision, deleted = self._committed.get(pending.write.key, (0, False))
        if not pending.behind or not revision or pending.doubtful or pending.write.expected == revision:
            return False
        if deleted and pending.write.expected == 0:
            pending.base = revision
            return False
        return True

    def committed(self, pending: Pending, revision: int) -> None:
        """A write has taken effect."""
        key = pending.write.key
        deleted = pending.write.value is None
        self._committed[key] = (revision, deleted)
        if deleted:
            self.deleted(key, revision)
        else:
            self._tombstones.pop(key, None)

    def deleted(self, key: str, revision: int) -> None:
        """Remember where a key's tombstone is, for whoever creates it again."""
        self._tombstones[key] = revision
        self._tombstones.move_to_end(key)
        if len(self._tombstones) > TOMBSTONES_KEPT:
            self._tombstones.popitem(last=False)

    def drain(self) -> list[Pending]:
        """Everything that waits, which then no longer does."""
        waiting = list(self._waiting)
        self._waiting.clear()
        return waiting

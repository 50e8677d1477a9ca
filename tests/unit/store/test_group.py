"""Which writes go together, and what is concluded about a write whose answer is missing."""

from __future__ import annotations

import pytest

from mesh.store import group
from mesh.store.group import Pending, Queue, Stored, Verdict, judge
from mesh.store.port import Write

OURS, THEIRS = "ours", "theirs"


@pytest.mark.parametrize(
    ("expected", "base", "doubtful", "last", "verdict"),
    [
        # Refused.
        (5, 5, False, Stored(7, deleted=False, write_id=THEIRS), Verdict.MISMATCH),
        (5, 5, False, Stored(7, deleted=True, write_id=THEIRS), Verdict.MISMATCH),
        (5, 5, False, None, Verdict.MISMATCH),
        (0, 0, False, Stored(7, deleted=False, write_id=THEIRS), Verdict.MISMATCH),
        (0, 0, False, Stored(7, deleted=True, write_id=THEIRS), Verdict.AGAIN),
        (0, 6, False, Stored(7, deleted=True, write_id=THEIRS), Verdict.AGAIN),
        (0, 6, False, None, Verdict.AGAIN),
        # Sent twice, and the first copy was there.
        (5, 5, False, Stored(7, deleted=False, write_id=OURS), Verdict.DONE),
        # Not acknowledged.
        (5, 5, True, Stored(7, deleted=False, write_id=OURS), Verdict.DONE),
        (5, 5, True, Stored(7, deleted=True, write_id=OURS), Verdict.DONE),
        (5, 5, True, Stored(5, deleted=False, write_id=THEIRS), Verdict.AGAIN),
        (5, 5, True, Stored(7, deleted=False, write_id=THEIRS), Verdict.UNKNOWN),
        (5, 5, True, None, Verdict.UNKNOWN),
        (0, 0, True, None, Verdict.AGAIN),
        (0, 6, True, Stored(6, deleted=True, write_id=THEIRS), Verdict.AGAIN),
        (0, 6, True, Stored(7, deleted=True, write_id=THEIRS), Verdict.UNKNOWN),
        (0, 0, True, Stored(7, deleted=False, write_id=THEIRS), Verdict.UNKNOWN),
    ],
)
def test_judge(expected: int, base: int, last: Stored | None, verdict: Verdict, *, doubtful: bool) -> None:
    pending = Pending(Write("a", b"", expected), OURS, base, doubtful=doubtful)
    assert judge(pending, last) is verdict


def _ids(pendings: list[Pending]) -> list[str]:
    return [pending.id for pending in pendings]


def test_a_group_holds_each_key_once_and_keeps_the_order() -> None:
    queue = Queue()
    for write_id, key in enumerate("abacab"):
        queue.add(Write(key, b"", 0), str(write_id))
    assert _ids(queue.take()[0]) == ["0", "1", "3"]
    queue.add(Write("d", b"", 0), "6")
    assert _ids(queue.take()[0]) == ["2", "5", "6"]
    assert _ids(queue.take()[0]) == ["4"]
    assert len(queue) == 0


def test_what_waited_behind_a_success_fails_unless_it_expected_it() -> None:
    queue = Queue()
    first = queue.add(Write("a", b"", 0), "first")
    queue.add(Write("a", b"", 0), "loser")
    queue.take()
    queue.committed(first, 10)
    queue.add(Write("a", b"", 10), "follower")
    taken, failing = queue.take()
    assert (_ids(taken), _ids(failing)) == (["follower"], ["loser"])


def test_a_late_arrival_is_not_judged_by_what_we_wrote_before() -> None:
    """Another process may have deleted the key since."""
    queue = Queue()
    queue.committed(queue.add(Write("a", b"", 0), "ours"), 10)
    queue.take()
    queue.add(Write("a", b"", 0), "again")
    assert _ids(queue.take()[0]) == ["again"]


def test_creation_names_the_tombstone() -> None:
    queue = Queue()
    gone = queue.add(Write("a", None, 4), "gone")
    queue.add(Write("a", b"", 0), "behind")
    queue.take()
    queue.committed(gone, 10)
    assert [pending.base for pending in queue.take()[0]] == [10]
    assert queue.add(Write("a", b"", 0), "later").base == 10
    queue.deleted("b", 12)
    assert queue.add(Write("b", b"", 0), "seen").base == 12


def test_the_settled_are_left_out_and_the_returned_come_first() -> None:
    queue = Queue()
    one, two = queue.add(Write("a", b"", 0), "one"), queue.add(Write("b", b"", 0), "two")
    one.settled = True
    queue.add(Write("c", b"", 0), "three")
    taken, _ = queue.take()
    assert _ids(taken) == ["two", "three"]
    queue.add(Write("d", b"", 0), "four")
    queue.put_back([two])
    assert _ids(queue.take()[0]) == ["two", "four"]


def test_groups_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    queue = Queue()
    for number in range(group.GROUP_UP_TO + 1):
        queue.add(Write(str(number), b"", 0), str(number))
    assert len(queue.take()[0]) == group.GROUP_UP_TO
    assert len(queue.take()[0]) == 1
    monkeypatch.setattr(group, "GROUP_BYTES", 10)
    for number in range(3):
        queue.add(Write(str(number), b"123456", 0), str(number))
    assert len(queue.take()[0]) == 2


def test_remembered_tombstones_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group, "TOMBSTONES_KEPT", 2)
    queue = Queue()
    for revision, key in enumerate("abc", 1):
        queue.deleted(key, revision)
    assert [queue.add(Write(key, b"", 0), key).base for key in "abc"] == [0, 2, 3]

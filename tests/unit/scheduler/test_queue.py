from __future__ import annotations

from controlplane.scheduler.queue import SchedulingQueue
from tests.unit.scheduler.cluster import pod, pod_request, request


def names(queue: SchedulingQueue, now: float) -> list[str]:
    return [p.key.name for p in queue.take(now, 100)]


def test_priority_before_age() -> None:
    queue = SchedulingQueue()
    for name, priority, created in (("young", 0, "2"), ("old", 0, "1"), ("vip", 9, "3")):
        obj = pod(name, priority=priority)
        obj["metadata"]["creationTimestamp"] = created
        queue.put(pod_request(obj))
    assert names(queue, 0.0) == ["vip", "old", "young"]


def test_an_unplaced_pod_waits_for_a_change_and_its_back_off() -> None:
    queue = SchedulingQueue()
    waiting = request("p")
    queue.put(waiting)
    assert names(queue, 0.0) == ["p"]
    queue.rest(waiting, 0.0)
    assert queue.next_at(0.0) == 300.0
    queue.wake()
    assert queue.next_at(0.0) == 1.0
    assert names(queue, 0.5) == []
    assert names(queue, 1.0) == ["p"]


def test_back_off_doubles_to_ten_seconds() -> None:
    queue, now, waits = SchedulingQueue(), 0.0, []
    waiting = request("p")
    for _ in range(6):
        queue.rest(waiting, now, woken=True)
        at = queue.next_at(now)
        assert at is not None
        waits.append(at - now)
        now = at
        assert names(queue, now) == ["p"]
    assert waits == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]


def test_a_removed_pod_is_not_taken() -> None:
    queue = SchedulingQueue()
    queue.put(request("p"))
    queue.remove("uid-p")
    assert names(queue, 0.0) == []
    assert queue.next_at(0.0) is None


def test_a_pod_put_twice_is_taken_once() -> None:
    queue = SchedulingQueue()
    queue.put(request("p"))
    queue.put(request("p"))
    assert names(queue, 0.0) == ["p"]
    assert names(queue, 0.0) == []


def test_nobody_waits_longer_than_five_minutes() -> None:
    queue = SchedulingQueue()
    queue.rest(request("p"), 0.0)
    assert names(queue, 299.0) == []
    assert names(queue, 300.0) == ["p"]

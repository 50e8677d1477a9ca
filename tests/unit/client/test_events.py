"""Events: their shape, their count, and what becomes of floods."""

from __future__ import annotations

import asyncio

import pytest

from mesh.api.port import Request
from mesh.client.client import Client
from mesh.client.events import MOST_WAITING, EventBroadcaster
from mesh.clock import ManualClock
from mesh.errors import ApiError, Forbidden
from mesh.objects.kinds import EVENTS
from mesh.objects.types import Object
from tests.support.api_model import ApiModel, ModelTransport

pytestmark = pytest.mark.looptime


def pod(name: str = "web") -> Object:
    meta = {"namespace": "ns", "name": name, "uid": f"uid-{name}", "resourceVersion": "7"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta}


class Desk:
    """A broadcaster at work on the API model."""

    def __init__(self) -> None:
        self.model = ApiModel()
        self.transport = ModelTransport(self.model)
        self.clock = ManualClock()
        self.broadcaster = EventBroadcaster(Client(self.transport), self.clock)
        self.recorder = self.broadcaster.recorder("kubelet", host="n1")

    async def written(self) -> list[Object]:
        task = asyncio.create_task(self.broadcaster.run())
        await asyncio.sleep(2)
        assert not task.done()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return self.model.all(EVENTS)


async def test_an_event_in_full() -> None:
    desk = Desk()
    desk.recorder.record(pod(), "Normal", "Pulled", "Image is here", field_path="spec.containers{web}")
    [event] = await desk.written()
    meta = event.pop("metadata")
    assert meta["namespace"] == "ns"
    assert meta["name"].startswith("web.")
    assert int(meta["name"].split(".")[1], 16) > 0
    assert event == {
        "apiVersion": "v1",
        "kind": "Event",
        "involvedObject": {
            "kind": "Pod",
            "namespace": "ns",
            "name": "web",
            "uid": "uid-web",
            "apiVersion": "v1",
            "resourceVersion": "7",
            "fieldPath": "spec.containers{web}",
        },
        "type": "Normal",
        "reason": "Pulled",
        "message": "Image is here",
        "source": {"component": "kubelet", "host": "n1"},
        "reportingComponent": "kubelet",
        "reportingInstance": "n1",
        "firstTimestamp": "2026-01-01T00:00:00Z",
        "lastTimestamp": "2026-01-01T00:00:00Z",
        "count": 1,
        "eventTime": None,
    }


async def test_equal_events_are_counted() -> None:
    desk = Desk()
    for second in range(5):
        desk.recorder.record(
            {**pod(), "metadata": {**pod()["metadata"], "resourceVersion": str(second)}}, "Warning", "BackOff", "wait"
        )
        desk.clock.advance(10)
    [event] = await desk.written()
    assert (event["count"], event["firstTimestamp"], event["lastTimestamp"]) == (
        5,
        "2026-01-01T00:00:00Z",
        "2026-01-01T00:00:40Z",
    )


async def test_many_that_differ_only_in_their_message_are_combined() -> None:
    desk = Desk()
    for n in range(20):
        desk.recorder.record(pod(), "Normal", "SuccessfulCreate", f"Created pod: web-{n}")
    found = await desk.written()
    assert len(found) == 10
    assert found[-1]["message"] == "(combined from similar events): Created pod: web-19"
    assert found[-1]["count"] == 11


async def test_a_flood_about_one_object_is_cut_and_others_are_not() -> None:
    desk = Desk()
    for n in range(100):
        desk.recorder.record(pod(), "Normal", f"Reason{n}", "x")
    desk.recorder.record(pod("other"), "Normal", "Fine", "x")
    found = await desk.written()
    assert len(found) == 26
    desk.clock.advance(300)
    desk.recorder.record(pod(), "Normal", "Later", "x")
    assert len(await desk.written()) == 27


async def test_an_expired_event_begins_anew() -> None:
    desk = Desk()
    desk.recorder.record(pod(), "Normal", "Pulled", "x")
    await desk.written()
    desk.model.objects[EVENTS].clear()
    desk.recorder.record(pod(), "Normal", "Pulled", "x")
    [event] = await desk.written()
    assert event["count"] == 1


async def test_losing_events_disturbs_nobody(caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk()

    def refuse(_request: Request) -> ApiError | None:
        return Forbidden("no events")

    desk.transport.fail = refuse
    for n in range(MOST_WAITING + 500):
        desk.recorder.record(pod(str(n)), "Normal", "Pulled", "x")
    assert await desk.written() == []
    assert caplog.text.count("event.lost") == MOST_WAITING


async def test_a_slow_api_gets_many_at_a_time_and_each_object_s_in_order() -> None:
    desk = Desk()
    desk.transport.seconds = 0.05
    for n in range(3):
        for name in range(50):
            desk.recorder.record(pod(str(name)), "Normal", f"Step{n}", "x")
            desk.recorder.record(pod(str(name)), "Normal", "Again", "y")
    found = await desk.written()
    assert len(found) == 50 * 4
    for name in range(50):
        ours = [event for event in found if event["involvedObject"]["name"] == str(name)]
        assert [event["reason"] for event in ours] == ["Step0", "Again", "Step1", "Step2"]
        assert ours[1]["count"] == 3


async def test_cluster_wide_objects_have_their_events_in_default() -> None:
    desk = Desk()
    desk.recorder.record(
        {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1", "uid": "u"}}, "Normal", "X", "y"
    )
    [event] = await desk.written()
    assert event["metadata"]["namespace"] == "default"

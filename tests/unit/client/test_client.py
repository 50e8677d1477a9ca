"""What requests the Client makes of its verbs, and what it makes of the answers."""

from __future__ import annotations

from collections.abc import AsyncIterator

import orjson
import pytest

from mesh.api.port import JSON_PATCH, Request, Response, Stream, WatchEvent
from mesh.client.client import Client
from mesh.errors import ApiError, BadRequest, Conflict, Gone, InternalError, Invalid, NotFound, TooManyRequests
from mesh.objects.kinds import CONFIGMAPS, DEPLOYMENTS, NODES, PODS


class Recorder:
    """A Transport that remembers requests and answers from a list."""

    def __init__(self, *answers: object, status: int = 200) -> None:
        self.requests: list[Request] = []
        self._answers = list(answers)
        self._status = status

    async def send(self, request: Request) -> Response:
        self.requests.append(request)
        answer = self._answers.pop(0) if self._answers else {}
        if isinstance(answer, ApiError):
            return Response(answer.code, orjson.dumps(answer.to_status()))
        return Response(self._status, answer if isinstance(answer, bytes) else orjson.dumps(answer))

    async def watch(self, request: Request) -> AsyncIterator[WatchEvent]:
        self.requests.append(request)
        for answer in self._answers:
            assert isinstance(answer, WatchEvent)
            yield answer

    async def connect(self, request: Request) -> Stream:
        self.requests.append(request)
        raise BadRequest("no streams")

    @property
    def last(self) -> tuple[str, str, object]:
        request = self.requests[-1]
        return request.method, request.url, orjson.loads(request.body) if request.body else None


async def test_paths_of_namespaced_and_cluster_wide_objects() -> None:
    transport = Recorder()
    client = Client(transport, user_agent="test")
    await client.get(PODS, "p", "ns")
    assert transport.last == ("GET", "/api/v1/namespaces/ns/pods/p", None)
    await client.get(NODES, "n")
    assert transport.last == ("GET", "/api/v1/nodes/n", None)
    await client.get(DEPLOYMENTS, "d", "ns", subresource="scale")
    assert transport.last == ("GET", "/apis/apps/v1/namespaces/ns/deployments/d/scale", None)
    assert transport.requests[0].user_agent == "test"


async def test_lists_are_paged_unseen_and_items_get_their_kind() -> None:
    pages = (
        {"metadata": {"resourceVersion": "9", "continue": "more"}, "items": [{"metadata": {"name": "a"}}]},
        {"metadata": {"resourceVersion": "9"}, "items": [{"metadata": {"name": "b"}}]},
    )
    transport = Recorder(*pages)
    listing = await Client(transport).list(CONFIGMAPS, "ns", label_selector="a=b", limit=1)
    assert [o["metadata"]["name"] for o in listing.items] == ["a", "b"]
    assert {(o["apiVersion"], o["kind"]) for o in listing.items} == {("v1", "ConfigMap")}
    assert listing.resource_version == "9"
    assert [r.url for r in transport.requests] == [
        "/api/v1/namespaces/ns/configmaps?labelSelector=a%3Db&limit=1",
        "/api/v1/namespaces/ns/configmaps?labelSelector=a%3Db&limit=1&continue=more",
    ]


async def test_writes() -> None:
    transport = Recorder()
    client = Client(transport)
    obj = {"metadata": {"namespace": "ns", "name": "c"}}
    await client.create(CONFIGMAPS, obj, dry_run=True)
    assert transport.last == ("POST", "/api/v1/namespaces/ns/configmaps?dryRun=All", obj)
    await client.update(PODS, obj, subresource="status")
    assert transport.last == ("PUT", "/api/v1/namespaces/ns/pods/c/status", obj)
    await client.patch(CONFIGMAPS, "c", "ns", [{"op": "remove", "path": "/data"}], content_type=JSON_PATCH)
    assert transport.requests[-1].content_type == JSON_PATCH
    await client.bind("ns", "p", "n1", uid="u")
    assert transport.last[1] == "/api/v1/namespaces/ns/pods/p/binding"
    await client.evict("ns", "p", grace_period_seconds=3)
    method, path, body = transport.last
    assert (method, path) == ("POST", "/api/v1/namespaces/ns/pods/p/eviction")
    assert body == {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"namespace": "ns", "name": "p"},
        "deleteOptions": {"gracePeriodSeconds": 3},
    }


async def test_delete_options() -> None:
    transport = Recorder()
    await Client(transport).delete(
        PODS, "p", "ns", uid="u", resource_version="5", propagation="Orphan", grace_period_seconds=0, dry_run=True
    )
    assert transport.last[2] == {
        "kind": "DeleteOptions",
        "apiVersion": "v1",
        "preconditions": {"uid": "u", "resourceVersion": "5"},
        "propagationPolicy": "Orphan",
        "gracePeriodSeconds": 0,
        "dryRun": ["All"],
    }


@pytest.mark.parametrize("error", [NotFound("x"), Conflict("x"), Invalid("x"), TooManyRequests("x")])
async def test_refusals_are_raised_as_what_they_are(error: ApiError) -> None:
    with pytest.raises(type(error), match="x"):
        await Client(Recorder(error)).get(PODS, "p", "ns")


@pytest.mark.parametrize("body", [b"<html>bad gateway</html>", b"[]", b'{"kind":"Pod"}'])
async def test_an_error_that_is_no_status_is_shown_as_it_is(body: bytes) -> None:
    with pytest.raises(InternalError, match="the server answered 502"):
        await Client(Recorder(body, status=502)).get(PODS, "p", "ns")


async def test_a_watch_asks_for_bookmarks_and_raises_error_events() -> None:
    added = WatchEvent("ADDED", {"metadata": {"name": "a"}})
    transport = Recorder(added, WatchEvent("ERROR", Gone("too old").to_status()))
    events = Client(transport).watch(PODS, "ns", resource_version="7", field_selector="spec.nodeName=n")
    assert (await anext(events)).object["kind"] == "Pod"
    with pytest.raises(Gone, match="too old"):
        await anext(events)
    request = transport.requests[0]
    assert request.param("resourceVersion") == "7"
    assert request.flag("allowWatchBookmarks")
    assert request.param("fieldSelector") == "spec.nodeName=n"

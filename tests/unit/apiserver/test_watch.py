"""Watching and listing: transitions, resuming, bookmarks, paging, freshness."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest

from controlplane.apiserver import resourcecache, watcher
from controlplane.apiserver.cached import Item
from mesh.api.port import MERGE_PATCH
from mesh.errors import Gone, NotFound, Timeout
from mesh.objects.kinds import CONFIGMAPS as CONFIGMAP
from mesh.objects.meta import Key
from mesh.store import keys
from mesh.store.memory import Engine, NoFaults
from mesh.store.port import Entry
from tests.support.apiserver import Cluster, pod, running

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"


def labelled(name: str, **labels: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": labels}}


async def events(watch: Any, count: int) -> list[tuple[str, str]]:
    found = []
    async with asyncio.timeout(10):
        for _ in range(count):
            event = orjson.loads(await anext(watch))
            found.append((event["type"], event["object"]["metadata"].get("name", "")))
    return found


async def test_objects_enter_and_leave_a_selection(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        watch = await api.watch(f"{CONFIGMAPS}?watch=true&labelSelector=color=red")
        await api.ok("POST", CONFIGMAPS, labelled("a", color="blue"))
        await api.ok("POST", CONFIGMAPS, labelled("b", color="red"))
        await api.ok("PATCH", f"{CONFIGMAPS}/a", labelled("a", color="red"), MERGE_PATCH)
        await api.ok("PATCH", f"{CONFIGMAPS}/b", {"data": {"x": "y"}}, MERGE_PATCH)
        changed = await api.ok("PATCH", f"{CONFIGMAPS}/b", labelled("b", color="green"), MERGE_PATCH)
        await api.ok("DELETE", f"{CONFIGMAPS}/a")
        assert await events(watch, 3) == [("ADDED", "b"), ("ADDED", "a"), ("MODIFIED", "b")]
        left = orjson.loads(await anext(watch))
        assert (left["type"], left["object"]["metadata"]["labels"]) == ("DELETED", {"color": "red"})
        assert left["object"]["metadata"]["resourceVersion"] == changed["metadata"]["resourceVersion"]
        assert await events(watch, 1) == [("DELETED", "a")]


async def test_pods_of_one_node(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        watch = await api.watch("/api/v1/pods?watch=1&fieldSelector=spec.nodeName%3Dn1")
        other = await api.watch("/api/v1/pods?watch=1&fieldSelector=spec.nodeName%3Dn2")
        for name, node in (("x", "n1"), ("y", "n2")):
            await api.ok("POST", PODS, pod(name))
            binding = {"metadata": {"name": name}, "target": {"kind": "Node", "name": node}}
            await api.ok("POST", f"{PODS}/{name}/binding", binding)
        await api.ok("DELETE", f"{PODS}/x?gracePeriodSeconds=0")
        assert await events(watch, 2) == [("ADDED", "x"), ("DELETED", "x")]
        assert await events(other, 1) == [("ADDED", "y")]
        listed = await api.ok("GET", "/api/v1/pods?fieldSelector=spec.nodeName%3Dn2")
        assert [p["metadata"]["name"] for p in listed["items"]] == ["y"]


async def test_resume_and_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resourcecache, "RING", 5)
    async with running(tmp_path) as api:
        start = (await api.ok("GET", CONFIGMAPS))["metadata"]["resourceVersion"]
        made = [await api.ok("POST", CONFIGMAPS, labelled(f"c{i}")) for i in range(5)]
        watch = await api.watch(f"{CONFIGMAPS}?watch=1&resourceVersion={made[1]['metadata']['resourceVersion']}")
        assert await events(watch, 3) == [("ADDED", "c2"), ("ADDED", "c3"), ("ADDED", "c4")]
        await api.ok("POST", CONFIGMAPS, labelled("more"))
        with pytest.raises(
            Gone, match=rf"^too old resource version: {start} \({made[0]['metadata']['resourceVersion']}\)$"
        ):
            await api.watch(f"{CONFIGMAPS}?watch=1&resourceVersion={start}")


async def test_streamed_list_and_bookmarks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(tmp_path) as api:
        await api.ok("POST", CONFIGMAPS, labelled("a"))
        url = f"{CONFIGMAPS}?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
        watch = await api.watch(url)
        assert await events(watch, 1) == [("ADDED", "a")]
        mark = orjson.loads(await anext(watch))
        assert mark["type"] == "BOOKMARK"
        assert mark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
        cache = api.server.registry.caches[0]
        next(c for r, c in cache.resources.items() if r.plural == "configmaps").bookmark(cache.revision)
        assert orjson.loads(await anext(watch))["object"]["metadata"]["resourceVersion"] == str(cache.revision)


async def test_slow_watcher_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watcher, "QUEUE", 3)
    async with running(tmp_path) as api:
        watch = await api.watch(f"{CONFIGMAPS}?watch=1&resourceVersion=0")
        for i in range(5):
            await api.ok("POST", CONFIGMAPS, labelled(f"c{i}"))
        with pytest.raises(StopAsyncIteration):
            await anext(watch)
        held = next(c for r, c in api.server.registry.caches[0].resources.items() if r.plural == "configmaps")
        assert held.watcher_count == 0


async def test_lost_place_ends_watches_and_reads_again(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        await api.ok("POST", CONFIGMAPS, labelled("a"))
        watch = await api.watch(f"{CONFIGMAPS}?watch=1")
        await anext(watch)
        cache = api.server.registry.caches[0]
        cache.lost(RuntimeError("the stream was replaced"))
        assert await api.refused("GET", f"{CONFIGMAPS}/a") == (
            503,
            "ServiceUnavailable",
            "the server has not read the cluster store yet, try again",
        )
        error = orjson.loads(await anext(watch))
        assert (error["type"], error["object"]["code"]) == ("ERROR", 410)
        async with asyncio.timeout(10):
            while not cache.ready:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert (await api.ok("GET", f"{CONFIGMAPS}/a"))["metadata"]["name"] == "a"


async def test_what_was_made_anew_meanwhile_is_not_taken_for_the_same(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        first = await api.ok("POST", CONFIGMAPS, labelled("a"))
        watch = await api.watch(f"{CONFIGMAPS}?watch=true&resourceVersion={first['metadata']['resourceVersion']}")
        cache = api.server.registry.caches[0]
        key = keys.key_for(CONFIGMAP, Key("default", "a"))
        anew = {**first, "metadata": {**first["metadata"], "uid": "another"}}
        del anew["metadata"]["resourceVersion"]
        cache.entry(Entry(key, orjson.dumps(anew), cache.revision + 2))
        assert await events(watch, 2) == [("DELETED", "a"), ("ADDED", "a")]


async def test_watch_of_tables_names_columns_once(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        await api.ok("POST", CONFIGMAPS, labelled("a"))
        await api.ok("POST", CONFIGMAPS, labelled("b"))
        from mesh.api.port import Request
        from tests.support.apiserver import ADMIN

        accept = "application/json;as=Table;v=v1;g=meta.k8s.io"
        watch = await api.server.api.watch(Request("GET", CONFIGMAPS, (("watch", "1"),), accept=accept), ADMIN)
        first, second = orjson.loads(await anext(watch)), orjson.loads(await anext(watch))
        assert first["object"]["columnDefinitions"]
        assert not second["object"].get("columnDefinitions")
        assert second["object"]["rows"][0]["cells"][0] == "b"


async def test_pages_show_one_moment(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        for name in "abcde":
            await api.ok("POST", CONFIGMAPS, labelled(name))
        first = await api.ok("GET", f"{CONFIGMAPS}?limit=2")
        assert first["metadata"]["remainingItemCount"] == 3
        await api.ok("DELETE", f"{CONFIGMAPS}/d")
        await api.ok("POST", CONFIGMAPS, labelled("z"))
        names, token = [i["metadata"]["name"] for i in first["items"]], first["metadata"]["continue"]
        while token:
            page = await api.ok("GET", f"{CONFIGMAPS}?limit=2&continue={token}")
            assert page["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
            names += [i["metadata"]["name"] for i in page["items"]]
            token = page["metadata"].get("continue", "")
        assert names == list("abcde")


async def test_expired_continue_token_offers_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resourcecache, "SNAPSHOTS", 0)
    async with running(tmp_path) as api:
        for name in "abc":
            await api.ok("POST", CONFIGMAPS, labelled(name))
        token = (await api.ok("GET", f"{CONFIGMAPS}?limit=1"))["metadata"]["continue"]
        await api.ok("DELETE", f"{CONFIGMAPS}/b")
        response = await api.call("GET", f"{CONFIGMAPS}?limit=1&continue={token}")
        status = orjson.loads(response.body)
        assert (response.status, status["reason"]) == (410, "Expired")
        rest = await api.ok("GET", f"{CONFIGMAPS}?continue={status['metadata']['continue']}")
        assert [i["metadata"]["name"] for i in rest["items"]] == ["c"]


async def test_exact_and_future_revisions(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        made = await api.ok("POST", CONFIGMAPS, labelled("a"))
        revision = made["metadata"]["resourceVersion"]
        await api.ok("POST", "/api/v1/namespaces", {"metadata": {"name": "other"}})
        exact = f"{CONFIGMAPS}?resourceVersion={revision}&resourceVersionMatch=Exact"
        assert (await api.ok("GET", exact))["metadata"]["resourceVersion"] == revision
        await api.ok("DELETE", f"{CONFIGMAPS}/a")
        assert (await api.refused("GET", exact))[:2] == (410, "Expired")


async def test_waiting_for_the_future_ends(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        with pytest.raises(Timeout, match=r"^Timeout: Too large resource version: 999999, current: \d+$"):
            await api.server.registry.caches[0].wait_for(999999, patience=0.01)


@pytest.mark.parametrize("path", ["/", "/version", "/api", "/apis/apps"])
async def test_what_is_no_resource_cannot_be_watched(tmp_path: Path, path: str) -> None:
    async with running(tmp_path) as api:
        with pytest.raises(NotFound, match="the server could not find the requested resource"):
            await api.watch(f"{path}?watch=true")


async def test_two_servers_share_a_store(tmp_path: Path) -> None:
    engine = Engine()
    async with running(tmp_path, engine=engine) as one, running(tmp_path, engine=engine) as two:
        await one.ok("POST", CONFIGMAPS, labelled("a"))
        assert (await two.ok("GET", f"{CONFIGMAPS}/a"))["metadata"]["name"] == "a"

        async def patch(api: Cluster, key: str) -> None:
            await api.ok("PATCH", f"{CONFIGMAPS}/a", {"data": {key: "1"}}, MERGE_PATCH)

        await asyncio.gather(*(patch(api, f"{n}-{i}") for n, api in enumerate((one, two)) for i in range(10)))
        assert len((await one.ok("GET", f"{CONFIGMAPS}/a"))["data"]) == 20
        services = "/api/v1/namespaces/default/services"
        body = {"spec": {"type": "NodePort", "ports": [{"port": 80}]}}
        made = await asyncio.gather(
            *(
                api.ok("POST", services, {**body, "metadata": {"generateName": "s-"}})
                for api in (one, two)
                for _ in range(20)
            )
        )
        assert len({s["spec"]["clusterIP"] for s in made}) == 40
        assert len({s["spec"]["ports"][0]["nodePort"] for s in made}) == 40


async def test_restarted_server_knows_everything(tmp_path: Path) -> None:
    engine = Engine()
    async with running(tmp_path, engine=engine) as api:
        made = await api.ok("POST", CONFIGMAPS, labelled("a"))
    async with running(tmp_path, engine=engine) as api:
        assert await api.ok("GET", f"{CONFIGMAPS}/a") == made
        with pytest.raises(Gone):
            await api.watch(f"{CONFIGMAPS}?watch=1&resourceVersion=1")


class Slow(NoFaults):
    """A link on which news travels slowly, while answers come at once."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def delay(self, step: str) -> float:
        return self.seconds if step == "read" else 0.0


async def test_patch_with_a_revision_this_server_has_yet_to_see_is_made_from_that_revision(tmp_path: Path) -> None:
    """The other server's change must not be undone by a patch made from what this one knew before."""
    engine, link = Engine(), Slow()
    async with running(tmp_path, engine=engine) as one, running(tmp_path, engine=engine, faults=link) as two:
        await one.ok("POST", CONFIGMAPS, {"metadata": {"name": "a"}, "data": {"x": "1"}})
        await two.ok("GET", f"{CONFIGMAPS}/a")
        link.seconds = 0.5
        seen = await one.ok("PATCH", f"{CONFIGMAPS}/a", {"data": {"y": "1"}}, MERGE_PATCH)
        revision = seen["metadata"]["resourceVersion"]
        patch = {"metadata": {"resourceVersion": revision}, "data": {"z": "1"}}
        made = await two.ok("PATCH", f"{CONFIGMAPS}/a", patch, MERGE_PATCH)
        assert made["data"] == {"x": "1", "y": "1", "z": "1"}


async def test_object_that_cannot_be_shown_ends_only_that_watch(tmp_path: Path) -> None:
    def fail(type_: str, item: Item, first: bool) -> bytes:
        raise KeyError(type_, item.path, first)

    async with running(tmp_path) as api:
        odd = watcher.Watcher(watcher.Scope("default"), bookmarks=False, encode=fail)
        api.server.registry.objects(CONFIGMAP).add_watcher(odd)
        watch = await api.watch(f"{CONFIGMAPS}?watch=true")
        for name in "ab":
            await api.ok("POST", CONFIGMAPS, labelled(name))
        assert await events(watch, 2) == [("ADDED", "a"), ("ADDED", "b")]
        assert orjson.loads(await anext(odd))["type"] == "ERROR"
        with pytest.raises(StopAsyncIteration):
            await anext(odd)

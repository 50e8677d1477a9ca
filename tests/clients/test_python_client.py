"""The official Python client library, unmodified."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from kubernetes import client, config, stream, watch
from kubernetes.client.exceptions import ApiException

from tests.support.clients import Space
from tests.support.cluster import RealCluster, await_

CONTAINER = {"name": "main", "image": "covey/busybox:1", "command": ["sh", "-c", "echo started; sleep 3600"]}


@pytest.fixture
def api(cluster: RealCluster) -> Iterator[Any]:
    made = config.new_client_from_config(str(cluster.home / "kubeconfig"))
    try:
        yield made
    finally:
        made.close()
        with (
            warnings.catch_warnings()
        ):  # the library leaves the sockets of exec and of stopped watches to the collector
            warnings.simplefilter("ignore", ResourceWarning)
            del made
            gc.collect()


def manifest(name: str) -> dict[str, Any]:
    spec = {"containers": [CONTAINER], "terminationGracePeriodSeconds": 1}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}}, "spec": spec}


def test_objects(api: Any, space: Space) -> None:
    core = client.CoreV1Api(api)
    made = core.create_namespaced_config_map(space.name, client.V1ConfigMap(metadata={"name": "c"}, data={"a": "1"}))
    assert (made.data, made.metadata.namespace) == ({"a": "1"}, space.name)
    core.patch_namespaced_config_map("c", space.name, {"data": {"b": "2"}})
    found = core.read_namespaced_config_map("c", space.name)
    assert found.data == {"a": "1", "b": "2"}
    found.data = {"c": "3"}
    core.replace_namespaced_config_map("c", space.name, found)
    found.metadata.resource_version = made.metadata.resource_version
    with pytest.raises(ApiException) as caught:
        core.replace_namespaced_config_map("c", space.name, found)
    assert (caught.value.status, caught.value.reason) == (409, "Conflict")
    core.delete_namespaced_config_map("c", space.name)
    with pytest.raises(ApiException) as caught:
        core.read_namespaced_config_map("c", space.name)
    assert caught.value.status == 404


def test_pages(api: Any, space: Space) -> None:
    core = client.CoreV1Api(api)
    for i in range(7):
        core.create_namespaced_config_map(space.name, {"metadata": {"name": f"c{i}", "labels": {"page": "x"}}})
    names, token = [], ""
    for _ in range(10):
        page = core.list_namespaced_config_map(space.name, limit=3, label_selector="page=x", _continue=token or None)
        names += [item.metadata.name for item in page.items]
        token = page.metadata._continue
        if not token:
            break
    assert names == [f"c{i}" for i in range(7)]


def test_watch_logs_and_exec(api: Any, space: Space) -> None:
    core = client.CoreV1Api(api)
    listed = core.list_namespaced_pod(space.name)
    core.create_namespaced_pod(space.name, manifest("web"))
    follower = watch.Watch()
    seen = []
    since = listed.metadata.resource_version
    for event in follower.stream(core.list_namespaced_pod, space.name, resource_version=since, timeout_seconds=60):
        seen.append((event["type"], event["object"].status.phase))
        if event["object"].status.phase == "Running":
            follower.stop()
    assert (seen[0], seen[-1]) == (("ADDED", "Pending"), ("MODIFIED", "Running"))
    await_(lambda: core.read_namespaced_pod_log("web", space.name) == "started\n", what="the log")
    said = stream.stream(
        core.connect_get_namespaced_pod_exec, "web", space.name, command=["sh", "-c", "echo out; echo err >&2"],
        stdout=True, stderr=True, stdin=False, tty=False,
    )  # fmt: skip
    assert sorted(said.split()) == ["err", "out"]
    talk = stream.stream(
        core.connect_get_namespaced_pod_exec, "web", space.name, command=["sh", "-c", "read x; echo got $x; exit 5"],
        stdout=True, stderr=True, stdin=True, tty=False, _preload_content=False,
    )  # fmt: skip
    talk.write_stdin("word\n")
    talk.run_forever(timeout=60)
    assert (talk.read_stdout(), talk.returncode) == ("got word\n", 5)
    talk.close()


def test_a_deployment_and_its_scale(api: Any, space: Space) -> None:
    apps = client.AppsV1Api(api)
    spec = {
        "replicas": 1,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web"}}, "spec": manifest("web")["spec"]},
    }
    apps.create_namespaced_deployment(space.name, {"metadata": {"name": "web"}, "spec": spec})
    apps.patch_namespaced_deployment_scale("web", space.name, {"spec": {"replicas": 2}})
    await_(
        lambda: apps.read_namespaced_deployment_status("web", space.name).status.available_replicas == 2, what="scale"
    )
    with pytest.raises(ApiException) as caught:
        apps.create_namespaced_deployment(space.name, {"metadata": {"name": "Bad_Name"}, "spec": spec})
    assert caught.value.status == 422

from __future__ import annotations

import pytest

from cli.three_way import LAST_APPLIED, last_applied, merge, with_last_applied
from mesh.objects.types import Json, Object


def deployment(**spec: Json) -> Object:
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec}


def pod(*containers: Object, **spec: Json) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p"},
        "spec": {"containers": list(containers), **spec},
    }


@pytest.mark.parametrize(
    ("last", "new", "live", "expected"),
    [
        pytest.param({"replicas": 1}, {"replicas": 2}, {"replicas": 1}, {"replicas": 2}, id="a changed field is set"),
        pytest.param({"replicas": 1}, {}, {"replicas": 1}, {}, id="a field no longer applied goes"),
        pytest.param({}, {}, {"replicas": 9}, {"replicas": 9}, id="a field that others set stays"),
        pytest.param({"replicas": 1}, {"replicas": 1}, {"replicas": 9}, {"replicas": 1}, id="drift is corrected"),
        pytest.param({"replicas": 1}, {"replicas": None}, {"replicas": 1}, {}, id="null removes"),
    ],
)
def test_fields(last: Json, new: Json, live: Json, expected: Json) -> None:
    assert merge(deployment(**last), deployment(**new), deployment(**live)) == deployment(**expected)


def test_containers_merge_by_name() -> None:
    last = pod({"name": "a", "image": "1", "tty": True}, {"name": "b", "image": "1"})
    new = pod({"name": "a", "image": "2"}, {"name": "c", "image": "1"})
    live = pod(
        {"name": "a", "image": "1", "tty": True, "terminationMessagePath": "/dev/x"},
        {"name": "b", "image": "1"},
        {"name": "injected", "image": "sidecar"},
    )
    assert merge(last, new, live)["spec"]["containers"] == [
        {"name": "a", "image": "2", "terminationMessagePath": "/dev/x"},
        {"name": "c", "image": "1"},
        {"name": "injected", "image": "sidecar"},
    ]


def test_lists_without_a_merge_key_are_replaced() -> None:
    last, new = pod({"name": "a", "args": ["x"]}), pod({"name": "a", "args": ["y"]})
    live = pod({"name": "a", "args": ["x", "z"]})
    assert merge(last, new, live)["spec"]["containers"][0]["args"] == ["y"]


def test_finalizers_are_a_set() -> None:
    def with_finalizers(*names: str) -> Object:
        obj = pod()
        obj["metadata"]["finalizers"] = list(names)
        return obj

    merged = merge(with_finalizers("a", "b"), with_finalizers("a", "c"), with_finalizers("a", "b", "theirs"))
    assert merged["metadata"]["finalizers"] == ["a", "c", "theirs"]


def test_applying_again_changes_nothing() -> None:
    new = with_last_applied(deployment(replicas=2))
    live = {**new, "status": {"replicas": 2}, "metadata": {**new["metadata"], "uid": "u", "resourceVersion": "7"}}
    remembered = last_applied(live)
    assert remembered == {**deployment(replicas=2), "metadata": {"name": "web", "annotations": {}}}
    assert merge(remembered, new, live) == live


@pytest.mark.parametrize("text", ["not json", "3", '["a"]'])
def test_an_annotation_that_apply_did_not_write(text: str) -> None:
    live = {"metadata": {"name": "web", "annotations": {LAST_APPLIED: text}}}
    with pytest.raises(ValueError, match=r"."):
        last_applied(live)


def test_a_merge_key_that_is_no_text_is_left_to_the_server() -> None:
    new = pod({"name": {"a": "b"}})
    assert merge({}, new, pod({"name": "a"})) == new

from __future__ import annotations

import contextlib
import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.errors import ApiError, BadRequest, Invalid, RequestTooLarge
from mesh.objects.patch import MAX_OPERATIONS, conform_patched, json_patch, merge_patch
from mesh.objects.strategic import strategic_merge_patch


@pytest.mark.parametrize(
    ("operations", "result"),
    [
        ([{"op": "replace", "path": "/a", "value": 2}], {"a": 2, "l": [1, 2]}),
        ([{"op": "add", "path": "/l/-", "value": 3}], {"a": 1, "l": [1, 2, 3]}),
        ([{"op": "remove", "path": "/a"}], {"l": [1, 2]}),
        ([{"op": "test", "path": "/a", "value": 1}, {"op": "move", "from": "/a", "path": "/b"}], {"b": 1, "l": [1, 2]}),
        ([{"op": "add", "path": "/x~1y", "value": 0}], {"a": 1, "l": [1, 2], "x/y": 0}),
    ],
)
def test_json_patch(operations: list[Any], result: dict[str, Any]) -> None:
    original = {"a": 1, "l": [1, 2]}
    assert json_patch(original, operations) == result
    assert original == {"a": 1, "l": [1, 2]}


def test_json_patch_may_be_applied_again() -> None:
    operations = [{"op": "add", "path": "/l", "value": []}, {"op": "add", "path": "/l/-", "value": 1}]
    assert json_patch({}, operations) == json_patch({}, operations) == {"l": [1]}


def test_json_patch_that_doubles_again_and_again_is_stopped() -> None:
    operations = [{"op": "add", "path": "/l", "value": ["x" * 100]}]
    operations += [{"op": "copy", "from": "/l", "path": "/l/-"}] * 40
    with pytest.raises(Invalid) as refusal:
        json_patch({}, operations)
    assert "exceeding the limit 3145728" in refusal.value.causes[0].message


@pytest.mark.parametrize(
    ("operations", "kind"),
    [
        ({"op": "add"}, BadRequest),
        ([{"op": "frobnicate", "path": "/a"}], Invalid),
        (["add"], Invalid),
        ([{"op": "remove"}], Invalid),
        ([{"op": "remove", "path": "/missing"}], Invalid),
        ([{"op": "remove", "path": "nonsense"}], Invalid),
        ([{"op": "add", "path": "/a"}], Invalid),
        ([{"op": "test", "path": "/a", "value": 7}], Invalid),
        ([{"op": "add", "path": "/l/9", "value": 1}], Invalid),
        ([{"op": "add", "path": "/a/b", "value": 1}], Invalid),
        ([{"op": "replace", "path": "", "value": 1}], Invalid),
        ([{"op": "test", "path": "/a", "value": 1}] * (MAX_OPERATIONS + 1), RequestTooLarge),
    ],
)
def test_json_patches_that_do_not_apply(operations: Any, kind: type[ApiError]) -> None:
    with pytest.raises(kind):
        json_patch({"a": 1, "l": [1, 2]}, operations)


def test_a_failed_test_names_its_path() -> None:
    with pytest.raises(Invalid) as caught:
        json_patch({"a": {"b": 1}}, [{"op": "test", "path": "/a/b", "value": 2}])
    assert [cause.message for cause in caught.value.causes] == ["testing value /a/b failed: test failed"]


@pytest.mark.parametrize(
    ("original", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
        ({"a": "foo"}, {"a": {"b": 1}}, {"a": {"b": 1}}),
    ],
)
def test_merge_patch_as_in_rfc_7386(original: dict[str, Any], patch: dict[str, Any], result: dict[str, Any]) -> None:
    before = copy.deepcopy(original)
    assert merge_patch(original, patch) == result
    assert original == before


def test_a_merge_patch_is_an_object() -> None:
    with pytest.raises(BadRequest, match="Invalid JSON Patch"):
        merge_patch({}, [1])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.text(max_size=2), JSON, max_size=4)


@given(OBJECTS, OBJECTS)
def test_a_merge_patch_applied_twice_is_applied_once(original: dict[str, Any], patch: dict[str, Any]) -> None:
    once = merge_patch(original, patch)
    assert merge_patch(once, patch) == once


def pod(**spec: Any) -> dict[str, Any]:
    return {"spec": spec}


A, B, C = {"name": "a", "image": "1"}, {"name": "b", "image": "1"}, {"name": "c", "image": "1"}


@pytest.mark.parametrize(
    ("rule", "original", "patch", "result"),
    [
        ("items merge by key", pod(containers=[A, B]), pod(containers=[{"name": "b", "image": "2"}]),
         pod(containers=[A, {"name": "b", "image": "2"}])),
        ("new items come first", pod(containers=[A]), pod(containers=[C]), pod(containers=[C, A])),
        ("$patch delete removes an item", pod(containers=[A, B]), pod(containers=[{"name": "a", "$patch": "delete"}]),
         pod(containers=[B])),
        ("$patch replace replaces a list", pod(containers=[A, B]), pod(containers=[{"$patch": "replace"}, C]),
         pod(containers=[C])),
        ("$patch replace replaces a map", pod(nodeSelector={"a": "1"}),
         pod(nodeSelector={"$patch": "replace", "b": "2"}), pod(nodeSelector={"b": "2"})),
        ("$patch delete empties a map", pod(nodeSelector={"a": "1"}), pod(nodeSelector={"$patch": "delete"}),
         pod(nodeSelector={})),
        ("null removes a field", pod(nodeName="n", hostname="h"), pod(nodeName=None), pod(hostname="h")),
        ("null removes from an item", pod(containers=[A]), pod(containers=[{"name": "a", "image": None}]),
         pod(containers=[{"name": "a"}])),
        ("lists without a key are replaced", pod(tolerations=[{"key": "x"}]), pod(tolerations=[{"key": "y"}]),
         pod(tolerations=[{"key": "y"}])),
        ("lists of words merge as sets", {"metadata": {"finalizers": ["a", "b"]}},
         {"metadata": {"finalizers": ["b", "c"]}}, {"metadata": {"finalizers": ["a", "b", "c"]}}),
        ("$deleteFromPrimitiveList", {"metadata": {"finalizers": ["a", "b"]}},
         {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}}, {"metadata": {"finalizers": ["b"]}}),
        ("$setElementOrder orders", pod(containers=[A, B]),
         pod(**{"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}), pod(containers=[B, A])),
        ("$setElementOrder with a change", pod(containers=[A, B]),
         pod(**{"$setElementOrder/containers": [{"name": "a"}, {"name": "b"}, {"name": "c"}], "containers": [C]}),
         pod(containers=[A, B, C])),
        ("$setElementOrder lets the server's own items stand", pod(containers=[A, B, C]),
         pod(**{"$setElementOrder/containers": [{"name": "c"}, {"name": "a"}]}), pod(containers=[B, C, A])),
        ("$retainKeys drops the rest", pod(volumes=[{"name": "v", "emptyDir": {}}]),
         pod(volumes=[{"name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/x"}}]),
         pod(volumes=[{"name": "v", "hostPath": {"path": "/x"}}])),
        ("nulls do not arrive with new values", pod(), pod(securityContext={"runAsUser": None, "fsGroup": 1}),
         pod(securityContext={"fsGroup": 1})),
        ("labels merge", {"metadata": {"labels": {"a": "1"}}}, {"metadata": {"labels": {"b": "2"}}},
         {"metadata": {"labels": {"a": "1", "b": "2"}}}),
    ],
)  # fmt: skip
def test_strategic_merge(rule: str, original: dict[str, Any], patch: dict[str, Any], result: dict[str, Any]) -> None:
    before = copy.deepcopy((original, patch))
    assert strategic_merge_patch(original, patch, "v1", "Pod") == result, rule
    assert (original, patch) == before


def test_service_ports_merge_by_number() -> None:
    original = {"spec": {"ports": [{"port": 80, "nodePort": 30080}]}}
    patch = {"spec": {"ports": [{"port": 80, "name": "http"}]}}
    merged = strategic_merge_patch(original, patch, "v1", "Service")
    assert merged == {"spec": {"ports": [{"port": 80, "nodePort": 30080, "name": "http"}]}}


def test_a_deployment_strategy_retains_only_the_keys_named() -> None:
    original = {"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}}
    patch = {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}
    merged = strategic_merge_patch(original, patch, "apps/v1", "Deployment")
    assert merged == {"spec": {"strategy": {"type": "Recreate"}}}


@pytest.mark.parametrize(
    ("patch", "message"),
    [
        (pod(containers=[{"image": "x"}]), "does not contain declared merge key: name"),
        (pod(containers=["x"]), "does not contain declared merge key: name"),
        (pod(nodeSelector={"$patch": "explode"}), "unknown patch type: explode"),
        (pod(**{"$setElementOrder/containers": "x"}), "invalid patch format of setElementOrder list"),
        (pod(**{"$setElementOrder/containers": [{"name": "b"}], "containers": [A]}), "doesn't match"),
        ({"metadata": {"$deleteFromPrimitiveList/finalizers": "a"}}, "invalid patch format of primitive list"),
        (pod(nodeSelector={"$retainKeys": ["a"], "b": "1"}), "invalid patch format of retainKeys"),
    ],
)
def test_malformed_strategic_patches(patch: dict[str, Any], message: str) -> None:
    original = {**pod(containers=[A], nodeSelector={"a": "1"}), "metadata": {"finalizers": ["a"]}}
    with pytest.raises(BadRequest) as caught:
        strategic_merge_patch(original, patch, "v1", "Pod")
    assert message in str(caught.value)


KEYS = st.sampled_from(
    ["spec", "metadata", "containers", "name", "image", "finalizers", "labels", "$patch", "$retainKeys",
     "$setElementOrder/containers", "$deleteFromPrimitiveList/finalizers", "$setElementOrder/finalizers"]
)  # fmt: skip
PATCHES = st.dictionaries(
    KEYS,
    st.recursive(
        st.none() | st.booleans() | st.sampled_from(["a", "b", "delete", "replace", "merge", 1]),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
        max_leaves=12,
    ),
    max_size=3,
)


@given(PATCHES)
def test_any_patch_applies_or_is_refused(patch: dict[str, Any]) -> None:
    original = {**pod(containers=[A, B]), "metadata": {"finalizers": ["a"], "labels": {"a": "1"}}}
    for apply in (lambda: strategic_merge_patch(original, patch, "v1", "Pod"), lambda: merge_patch(original, patch)):
        with contextlib.suppress(BadRequest, Invalid):
            conform_patched(apply(), "v1", "Pod", strict=False)


def test_what_a_patch_breaks_is_said_about_the_patch() -> None:
    with pytest.raises(Invalid) as caught:
        conform_patched({"spec": {"replica": 1}}, "apps/v1", "ReplicaSet", strict=True)
    assert str(caught.value) == (
        r' "" is invalid: patch: Invalid value: "{\"spec\":{\"replica\":1}}": '
        'strict decoding error: unknown field "spec.replica"'
    )
    assert conform_patched({"spec": {"replica": 1}}, "apps/v1", "ReplicaSet", strict=False) == [
        'unknown field "spec.replica"'
    ]
    with pytest.raises(Invalid, match=r"Go struct field ReplicaSetSpec\.spec\.replicas of type int32"):
        conform_patched({"spec": {"replicas": "x"}}, "apps/v1", "ReplicaSet", strict=False)

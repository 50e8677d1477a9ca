from __future__ import annotations

import copy
from typing import Any

import pytest

from mesh.errors import BadRequest
from mesh.objects import schema


def conform(api_version: str, kind: str, obj: dict[str, Any]) -> list[str]:
    return schema.conform(obj, api_version, kind)


@pytest.mark.parametrize(
    ("api_version", "kind", "body", "problem"),
    [
        ("apps/v1", "ReplicaSet", {"spec": {"replica": 3}}, 'unknown field "spec.replica"'),
        ("v1", "Pod", {"specs": {}}, 'unknown field "specs"'),
        ("v1", "Pod", {"spec": {"containers": [{"imag": "x"}]}}, 'unknown field "spec.containers[0].imag"'),
        ("v1", "Pod", {"metadata": {"lables": {}}}, 'unknown field "metadata.lables"'),
        ("v1", "Pod", {"spec": {"Containers": []}}, 'unknown field "spec.Containers"'),
    ],
)
def test_unknown_fields_are_named_and_dropped(api_version: str, kind: str, body: dict[str, Any], problem: str) -> None:
    assert conform(api_version, kind, body) == [problem]
    assert conform(api_version, kind, body) == []


@pytest.mark.parametrize(
    ("api_version", "kind", "body", "message"),
    [
        ("apps/v1", "Deployment", {"spec": {"replicas": "3"}},
         "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32"),
        ("apps/v1", "Deployment", {"spec": {"replicas": 99999999999}},
         "json: cannot unmarshal number 99999999999 into Go struct field DeploymentSpec.spec.replicas of type int32"),
        ("apps/v1", "Deployment", {"spec": {"replicas": 1.5}},
         "json: cannot unmarshal number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32"),
        ("apps/v1", "Deployment", {"spec": {"paused": "yes"}},
         "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.paused of type bool"),
        ("v1", "Pod", {"spec": {"restartPolicy": 3}},
         "json: cannot unmarshal number into Go struct field PodSpec.spec.restartPolicy of type v1.RestartPolicy"),
        ("v1", "Pod", {"spec": "x"},
         "json: cannot unmarshal string into Go struct field Pod.spec of type v1.PodSpec"),
        ("v1", "Pod", {"spec": {"containers": {}}},
         "json: cannot unmarshal object into Go struct field PodSpec.spec.containers of type []v1.Container"),
        ("v1", "Pod", {"spec": {"containers": ["x"]}},
         "json: cannot unmarshal string into Go struct field PodSpec.spec.containers of type v1.Container"),
        ("v1", "Pod", {"spec": {"containers": [{"image": 3}]}},
         "json: cannot unmarshal number into Go struct field Container.spec.containers.image of type string"),
        ("v1", "Pod", {"metadata": {"labels": {"a": 1}}},
         "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string"),
        ("v1", "Pod", {"metadata": {"labels": []}},
         "json: cannot unmarshal array into Go struct field ObjectMeta.metadata.labels of type map[string]string"),
        ("v1", "Pod", {"spec": {"containers": [{"resources": {"limits": {"cpu": "a lot"}}}]}},
         "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"),
        ("v1", "Pod", {"metadata": {"creationTimestamp": "yesterday"}},
         'parsing time "yesterday" as "2006-01-02T15:04:05Z07:00": cannot parse "yesterday" as "2006"'),
        ("v1", "Pod", {"metadata": {"creationTimestamp": "2026-13-01T00:00:00Z"}},
         'parsing time "2026-13-01T00:00:00Z": month out of range'),
        ("v1", "Secret", {"data": {"a": "not base64!"}}, "illegal base64 data at input byte 3"),
        ("v1", "Secret", {"data": {"a": "YQ"}}, "illegal base64 data at input byte 2"),
        ("v1", "Service", {"spec": {"ports": [{"targetPort": True}]}},
         "json: cannot unmarshal bool into Go value of type int32"),
        ("coordination.k8s.io/v1", "Lease", {"spec": {"renewTime": "2026-01-01T00:00:00Z"}},
         'parsing time "2026-01-01T00:00:00Z" as "2006-01-02T15:04:05.000000Z07:00": cannot parse "Z" as ".000000"'),
    ],
)  # fmt: skip
def test_wrong_values_are_refused_in_the_words_of_go(
    api_version: str, kind: str, body: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadRequest) as caught:
        conform(api_version, kind, body)
    assert str(caught.value) == f'{kind} in version "v1" cannot be handled as a {kind}: {message}'


@pytest.mark.parametrize(
    ("field", "given", "stored"),
    [
        ("nulls go", {"metadata": {"creationTimestamp": None, "name": "x"}}, {"metadata": {"name": "x"}}),
        ("empty maps go", {"metadata": {"labels": {}}}, {"metadata": {}}),
        ("empty lists go", {"spec": {"volumes": []}}, {"spec": {}}),
        ("required lists stay", {"spec": {"containers": []}}, {"spec": {"containers": []}}),
        ("empty structs stay", {"spec": {"securityContext": {}}}, {"spec": {"securityContext": {}}}),
        (
            "null map values are zero",
            {"metadata": {"annotations": {"a": None}}},
            {"metadata": {"annotations": {"a": ""}}},
        ),
        ("quantities", {"spec": {"overhead": {"cpu": 0.5}}}, {"spec": {"overhead": {"cpu": "500m"}}}),
        (
            "times",
            {"metadata": {"creationTimestamp": "2026-01-01T01:00:00.5+01:00"}},
            {"metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"}},
        ),
    ],
)
def test_objects_are_brought_into_the_form_go_would_write(
    field: str, given: dict[str, Any], stored: dict[str, Any]
) -> None:
    body = copy.deepcopy(given)
    assert conform("v1", "Pod", body) == []
    assert body == stored


def test_int_or_string_is_either() -> None:
    body = {"spec": {"strategy": {"rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 0}}}}
    assert conform("apps/v1", "Deployment", copy.deepcopy(body)) == []


def test_the_strict_error_lists_all_problems() -> None:
    problems = conform("apps/v1", "ReplicaSet", {"spec": {"replica": 3, "selektor": {}}})
    assert str(schema.strict_error("apps/v1", "ReplicaSet", problems)) == (
        'ReplicaSet in version "v1" cannot be handled as a ReplicaSet: strict decoding error: '
        'unknown field "spec.replica", unknown field "spec.selektor"'
    )


def test_a_kind_without_a_schema_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        conform("example.com/v1", "Widget", {})

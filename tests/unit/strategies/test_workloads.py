from __future__ import annotations

from typing import Any

import pytest

from controlplane.apiserver.strategies.registry import strategy_for
from mesh.objects import kinds
from tests.support.manifests import DEPLOYMENT, REPLICASET, changed, create_causes, decoded, said, stored, update

IMAGE = "spec__template__spec__containers__0__image"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("replicas", 1),
        ("revisionHistoryLimit", 10),
        ("progressDeadlineSeconds", 600),
        ("strategy", {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}}),
    ],
)
def test_deployment_defaults(field: str, value: Any) -> None:
    assert decoded(DEPLOYMENT)["spec"][field] == value


def test_recreate_gets_no_rolling_update() -> None:
    given = changed(DEPLOYMENT, spec__strategy={"type": "Recreate"})
    assert decoded(given)["spec"]["strategy"] == {"type": "Recreate"}


@pytest.mark.parametrize("manifest", [DEPLOYMENT, REPLICASET])
def test_templates_are_defaulted_but_not_as_pods(manifest: dict[str, Any]) -> None:
    spec = decoded(manifest)["spec"]["template"]["spec"]
    assert spec["restartPolicy"] == "Always"
    assert spec["containers"][0]["imagePullPolicy"] == "IfNotPresent"
    assert "enableServiceLinks" not in spec


def test_replicaset_defaults() -> None:
    assert decoded(REPLICASET)["spec"]["replicas"] == 1
    assert decoded(changed(REPLICASET, spec__replicas=0))["spec"]["replicas"] == 0


@pytest.mark.parametrize("manifest", [DEPLOYMENT, REPLICASET])
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"spec__replicas": -1}, "spec.replicas: Invalid value: -1: must be greater than or equal to 0"),
        ({"spec__minReadySeconds": -1}, "spec.minReadySeconds: Invalid value: -1: must be greater than or equal to 0"),
        ({"spec__selector": None}, "spec.selector: Required value"),
        ({"spec__selector": {}}, "spec.selector: Invalid value: {}: empty selector is invalid for"),
        ({"spec__template__metadata__labels": {"app": "x"}},
         'spec.template.metadata.labels: Invalid value: {"app":"x"}: `selector` does not match template `labels`'),
        ({"spec__selector": {"matchExpressions": [{"key": "app", "operator": "In"}]}},
         "spec.selector.matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or"),
        ({"spec__selector": {"matchExpressions": [{"key": "app", "operator": "Is"}]}},
         'spec.selector.matchExpressions[0].operator: Invalid value: "Is": not a valid selector operator'),
        ({"spec__template__spec__restartPolicy": "Never"},
         'spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"'),
        ({"spec__template__spec__activeDeadlineSeconds": 5},
         "spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in ReplicaSet is not Supported"),
        ({"spec__template__spec__containers": []}, "spec.template.spec.containers: Required value"),
        ({"spec__template__spec__containers__0__name": "A"}, 'spec.template.spec.containers[0].name: Invalid value: "'),
    ],
)  # fmt: skip
def test_invalid_workloads(manifest: dict[str, Any], given: dict[str, Any], message: str) -> None:
    lines = said(create_causes(changed(manifest, **given)))
    assert any(line.startswith(message) for line in lines), lines


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"spec__strategy": {"type": "Slow"}},
         'spec.strategy: Unsupported value: {"type":"Slow"}: supported values: "Recreate", "RollingUpdate"'),
        ({"spec__strategy": {"type": "Recreate", "rollingUpdate": {}}},
         "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'"),
        ({"spec__strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}},
         "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0"),
        ({"spec__strategy": {"rollingUpdate": {"maxSurge": "0%", "maxUnavailable": "0%"}}},
         'spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "0%": may not be 0 when `maxSurge` is 0'),
        ({"spec__strategy": {"rollingUpdate": {"maxSurge": "lots"}}},
         'spec.strategy.rollingUpdate.maxSurge: Invalid value: "lots": a valid percent string must be a numeric'),
        ({"spec__strategy": {"rollingUpdate": {"maxUnavailable": "101%"}}},
         'spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "101%": must not be greater than 100%'),
        ({"spec__strategy": {"rollingUpdate": {"maxSurge": -1}}},
         "spec.strategy.rollingUpdate.maxSurge: Invalid value: -1: must be greater than or equal to 0"),
        ({"spec__progressDeadlineSeconds": 5, "spec__minReadySeconds": 5},
         "spec.progressDeadlineSeconds: Invalid value: 5: must be greater than minReadySeconds"),
        ({"spec__revisionHistoryLimit": -1}, "spec.revisionHistoryLimit: Invalid value: -1: must be greater than or"),
    ],
)  # fmt: skip
def test_invalid_deployments(given: dict[str, Any], message: str) -> None:
    lines = said(create_causes(changed(DEPLOYMENT, **given)))
    assert any(line.startswith(message) for line in lines), lines


@pytest.mark.parametrize("manifest", [DEPLOYMENT, REPLICASET])
def test_valid_workloads(manifest: dict[str, Any]) -> None:
    assert create_causes(manifest) == []


@pytest.mark.parametrize("manifest", [DEPLOYMENT, REPLICASET])
def test_the_selector_never_changes(manifest: dict[str, Any]) -> None:
    old = stored(manifest)
    labels = {"app": "web", "more": "x"}
    new = changed(old, spec__selector={"matchLabels": labels}, spec__template__metadata__labels=labels)
    _, causes = update(old, new)
    assert said(causes) == [
        'spec.selector: Invalid value: {"matchLabels":{"app":"web","more":"x"}}: field is immutable'
    ]


@pytest.mark.parametrize(
    ("manifest", "change", "generation"),
    [
        (DEPLOYMENT, {"spec__replicas": 2}, 2),
        (DEPLOYMENT, {IMAGE: "other"}, 2),
        (DEPLOYMENT, {"metadata__annotations": {"a": "b"}}, 2),
        (DEPLOYMENT, {"metadata__labels": {"a": "b"}}, 1),
        (DEPLOYMENT, {"metadata__generation": 7}, 1),
        (DEPLOYMENT, {}, 1),
        (REPLICASET, {"spec__replicas": 2}, 2),
        (REPLICASET, {"metadata__annotations": {"a": "b"}}, 1),
    ],
)
def test_the_generation_counts_changes_of_what_is_desired(
    manifest: dict[str, Any], change: dict[str, Any], generation: int
) -> None:
    old = stored(manifest)
    new, causes = update(old, changed(old, **change))
    assert causes == []
    assert new["metadata"]["generation"] == generation


@pytest.mark.parametrize("manifest", [DEPLOYMENT, REPLICASET])
def test_spec_and_status_are_written_apart(manifest: dict[str, Any]) -> None:
    assert stored(changed(manifest, status={"replicas": 9}))["status"] == {}
    old = stored(manifest)
    both = changed(old, spec__replicas=5, status={"replicas": 3})
    new, _ = update(old, both)
    assert (new["spec"]["replicas"], new["status"]) == (5, {})
    new, causes = update(old, both, "status")
    assert (new["spec"]["replicas"], new["status"], causes) == (1, {"replicas": 3}, [])
    assert new["metadata"]["generation"] == 1


@pytest.mark.parametrize(
    ("manifest", "status", "message"),
    [
        (REPLICASET, {"replicas": -1}, "status.replicas: Invalid value: -1: must be greater than or equal to 0"),
        (REPLICASET, {"replicas": 1, "readyReplicas": 2},
         "status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas"),
        (DEPLOYMENT, {"replicas": 2, "availableReplicas": 1},
         "status.availableReplicas: Invalid value: 1: cannot be greater than readyReplicas"),
    ],
)  # fmt: skip
def test_a_status_must_add_up(manifest: dict[str, Any], status: dict[str, Any], message: str) -> None:
    old = stored(manifest)
    _, causes = update(old, changed(old, status=status), "status")
    assert said(causes)[0] == message


@pytest.mark.parametrize("resource", [kinds.DEPLOYMENTS, kinds.REPLICASETS])
def test_scale(resource: kinds.Resource) -> None:
    rule = strategy_for(resource).scale
    assert rule is not None
    obj = changed(stored(DEPLOYMENT), spec__replicas=3, status={"replicas": 2})
    assert (rule.replicas(obj), rule.status_replicas(obj), rule.selector(obj)) == (3, 2, "app=web")
    rule.set_replicas(obj, 5)
    assert obj["spec"]["replicas"] == 5

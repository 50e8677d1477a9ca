from __future__ import annotations

import base64
from typing import Any

import pytest

from controlplane.apiserver.strategies.registry import strategy_for
from controlplane.apiserver.strategies.strategy import invalid
from mesh.errors import BadRequest, Cause
from mesh.objects import kinds
from tests.support.manifests import (
    CONFIGMAP,
    ENDPOINTS,
    ENDPOINTSLICE,
    EVENT,
    LEASE,
    NAMESPACE,
    NODE,
    POD,
    SECRET,
    changed,
    create_causes,
    decoded,
    said,
    stored,
    update,
)

BIG = "x" * (1024 * 1024 + 1)


def secret(kind: str, **data: str) -> dict[str, Any]:
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
    return changed(SECRET, type=kind, data=encoded)


@pytest.mark.parametrize(
    ("obj", "message"),
    [
        (changed(NAMESPACE, metadata__name="a.b"), 'metadata.name: Invalid value: "a.b": must not contain dots'),
        (changed(NAMESPACE, metadata__namespace="x"), "metadata.namespace: Forbidden: not allowed on this type"),
        (changed(POD, metadata__namespace=None), "metadata.namespace: Required value"),
        (changed(POD, metadata__generateName="A-", metadata__name="a"), 'metadata.generateName: Invalid value: "A-"'),
        (changed(POD, metadata__finalizers=["mine"]), 'metadata.finalizers: Invalid value: "mine": name is neither'),
        (changed(POD, metadata__ownerReferences=[{"apiVersion": "v1", "kind": "Pod", "name": "a", "uid": ""}]),
         'metadata.ownerReferences[0].uid: Invalid value: "": uid must not be empty'),
        (changed(NODE, spec={"podCIDR": "x"}), 'spec.podCIDRs[0]: Invalid value: "x": must be a valid CIDR value'),
        (changed(NODE, spec={"taints": [{"key": "a", "effect": "Shoo"}]}),
         'metadata.taints[0].effect: Unsupported value: "Shoo": supported values: "NoSchedule", "PreferNoSchedule", '),
        (changed(NODE, spec={"taints": [{"key": "a", "effect": "NoSchedule"}] * 2}),
         'metadata.taints[1]: Duplicate value: {"key":"a","effect":"NoSchedule"}: taints must be unique by key and'),
        (changed(NODE, status={"capacity": {"cpu": "-1"}}), 'status.capacity.cpu: Invalid value: "-1": must be greate'),
        (changed(CONFIGMAP, data={"a/b": "x"}), 'data[a/b]: Invalid value: "a/b": a valid config key must consist of'),
        (changed(CONFIGMAP, binaryData={"key": "eA=="}),
         'data[key]: Invalid value: "key": duplicate of key present in binaryData'),
        (changed(CONFIGMAP, data={"key": BIG}), ": Too long: may not be more than 1048576 bytes"),
        (changed(SECRET, data={"..": ""}), 'data[..]: Invalid value: "..": must not be \'..\''),
        (secret("Opaque", key=BIG), "data: Too long: may not be more than 1048576 bytes"),
        (secret("kubernetes.io/tls"), "data[tls.crt]: Required value"),
        (secret("kubernetes.io/ssh-auth"), "data[ssh-privatekey]: Required value"),
        (secret("kubernetes.io/basic-auth"), "data[username]: Required value"),
        (secret("kubernetes.io/dockerconfigjson"), "data[.dockerconfigjson]: Required value"),
        (secret("kubernetes.io/dockercfg", **{".dockercfg": "{"}),
         'data[.dockercfg]: Invalid value: "<secret contents redacted>": '),
        (secret("kubernetes.io/service-account-token"),
         "metadata.annotations[kubernetes.io/service-account.name]: Required value"),
        (changed(EVENT, involvedObject__namespace="other"),
         'involvedObject.namespace: Invalid value: "other": does not match event.namespace'),
        (changed(LEASE, spec__leaseDurationSeconds=0),
         "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0"),
        (changed(LEASE, spec__leaseTransitions=-1), "spec.leaseTransitions: Invalid value: -1: must be greater than o"),
        (changed(LEASE, spec__holderIdentity=""), 'spec.holderIdentity: Invalid value: "": must not be empty'),
        (changed(ENDPOINTS, subsets=[{"ports": [{"port": 1}]}]),
         "subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`"),
        (changed(ENDPOINTS, subsets__0__addresses=[{"ip": "x"}]), 'subsets[0].addresses[0].ip: Invalid value: "x": mu'),
        (changed(ENDPOINTS, subsets__0__addresses=[{"ip": "127.0.0.1"}]),
         'subsets[0].addresses[0].ip: Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, ::1/'),
        (changed(ENDPOINTSLICE, addressType="IPv7"), 'addressType: Unsupported value: "IPv7": supported values: "FQDN'),
        (changed(ENDPOINTSLICE, addressType="IPv6"), 'endpoints[0].addresses[0]: Invalid value: "10.64.0.2": must be'),
        (changed(ENDPOINTSLICE, endpoints=[{"addresses": []}]),
         "endpoints[0].addresses: Required value: must contain at least 1 address"),
        (changed(ENDPOINTSLICE, ports=[{"port": 1}, {"port": 2}]), 'ports[1].name: Duplicate value: ""'),
        (changed(ENDPOINTSLICE, endpoints=[{"addresses": ["10.0.0.1"]}] * 1001),
         "endpoints: Too many: 1001: must have at most 1000 items"),
    ],
)  # fmt: skip
def test_invalid_objects(obj: dict[str, Any], message: str) -> None:
    lines = said(create_causes(obj))
    assert any(line.startswith(message) for line in lines), [line[:200] for line in lines]


@pytest.mark.parametrize(
    "obj",
    [
        NAMESPACE, NODE, CONFIGMAP, SECRET, EVENT, LEASE, ENDPOINTS, ENDPOINTSLICE,
        changed(POD, metadata__name="a.b", metadata__generateName="a-"),
        secret("kubernetes.io/tls", **{"tls.crt": "", "tls.key": ""}),
        secret("kubernetes.io/dockerconfigjson", **{".dockerconfigjson": "{}"}),
        changed(EVENT, involvedObject={"kind": "Node", "name": "n1"}),
    ],
)  # fmt: skip
def test_valid_objects(obj: dict[str, Any]) -> None:
    assert create_causes(obj) == []


def test_a_namespace_is_labelled_with_its_name_and_held_by_its_finalizer() -> None:
    created = stored(NAMESPACE)
    assert created["metadata"]["labels"] == {"kubernetes.io/metadata.name": "team"}
    assert created["spec"] == {"finalizers": ["kubernetes"]}
    assert created["status"] == {"phase": "Active"}


def test_a_namespace_is_finalized_only_through_its_subresource() -> None:
    old = stored(NAMESPACE)
    new, _ = update(old, changed(old, spec={}))
    assert new["spec"] == {"finalizers": ["kubernetes"]}
    new, causes = update(old, changed(old, spec={}, status={"phase": "Terminating"}), "finalize")
    assert (new["spec"], new["status"], causes) == ({}, {"phase": "Active"}, [])
    _, causes = update(old, changed(old, status__phase="Terminating"), "status")
    assert said(causes) == [
        "status.Phase: Invalid value: \"Terminating\": may only be 'Active' if `deletionTimestamp` is empty"
    ]


def test_a_node_is_created_with_its_status_and_its_capacity_is_allocatable() -> None:
    created = stored(changed(NODE, status={"capacity": {"cpu": 2, "memory": "1024Mi"}}))
    assert created["status"]["allocatable"] == {"cpu": "2", "memory": "1Gi"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"spec__podCIDR": "10.64.2.0/24"}, "spec.podCIDRs: Forbidden: node updates may not change podCIDR except"),
        ({"spec__providerID": "b"}, 'spec.providerID: Forbidden: node updates may not change providerID except from "'),
        ({"spec__externalID": "x"}, "spec.externalID: Forbidden: may not be updated"),
    ],
)  # fmt: skip
def test_what_a_node_keeps(change: dict[str, Any], message: str) -> None:
    old = stored(changed(NODE, spec={"podCIDR": "10.64.1.0/24", "providerID": "a"}))
    _, causes = update(old, changed(old, **change))
    assert any(line.startswith(message) for line in said(causes)), said(causes)


def test_first_range_of_a_node_has_to_be_one() -> None:
    old = stored(NODE)
    _, causes = update(old, changed(old, spec={"podCIDR": "x"}))
    assert said(causes)[0].startswith('spec.podCIDRs[0]: Invalid value: "x": must be a valid CIDR value')
    _, causes = update(old, changed(old, spec={"podCIDR": "10.64.1.0/24"}))
    assert causes == []


def test_cordoning_a_node_is_an_update() -> None:
    old = stored(NODE)
    new, causes = update(old, changed(old, spec__unschedulable=True))
    assert causes == []
    matches = strategy_for(kinds.NODES).field_predicate(
        strategy_for(kinds.NODES).field_selector("spec.unschedulable=true")
    )
    assert matches(new)
    assert not matches(old)


@pytest.mark.parametrize(
    ("obj", "change", "field"),
    [
        (CONFIGMAP, {"data": {"key": "other"}}, "data"),
        (CONFIGMAP, {"immutable": None}, "immutable"),
        (CONFIGMAP, {"binaryData": {"b": "eA=="}}, "binaryData"),
        (SECRET, {"data": {"key": "eA=="}}, "data"),
        (SECRET, {"immutable": False}, "immutable"),
    ],
)
def test_what_is_immutable_stays(obj: dict[str, Any], change: dict[str, Any], field: str) -> None:
    old = stored(changed(obj, immutable=True))
    _, causes = update(old, changed(old, **change))
    assert said(causes) == [f"{field}: Forbidden: field is immutable when `immutable` is set"]


def test_secrets_take_plain_strings_and_keep_their_type() -> None:
    given = decoded(changed(SECRET, stringData={"key": "plain", "more": "ü"}))
    assert given["data"] == {"key": "cGxhaW4=", "more": "w7w="}
    assert "stringData" not in given
    assert given["type"] == "Opaque"
    old = stored(SECRET)
    _, causes = update(old, changed(old, type="other"))
    assert said(causes) == ['type: Invalid value: "other": field is immutable']


def test_the_address_type_of_a_slice_never_changes_and_its_generation_counts() -> None:
    old = stored(ENDPOINTSLICE)
    assert old["metadata"]["generation"] == 1
    new, causes = update(old, changed(old, endpoints__0__addresses=["10.64.0.3"]))
    assert (new["metadata"]["generation"], causes) == (2, [])
    new, _ = update(old, changed(old, metadata__annotations={"a": "b"}))
    assert new["metadata"]["generation"] == 1
    _, causes = update(old, changed(old, addressType="FQDN"))
    assert 'addressType: Invalid value: "FQDN": field is immutable' in said(causes)


def test_server_owned_metadata_survives_an_update() -> None:
    old = changed(
        stored(CONFIGMAP),
        metadata__uid="u1",
        metadata__creationTimestamp="2026-01-01T00:00:00Z",
        metadata__deletionTimestamp="2026-01-02T00:00:00Z",
        metadata__finalizers=["example.com/a"],
    )
    new, causes = update(old, CONFIGMAP)
    assert causes == []
    for field in ("uid", "creationTimestamp", "deletionTimestamp"):
        assert new["metadata"][field] == old["metadata"][field]
    _, causes = update(old, changed(CONFIGMAP, metadata__finalizers=["example.com/a", "example.com/b"]))
    assert said(causes) == [
        (
            "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, "
            'found new finalizers []string{"example.com/b"}'
        )
    ]


@pytest.mark.parametrize(
    ("causes", "message"),
    [
        ([Cause("spec.selector", "FieldValueRequired", "Required value")],
         'Deployment.apps "x" is invalid: spec.selector: Required value'),
        ([Cause("a", "FieldValueRequired", "Required value"), Cause("b", "FieldValueForbidden", "Forbidden: no")],
         'Deployment.apps "x" is invalid: [a: Required value, b: Forbidden: no]'),
        ([Cause("a", "FieldValueRequired", "Required value")] * 2, 'Deployment.apps "x" is invalid: a: Required value'),
    ],
)  # fmt: skip
def test_the_error_a_user_sees(causes: list[Cause], message: str) -> None:
    status = invalid(kinds.DEPLOYMENTS, "x", causes).to_status()
    assert (status["code"], status["reason"], status["message"]) == (422, "Invalid", message)
    assert status["details"]["group"] == "apps"
    assert len(status["details"]["causes"]) == len(causes)


@pytest.mark.parametrize(
    ("resource", "text", "message"),
    [
        (kinds.PODS, "spec.foo=x", "field label not supported: spec.foo"),
        (kinds.CONFIGMAPS, "data=x",
         '"data" is not a known field selector: only "metadata.name", "metadata.namespace"'),
    ],
)  # fmt: skip
def test_fields_that_cannot_be_selected_by(resource: kinds.Resource, text: str, message: str) -> None:
    with pytest.raises(BadRequest) as caught:
        strategy_for(resource).field_selector(text)
    assert str(caught.value) == message


def test_events_are_selected_by_what_they_are_about() -> None:
    strategy = strategy_for(kinds.EVENTS)
    selector = strategy.field_selector("involvedObject.kind=Pod,involvedObject.name=web,type!=Warning")
    assert strategy.field_predicate(selector)(EVENT)
    assert not strategy.field_predicate(selector)(changed(EVENT, involvedObject__name="db"))


def test_every_kind_has_a_strategy() -> None:
    for resource in kinds.BUILT_IN:
        assert strategy_for(resource).resource == resource
        for subresource in {"status", "finalize"} & set(resource.subresources):
            assert subresource in strategy_for(resource).updates

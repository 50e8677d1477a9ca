from __future__ import annotations

from typing import Any

import pytest

from controlplane.apiserver.strategies.pod_binding import bind
from mesh.errors import ApiError, Conflict, Invalid
from tests.support.manifests import POD, changed, stored

NOW = "2026-01-01T00:00:00Z"
PENDING = changed(stored(POD), metadata__uid="u1")
BINDING: dict[str, Any] = {"metadata": {"name": "web"}, "target": {"kind": "Node", "name": "n1"}}


def test_binding_assigns_the_node_and_says_when() -> None:
    bound = bind(PENDING, changed(BINDING, metadata__annotations={"a": "b"}), NOW)
    assert bound["spec"]["nodeName"] == "n1"
    assert bound["metadata"]["annotations"] == {"a": "b"}
    assert bound["metadata"]["generation"] == 1
    assert bound["status"]["conditions"] == [
        {"type": "PodScheduled", "status": "True", "lastProbeTime": None, "lastTransitionTime": NOW}
    ]
    assert "nodeName" not in PENDING["spec"]


@pytest.mark.parametrize(
    ("pod", "binding", "kind", "message"),
    [
        ({}, {"target__name": ""}, Invalid, 'Binding "web" is invalid: target.name: Required value'),
        ({}, {"target__kind": "Pod"}, Invalid,
         'Binding "web" is invalid: target.kind: Unsupported value: "Pod": supported values: "Node", "<empty>"'),
        ({"spec__nodeName": "n2"}, {}, Conflict, 'pod web is already assigned to node "n2"'),
        ({"metadata__deletionTimestamp": NOW}, {}, Conflict, "pod web is being deleted, cannot be assigned to a host"),
        ({"spec__schedulingGates": [{"name": "a"}]}, {}, Conflict, "pod web has non-empty .spec.schedulingGates"),
        ({}, {"metadata__uid": "u2"}, Conflict,
         "Precondition failed: UID in precondition: u2, UID in object meta: u1"),
    ],
)  # fmt: skip
def test_refusals(pod: dict[str, Any], binding: dict[str, Any], kind: type[ApiError], message: str) -> None:
    with pytest.raises(kind) as caught:
        bind(changed(PENDING, **pod), changed(BINDING, **binding), NOW)
    prefix = 'Operation cannot be fulfilled on pods/binding "web": ' if kind is Conflict else ""
    assert str(caught.value) == prefix + message

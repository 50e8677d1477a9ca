"""Namespaces, their service accounts and CA certificates, and nodes' address ranges."""

from __future__ import annotations

from controlplane.controllers.namespace import NamespaceController
from controlplane.controllers.nodeipam import NodeIpamController
from controlplane.controllers.rootca import RootCaController
from controlplane.controllers.serviceaccount import ServiceAccountController
from mesh.objects.kinds import BUILT_IN, CONFIGMAPS, NAMESPACES, NODES, PODS, SECRETS, SERVICEACCOUNTS
from mesh.objects.meta import Key, key_of, name_of, thaw
from mesh.objects.types import Object
from mesh.plan.actions import Record, Update
from tests.support.api_model import ApiModel, carry_out, converge, plan_once
from tests.support.workloads import NS, pod

CONTROLLER = NamespaceController(BUILT_IN)
KEY = Key("", NS)


def namespace() -> Object:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NS}}


def full(*, graceful: bool = True) -> ApiModel:
    model = ApiModel(graceful=graceful)
    model.create(NAMESPACES, namespace())
    for n in range(3):
        model.create(PODS, pod(f"p{n}"))
        model.create(SECRETS, {"metadata": {"namespace": NS, "name": f"s{n}"}})
    model.create(SECRETS, {"metadata": {"namespace": "other", "name": "kept"}})
    return model


def conditions(model: ApiModel) -> dict[str, str]:
    return {
        c["type"]: c["message"] for c in model.get(NAMESPACES, KEY)["status"]["conditions"] if c["status"] == "True"
    }


def test_a_living_namespace_is_left_alone() -> None:
    assert plan_once(CONTROLLER, KEY, full()).actions == ()


def test_it_goes_when_its_last_object_is_gone() -> None:
    model = full()
    model.delete(NAMESPACES, KEY)
    converge([CONTROLLER], model)
    assert conditions(model) == {
        "NamespaceContentRemaining": "Some resources are remaining: pods. has 3 resource instances"
    }
    for one in model.all(PODS):
        model.finish_pod(key_of(one))
    converge([CONTROLLER], model)
    assert model.all(NAMESPACES) == []
    assert [name_of(o) for o in model.all(SECRETS)] == ["kept"]


def test_finalizers_that_hold_it_are_named() -> None:
    model = full(graceful=False)
    held = {"metadata": {"namespace": NS, "name": "held", "finalizers": ["example.org/x"]}}
    model.create(CONFIGMAPS, held)
    model.delete(NAMESPACES, KEY)
    converge([CONTROLLER], model)
    assert conditions(model) == {
        "NamespaceContentRemaining": "Some resources are remaining: configmaps. has 1 resource instances",
        "NamespaceFinalizersRemaining": "Some content in the namespace has finalizers remaining: "
        "example.org/x in 1 resource instances",
    }
    free = thaw(model.get(CONFIGMAPS, Key(NS, "held")))
    free["metadata"]["finalizers"] = []
    model.update(CONFIGMAPS, free)
    converge([CONTROLLER], model)
    assert model.all(NAMESPACES) == []


def test_every_crash_of_a_deletion_is_recovered_from() -> None:
    for cut in range(10):
        model = full(graceful=False)
        model.delete(NAMESPACES, KEY)
        carry_out(model, plan_once(CONTROLLER, KEY, model).actions[:cut])
        converge([CONTROLLER], model)
        assert model.all(NAMESPACES) == []


def test_accounts_and_certificates_are_made_and_restored() -> None:
    model = full()
    both = (ServiceAccountController(), RootCaController("PEM"))
    converge(both, model)
    assert [key_of(a) for a in model.all(SERVICEACCOUNTS)] == [Key(NS, "default")]
    changed = thaw(model.get(CONFIGMAPS, Key(NS, "kube-root-ca.crt")))
    assert changed["data"] == {"ca.crt": "PEM"}
    changed["data"] = {}
    model.update(CONFIGMAPS, changed)
    model.delete(SERVICEACCOUNTS, Key(NS, "default"))
    converge(both, model)
    assert model.get(CONFIGMAPS, Key(NS, "kube-root-ca.crt"))["data"] == {"ca.crt": "PEM"}
    assert len(model.all(SERVICEACCOUNTS)) == 1


def test_nothing_is_made_in_a_terminating_namespace() -> None:
    model = full()
    model.delete(NAMESPACES, KEY)
    for controller in (ServiceAccountController(), RootCaController("PEM")):
        assert plan_once(controller, KEY, model).actions == ()


def nodes(*ranges: str) -> ApiModel:
    model = ApiModel()
    for number, cidr in enumerate(ranges):
        spec = {"podCIDR": cidr, "podCIDRs": [cidr]} if cidr else {}
        model.create(NODES, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": f"n{number}"}, "spec": spec})
    return model


def given(model: ApiModel) -> list[str]:
    return [n["spec"].get("podCIDR", "") for n in model.all(NODES)]


def test_each_node_gets_the_first_free_range() -> None:
    model = nodes("10.64.1.0/24", "", "10.64.0.0/24", "", "")
    converge([NodeIpamController(["10.64.0.0/16"], [24])], model)
    assert given(model) == ["10.64.1.0/24", "10.64.2.0/24", "10.64.0.0/24", "10.64.3.0/24", "10.64.4.0/24"]


def test_ranges_of_another_size_are_respected() -> None:
    model = nodes("10.64.0.0/23", "")
    converge([NodeIpamController(["10.64.0.0/16"], [24])], model)
    assert given(model)[1] == "10.64.2.0/24"


def test_one_range_for_each_family() -> None:
    model = nodes("")
    converge([NodeIpamController(["10.64.0.0/16", "fd00::/48"], [24, 64])], model)
    assert model.all(NODES)[0]["spec"]["podCIDRs"] == ["10.64.0.0/24", "fd00::/64"]


def test_a_range_belongs_to_its_node_while_pods_hold_addresses_in_it() -> None:
    model = nodes("", "", "10.64.1.0/24")
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "ns", "name": "p"}, "spec": {"nodeName": "n1"}}
    model.create(PODS, {**pod, "status": {"podIP": "10.64.0.7", "podIPs": [{"ip": "10.64.0.7"}]}})
    converge([NodeIpamController(["10.64.0.0/16"], [24])], model)
    assert given(model) == ["10.64.2.0/24", "10.64.0.0/24", "10.64.1.0/24"]


def test_a_range_that_was_given_away_is_not_given_twice() -> None:
    model = nodes("", "10.64.0.0/24")
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "ns", "name": "p"}, "spec": {"nodeName": "n0"}}
    model.create(PODS, {**pod, "status": {"podIP": "10.64.0.7", "podIPs": [{"ip": "10.64.0.7"}]}})
    converge([NodeIpamController(["10.64.0.0/16"], [24])], model)
    assert given(model) == ["10.64.1.0/24", "10.64.0.0/24"]


def test_what_became_free_is_given_out_last() -> None:
    """The machine of a deleted Node may still run containers, whose addresses nobody knows any more."""
    model = nodes("", "", "")
    controller = NodeIpamController(["10.64.0.0/22"], [24])
    converge([controller], model)
    for name in ("n0", "n2"):
        model.delete(NODES, Key("", name))
    for name in ("n3", "n4"):
        model.create(NODES, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": {}})
        converge([controller], model)
    assert given(model) == ["10.64.1.0/24", "10.64.3.0/24", "10.64.0.0/24"]


def test_a_node_that_registers_again_gets_back_what_it_had() -> None:
    """Its sandboxes have addresses of that range, also those that no pod has taken yet."""
    model = nodes("", "", "")
    controller = NodeIpamController(["10.64.0.0/16", "fd00::/48"], [24, 64])
    converge([controller], model)
    before = {name_of(n): n["spec"]["podCIDRs"] for n in model.all(NODES)}
    for name in ("n0", "n1"):
        model.delete(NODES, Key("", name))
    for name in ("n1", "n0", "n3"):
        model.create(NODES, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": {}})
    converge([controller], model)
    after = {name_of(n): n["spec"]["podCIDRs"] for n in model.all(NODES)}
    assert after == before | {"n3": ["10.64.3.0/24", "fd00:0:0:3::/64"]}


def test_exhaustion_is_told() -> None:
    model = nodes("", "", "")
    controller = NodeIpamController(["10.64.0.0/23"], [24])
    converge([controller], model)
    assert given(model) == ["10.64.0.0/24", "10.64.1.0/24", ""]
    [record] = plan_once(controller, Key("", "nodes"), model).actions
    assert isinstance(record, Record)
    assert record.message == "Node n2 status is now: CIDRNotAvailable"


def test_a_report_comes_before_the_release() -> None:
    model = ApiModel()
    model.create(NAMESPACES, namespace())
    model.delete(NAMESPACES, KEY)
    first = plan_once(CONTROLLER, KEY, model).actions
    assert [a.subresource for a in first if isinstance(a, Update)] == ["status"]

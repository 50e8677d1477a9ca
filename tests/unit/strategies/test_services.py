from __future__ import annotations

from typing import Any

import pytest

from tests.support.manifests import SERVICE, changed, create_causes, decoded, said, stored, update

PORTS = "spec__ports"


@pytest.mark.parametrize(
    ("given", "field", "value"),
    [
        ({}, "type", "ClusterIP"),
        ({}, "sessionAffinity", "None"),
        ({}, "internalTrafficPolicy", "Cluster"),
        ({}, "ports", [{"port": 80, "protocol": "TCP", "targetPort": 80}]),
        ({PORTS: [{"port": 80, "targetPort": "http", "protocol": "UDP"}]}, "ports",
         [{"port": 80, "protocol": "UDP", "targetPort": "http"}]),
        ({}, "externalTrafficPolicy", None),
        ({"spec__externalIPs": ["1.2.3.4"]}, "externalTrafficPolicy", "Cluster"),
        ({"spec__type": "NodePort"}, "externalTrafficPolicy", "Cluster"),
        ({"spec__type": "LoadBalancer"}, "allocateLoadBalancerNodePorts", True),
        ({"spec__sessionAffinity": "ClientIP"}, "sessionAffinityConfig", {"clientIP": {"timeoutSeconds": 10800}}),
        ({"spec__type": "ExternalName", "spec__externalName": "a.b"}, "internalTrafficPolicy", None),
    ],
)  # fmt: skip
def test_defaults(given: dict[str, Any], field: str, value: Any) -> None:
    assert decoded(changed(SERVICE, **given))["spec"].get(field) == value


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"metadata__name": "1web"}, 'metadata.name: Invalid value: "1web": a DNS-1035 label must consist of'),
        ({PORTS: None}, "spec.ports: Required value"),
        ({PORTS: [{"port": 0}]}, "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive"),
        ({PORTS: [{"port": 80}, {"port": 81, "name": "b"}]}, "spec.ports[0].name: Required value"),
        ({PORTS: [{"port": 80, "name": "a"}, {"port": 81, "name": "a"}]}, 'spec.ports[1].name: Duplicate value: "a"'),
        ({PORTS: [{"port": 80, "name": "a"}, {"port": 80, "name": "b"}]},
         'spec.ports[1]: Duplicate value: {"protocol":"TCP","port":80}'),
        ({PORTS: [{"port": 80, "targetPort": "a_b"}]}, 'spec.ports[0].targetPort: Invalid value: "a_b": must contain'),
        ({PORTS: [{"port": 80, "protocol": "X"}]}, 'spec.ports[0].protocol: Unsupported value: "X": supported values:'),
        ({PORTS: [{"port": 80, "nodePort": 30000}]},
         "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"),
        ({"spec__type": "NodePort", PORTS: [{"port": 80, "name": "a", "nodePort": 30000},
                                            {"port": 81, "name": "b", "nodePort": 30000}]},
         "spec.ports[1].nodePort: Duplicate value: 30000"),
        ({"spec__type": "Magic"}, 'spec.type: Unsupported value: "Magic": supported values: "ClusterIP", "ExternalNam'),
        ({"spec__type": "NodePort", "spec__clusterIP": "None"},
         "spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort services"),
        ({"spec__type": "ExternalName"}, "spec.externalName: Required value"),
        ({"spec__type": "ExternalName", "spec__externalName": "a_b"}, 'spec.externalName: Invalid value: "a_b": a low'),
        ({"spec__sessionAffinity": "Sticky"}, 'spec.sessionAffinity: Unsupported value: "Sticky": supported values: '),
        ({"spec__sessionAffinity": "ClientIP", "spec__sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 0}}},
         "spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 0: must be greater than 0 and less than"),
        ({"spec__clusterIP": "10.0.0.300"}, 'spec.clusterIPs[0]: Invalid value: "10.0.0.300": must be a valid IP addr'),
        ({"spec__clusterIP": "10.0.0.1", "spec__clusterIPs": ["10.0.0.2"]},
         'spec.clusterIPs: Invalid value: ["10.0.0.2"]: first value must match `clusterIP`'),
        ({"spec__clusterIP": "None", "spec__clusterIPs": ["None", "10.0.0.1"]},
         "spec.clusterIPs: Invalid value: [\"None\",\"10.0.0.1\"]: 'None' must be the first and only value"),
        ({"spec__clusterIP": "10.0.0.1", "spec__clusterIPs": ["10.0.0.1", "10.0.0.2"]},
         ('spec.clusterIPs: Invalid value: ["10.0.0.1","10.0.0.2"]: may specify no more than one IP for each IP '
          "family")),
        ({"spec__clusterIP": "10.0.0.1", "spec__ipFamilies": ["IPv6"]},
         'spec.clusterIPs[0]: Invalid value: "10.0.0.1": expected an IPv6 value as indicated by `ipFamilies[0]`'),
        ({"spec__ipFamilies": ["IPv4", "IPv4"]}, 'spec.ipFamilies[1]: Duplicate value: "IPv4"'),
        ({"spec__type": "LoadBalancer", "spec__externalTrafficPolicy": "Local", "spec__healthCheckNodePort": 70000},
         "spec.healthCheckNodePort: Invalid value: 70000: must be between 1 and 65535, inclusive"),
        ({"spec__externalIPs": ["127.0.0.1"]}, 'spec.externalIPs[0]: Invalid value: "127.0.0.1": may not be in the lo'),
        ({"spec__externalTrafficPolicy": "Local"}, 'spec.externalTrafficPolicy: Invalid value: "Local": may only be s'),
        ({"spec__internalTrafficPolicy": "X"}, 'spec.internalTrafficPolicy: Unsupported value: "X": supported values:'),
        ({"spec__loadBalancerSourceRanges": ["10.0.0.0/8"]},
         "spec.LoadBalancerSourceRanges: Forbidden: may only be used when `type` is 'LoadBalancer'"),
        ({"spec__selector": {"a": "b c"}}, 'spec.selector: Invalid value: "b c": a valid label must be'),
    ],
)  # fmt: skip
def test_invalid_services(given: dict[str, Any], message: str) -> None:
    lines = said(create_causes(changed(SERVICE, **given)))
    assert any(line.startswith(message) for line in lines), lines


@pytest.mark.parametrize(
    "given",
    [{}, {"spec__clusterIP": "None"}, {"spec__clusterIP": "None", PORTS: None}, {"spec__type": "NodePort"}],
)
def test_valid_services(given: dict[str, Any]) -> None:
    assert create_causes(changed(SERVICE, **given)) == []


ALLOCATED = changed(
    stored(changed(SERVICE, spec__type="NodePort")),
    spec__clusterIP="10.96.0.7",
    spec__clusterIPs=["10.96.0.7"],
    spec__ports__0__nodePort=30123,
)


def test_what_was_allocated_stays_when_an_update_does_not_mention_it() -> None:
    new, causes = update(ALLOCATED, changed(SERVICE, spec__type="NodePort", spec__selector={"app": "other"}))
    assert causes == []
    assert new["spec"]["clusterIP"] == "10.96.0.7"
    assert new["spec"]["clusterIPs"] == ["10.96.0.7"]
    assert new["spec"]["ports"][0]["nodePort"] == 30123


@pytest.mark.parametrize("change", [{"spec__clusterIPs": ["10.96.0.8"]}, {}], ids=["both fields", "the older field"])
def test_the_address_never_changes(change: dict[str, Any]) -> None:
    _, causes = update(ALLOCATED, changed(ALLOCATED, spec__clusterIP="10.96.0.8", **change))
    assert said(causes) == ['spec.clusterIPs[0]: Invalid value: ["10.96.0.8"]: may not change once set']


def test_becoming_a_cluster_ip_lets_the_node_port_go() -> None:
    new, causes = update(ALLOCATED, changed(ALLOCATED, spec__type="ClusterIP"))
    assert causes == []
    assert "nodePort" not in new["spec"]["ports"][0]
    assert new["spec"]["clusterIP"] == "10.96.0.7"
    assert "externalTrafficPolicy" not in new["spec"]


def test_becoming_an_external_name_lets_the_address_go() -> None:
    new, causes = update(ALLOCATED, changed(ALLOCATED, spec__type="ExternalName", spec__externalName="example.com"))
    assert causes == []
    assert "clusterIP" not in new["spec"]
    assert "clusterIPs" not in new["spec"]


def test_the_status_of_a_load_balancer() -> None:
    old = stored(changed(SERVICE, spec__type="LoadBalancer"))
    ingress = [{"ip": "192.0.2.1"}]
    new, causes = update(old, changed(old, status__loadBalancer__ingress=ingress), "status")
    assert causes == []
    assert new["status"]["loadBalancer"]["ingress"] == [{"ip": "192.0.2.1", "ipMode": "VIP"}]
    old = stored(SERVICE)
    _, causes = update(old, changed(old, status__loadBalancer__ingress=ingress), "status")
    assert said(causes) == [
        "status.loadBalancer.ingress: Forbidden: may only be used when `spec.type` is 'LoadBalancer'"
    ]

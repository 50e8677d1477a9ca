from __future__ import annotations

from typing import Any

import pytest

from controlplane.apiserver.strategies.pod_defaults import image_pull_policy
from controlplane.apiserver.strategies.registry import strategy_for
from mesh.objects import kinds
from tests.support.manifests import POD, changed, create_causes, decoded, said, stored, update

STRATEGY = strategy_for(kinds.PODS)
C0 = "spec__containers__0__"


def at(obj: Any, path: str) -> Any:
    for step in path.split("."):
        obj = obj[int(step)] if step.isdigit() else obj[step]
    return obj


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("spec.restartPolicy", "Always"),
        ("spec.dnsPolicy", "ClusterFirst"),
        ("spec.terminationGracePeriodSeconds", 30),
        ("spec.schedulerName", "default-scheduler"),
        ("spec.securityContext", {}),
        ("spec.enableServiceLinks", True),
        ("spec.containers.0.imagePullPolicy", "IfNotPresent"),
        ("spec.containers.0.terminationMessagePath", "/dev/termination-log"),
        ("spec.containers.0.terminationMessagePolicy", "File"),
        ("spec.containers.0.resources", {}),
    ],
)
def test_defaults(path: str, value: Any) -> None:
    assert at(decoded(POD), path) == value


@pytest.mark.parametrize(
    ("given", "path", "value"),
    [
        ({C0 + "ports": [{"containerPort": 80}]}, "spec.containers.0.ports.0.protocol", "TCP"),
        ({C0 + "livenessProbe": {"httpGet": {"port": 80}}}, "spec.containers.0.livenessProbe",
         {"httpGet": {"port": 80, "path": "/", "scheme": "HTTP"}, "timeoutSeconds": 1, "periodSeconds": 10,
          "successThreshold": 1, "failureThreshold": 3}),
        ({C0 + "readinessProbe": {"tcpSocket": {"port": 80}, "periodSeconds": 5}},
         "spec.containers.0.readinessProbe.periodSeconds", 5),
        ({C0 + "env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]},
         "spec.containers.0.env.0.valueFrom.fieldRef.apiVersion", "v1"),
        ({C0 + "lifecycle": {"preStop": {"httpGet": {"port": 1}}}},
         "spec.containers.0.lifecycle.preStop.httpGet.scheme", "HTTP"),
        ({C0 + "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}},
         "spec.containers.0.resources.requests", {"cpu": "500m", "memory": "1Gi"}),
        ({C0 + "resources": {"requests": {"cpu": "1u"}}}, "spec.containers.0.resources.requests.cpu", "1m"),
        ({"spec__volumes": [{"name": "v"}]}, "spec.volumes.0.emptyDir", {}),
        ({"spec__volumes": [{"name": "v", "secret": {"secretName": "s"}}]}, "spec.volumes.0.secret.defaultMode", 420),
        ({"spec__volumes": [{"name": "v", "configMap": {"name": "c"}}]}, "spec.volumes.0.configMap.defaultMode", 420),
        ({"spec__volumes": [{"name": "v", "hostPath": {"path": "/x"}}]}, "spec.volumes.0.hostPath.type", ""),
        ({"spec__volumes": [{"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}]},
         "spec.volumes.0.projected.sources.0.serviceAccountToken.expirationSeconds", 3600),
        ({"spec__hostNetwork": True, C0 + "ports": [{"containerPort": 80}]}, "spec.containers.0.ports.0.hostPort", 80),
        ({"spec__serviceAccountName": "sa"}, "spec.serviceAccount", "sa"),
        ({"spec__serviceAccount": "sa"}, "spec.serviceAccountName", "sa"),
        ({"spec__initContainers": [{"name": "i", "image": "x"}]}, "spec.initContainers.0.imagePullPolicy", "Always"),
    ],
)  # fmt: skip
def test_defaults_of_parts(given: dict[str, Any], path: str, value: Any) -> None:
    assert at(decoded(changed(POD, **given)), path) == value


def test_defaults_leave_what_is_given() -> None:
    spec = {"restartPolicy": "Never", "dnsPolicy": "Default", "terminationGracePeriodSeconds": 0}
    given = decoded(changed(POD, spec={**POD["spec"], **spec}))
    assert {key: given["spec"][key] for key in spec} == spec


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("nginx", "Always"),
        ("nginx:latest", "Always"),
        ("nginx:1.25", "IfNotPresent"),
        ("registry:5000/nginx", "Always"),
        ("registry:5000/team/nginx:1", "IfNotPresent"),
        ("nginx@sha256:" + "0" * 64, "IfNotPresent"),
        ("nginx:latest@sha256:" + "0" * 64, "Always"),
    ],
)
def test_image_pull_policy(image: str, policy: str) -> None:
    assert image_pull_policy(image) == policy


@pytest.mark.parametrize(
    ("limits", "requests", "qos"),
    [
        ({}, {}, "BestEffort"),
        ({}, {"cpu": "1"}, "Burstable"),
        ({"cpu": "1"}, {}, "Burstable"),
        ({"cpu": "1", "memory": "1Gi"}, {}, "Guaranteed"),
        ({"cpu": "1", "memory": "1Gi"}, {"cpu": "1000m", "memory": "1024Mi"}, "Guaranteed"),
        ({"cpu": "1", "memory": "1Gi"}, {"cpu": "500m"}, "Burstable"),
    ],
)
def test_create_starts_pending_with_its_class_of_service(limits: Any, requests: Any, qos: str) -> None:
    given = changed(POD, **{C0 + "resources": {"limits": limits, "requests": requests}, "status": {"phase": "Running"}})
    created = stored(given)
    assert created["status"] == {"phase": "Pending", "qosClass": qos}
    assert created["metadata"]["generation"] == 1


VOLUME = [{"name": "v", "emptyDir": {}}]
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
RULE = {"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}
INVALID: list[tuple[dict[str, Any], str]] = [
    ({"metadata__name": "Web"}, 'metadata.name: Invalid value: "Web": a lowercase RFC 1123 subdomain must consist of'),
    ({"metadata__name": None}, "metadata.name: Required value: name or generateName is required"),
    ({"metadata__labels": {"a b": "c"}}, 'metadata.labels: Invalid value: "a b": name part must consist of'),
    ({"metadata__labels": {"a": "b c"}}, 'metadata.labels: Invalid value: "b c": a valid label must be an empty'),
    ({"metadata__annotations": {"a": "x" * 300_000}}, "metadata.annotations: Too long: may not be more than"),
    ({"spec__containers": []}, "spec.containers: Required value"),
    ({C0 + "name": "Web"}, 'spec.containers[0].name: Invalid value: "Web": a lowercase RFC 1123 label must consist of'),
    ({C0 + "image": None}, "spec.containers[0].image: Required value"),
    ({C0 + "image": " x"}, 'spec.containers[0].image: Invalid value: " x": must not have leading or trailing'),
    ({"spec__containers": [{"name": "a", "image": "x"}] * 2}, 'spec.containers[1].name: Duplicate value: "a"'),
    ({C0 + "imagePullPolicy": "Sometimes"}, ('spec.containers[0].imagePullPolicy: Unsupported value: "Sometimes": '
     'supported values: "Always", "IfNotPresent", "Never"')),
    ({C0 + "ports": [{"containerPort": 0}]}, "spec.containers[0].ports[0].containerPort: Required value"),
    ({C0 + "ports": [{"containerPort": 70000}]},
     "spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive"),
    ({C0 + "ports": [{"containerPort": 80, "protocol": "ICMP"}]}, ('spec.containers[0].ports[0].protocol: '
     'Unsupported value: "ICMP": supported values: "SCTP", "TCP", "UDP"')),
    ({C0 + "ports": [{"containerPort": 80, "name": "p"}, {"containerPort": 81, "name": "p"}]},
     'spec.containers[0].ports[1].name: Duplicate value: "p"'),
    ({C0 + "ports": [{"containerPort": 80, "hostPort": 80}, {"containerPort": 81, "hostPort": 80}]},
     'spec.containers[0].ports[1].hostPort: Duplicate value: "TCP//80"'),
    ({C0 + "env": [{"name": ""}]}, "spec.containers[0].env[0].name: Required value"),
    ({C0 + "env": [{"name": "A=B"}]}, 'spec.containers[0].env[0].name: Invalid value: "A=B": a valid environment'),
    ({C0 + "env": [{"name": "A", "value": "x", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]},
     'spec.containers[0].env[0].valueFrom: Invalid value: "": may not be specified when `value` is not empty'),
    ({C0 + "env": [{"name": "A", "valueFrom": {}}]}, 'spec.containers[0].env[0].valueFrom: Invalid value: "": must'),
    ({C0 + "env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.x"}}}]},
     ('spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Unsupported value: "spec.x": supported values: '
     '"metadata.name"')),
    ({C0 + "env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "c"}}}]},
     "spec.containers[0].env[0].valueFrom.configMapKeyRef.key: Required value"),
    ({C0 + "env": [{"name": "A", "valueFrom": {"resourceFieldRef": {"resource": "limits.gpu"}}}]},
     'spec.containers[0].env[0].valueFrom.resourceFieldRef.resource: Unsupported value: "limits.gpu"'),
    ({C0 + "envFrom": [{}]},
     'spec.containers[0].envFrom: Invalid value: "": must specify one of: `configMapRef` or `secretRef`'),
    ({C0 + "volumeMounts": [{"name": "v", "mountPath": "/x"}]},
     'spec.containers[0].volumeMounts[0].name: Not found: "v"'),
    ({"spec__volumes": VOLUME, C0 + "volumeMounts": [{"name": "v", "mountPath": "/x"}] * 2},
     'spec.containers[0].volumeMounts[1].mountPath: Invalid value: "/x": must be unique'),
    ({"spec__volumes": VOLUME, C0 + "volumeMounts": [{"name": "v", "mountPath": "/x", "subPath": "../y"}]},
     'spec.containers[0].volumeMounts.subPath: Invalid value: "../y": must not contain \'..\''),
    ({C0 + "livenessProbe": {}}, "spec.containers[0].livenessProbe: Required value: must specify a handler type"),
    ({C0 + "livenessProbe": {"exec": {"command": ["a"]}, "tcpSocket": {"port": 1}}},
     "spec.containers[0].livenessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type"),
    ({C0 + "livenessProbe": {"exec": {"command": ["a"]}, "successThreshold": 2}},
     "spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1"),
    ({C0 + "readinessProbe": {"httpGet": {"port": "a_b"}}},
     'spec.containers[0].readinessProbe.httpGet.port: Invalid value: "a_b": must contain only alpha-numeric'),
    ({C0 + "readinessProbe": {"exec": {"command": ["a"]}, "periodSeconds": -1}},
     "spec.containers[0].readinessProbe.periodSeconds: Invalid value: -1: must be greater than or equal to 0"),
    ({C0 + "lifecycle": {"preStop": {"sleep": {"seconds": 31}}}}, ("spec.containers[0].lifecycle.preStop.sleep: "
     "Invalid value: 31: must be non-negative and less than terminationGracePeriodSeconds (30)")),
    ({C0 + "resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}},
     'spec.containers[0].resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1'),
    ({C0 + "resources": {"requests": {"cpu": "-1"}}},
     'spec.containers[0].resources.requests[cpu]: Invalid value: "-1": must be greater than or equal to 0'),
    ({C0 + "resources": {"requests": {"gpu": "1"}}},
     'spec.containers[0].resources.requests[gpu]: Invalid value: "gpu": must be a standard resource type or fully'),
    ({C0 + "securityContext": {"runAsUser": -1}},
     "spec.containers[0].securityContext.runAsUser: Invalid value: -1: must be between 0 and 4294967295, inclusive"),
    ({"spec__securityContext": {"sysctls": [{"name": "Net.core", "value": "1"}]}},
     'spec.securityContext.sysctls[0].name: Invalid value: "Net.core": must have at most 253 characters and match regex'),
    ({"spec__securityContext": {"sysctls": [{"name": "net.core\n", "value": "1"}]}},
     'spec.securityContext.sysctls[0].name: Invalid value: "net.core\\n": must have at most 253 characters and match rege'),
    ({"spec__hostNetwork": True, "spec__securityContext": {"sysctls": [{"name": "net/core/somaxconn", "value": "1"}]}},
     "spec.securityContext.sysctls[0].name: Invalid value: \"net/core/somaxconn\": may not be specified when 'host"),
    ({"spec__hostIPC": True, "spec__securityContext": {"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}},
     "spec.securityContext.sysctls[0].name: Invalid value: \"kernel.msgmax\": may not be specified when 'hostIPC' is true"),
    ({"spec__initContainers": [{"name": "web", "image": "x"}]}, 'spec.initContainers[0].name: Duplicate value: "web"'),
    ({"spec__initContainers": [{"name": "i", "image": "x", "livenessProbe": {"exec": {"command": ["a"]}}}]},
     "spec.initContainers[0].livenessProbe: Forbidden: may not be set for init containers without"),
    ({"spec__ephemeralContainers": [{"name": "d", "image": "x"}]}, "spec.ephemeralContainers: Forbidden: cannot be"),
    ({"spec__volumes": [*VOLUME, *VOLUME]}, 'spec.volumes[1].name: Duplicate value: "v"'),
    ({"spec__volumes": [{"name": "v", "emptyDir": {}, "hostPath": {"path": "/"}}]},
     "spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type"),
    ({"spec__volumes": [{"name": "v", "secret": {}}]}, "spec.volumes[0].secret.secretName: Required value"),
    ({"spec__volumes": [{"name": "v", "configMap": {"name": "c", "defaultMode": 512}}]}, ("spec.volumes[0].configMap."
     "defaultMode: Invalid value: 512: must be a number between 0 and 0777 (octal), both inclusive")),
    ({"spec__volumes": [{"name": "v", "configMap": {"name": "c", "items": [{"key": "k", "path": "/a"}]}}]},
     'spec.volumes[0].configMap.items[0].path: Invalid value: "/a": must be a relative path'),
    ({"spec__volumes": [{"name": "v", "hostPath": {"path": "/x", "type": "Pipe"}}]},
     'spec.volumes[0].hostPath.type: Unsupported value: "Pipe": supported values: ""'),
    ({"spec__restartPolicy": "Maybe"}, ('spec.restartPolicy: Unsupported value: "Maybe": supported values: "Always", '
     '"OnFailure", "Never"')),
    ({"spec__dnsPolicy": "None"}, "spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"),
    ({"spec__dnsConfig": {"nameservers": ["x"]}},
     'spec.dnsConfig.nameservers[0]: Invalid value: "x": must be a valid IP'),
    ({"spec__nodeSelector": {"a": "b c"}}, 'spec.nodeSelector: Invalid value: "b c": a valid label must be'),
    ({"spec__tolerations": [{"operator": "Equal", "value": "x"}]},
     ('spec.tolerations[0].operator: Invalid value: "Equal": '
     'operator must be Exists when `key` is empty, which means "match all values and all keys"')),
    ({"spec__tolerations": [{"key": "a", "operator": "Exists", "tolerationSeconds": 1}]}, ("spec.tolerations[0]."
     "effect: Invalid value: \"\": effect must be 'NoExecute' when `tolerationSeconds` is set")),
    ({"spec__activeDeadlineSeconds": 0},
     "spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive"),
    ({"spec__hostNetwork": True, C0 + "ports": [{"containerPort": 80, "hostPort": 81}]}, ("spec.containers[0].ports[0]."
     "hostPort: Invalid value: 81: must match `containerPort` when `hostNetwork` is true")),
    ({"spec__affinity": {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": []}}}},
     f"spec.affinity.nodeAffinity.{REQUIRED}.nodeSelectorTerms: Required value: must have at least one node selector"),
    ({"spec__topologySpreadConstraints": [{"maxSkew": 0, "topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule"}]},
     "spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero"),
    ({C0 + "volumeMounts": [{"name": "v", "mountPath": "/x"}], C0 + "volumeDevices": [{"name": "v", "devicePath": "/x"}],
      "spec__volumes": VOLUME},
     'spec.containers[0].volumeMounts[0].name: Invalid value: "v": must not already exist in volumeDevices'),
    ({C0 + "volumeDevices": [{"name": "v", "devicePath": "/x"}], "spec__volumes": VOLUME},
     ('spec.containers[0].volumeDevices[0].name: Invalid value: "v": can only use volume source type of '
      "PersistentVolumeClaim or Ephemeral for block mode")),
    ({C0 + "volumeMounts": [{"name": "v", "mountPath": "/x", "recursiveReadOnly": "Enabled"}], "spec__volumes": VOLUME},
     "spec.containers[0].volumeMounts.recursiveReadOnly: Forbidden: may only be specified when readOnly is true"),
    ({"spec__initContainers": [{"name": "i", "image": "x",
      "resizePolicy": [{"resourceName": "cpu", "restartPolicy": "NotRequired"}]}]},
     ('spec.initContainers[0].resizePolicy: Invalid value: [{"resourceName":"cpu","restartPolicy":"NotRequired"}]: '
      "must not be set for init containers")),
    ({"spec__shareProcessNamespace": True, "spec__hostPID": True}, ("spec.securityContext.shareProcessNamespace: "
     "Invalid value: true: ShareProcessNamespace and HostPID cannot both be enabled")),
    ({"spec__securityContext": {"sysctls": [{"name": "Net", "value": "1"}]}},
     'spec.securityContext.sysctls[0].name: Invalid value: "Net": must have at most 253 characters and match regex ^('),
    ({"spec__securityContext": {"sysctls": [{"name": "net.core.x", "value": "1"}]}, "spec__hostNetwork": True},
     ("spec.securityContext.sysctls[0].name: Invalid value: \"net.core.x\": may not be specified when 'hostNetwork' "
      "is true")),
    ({"spec__securityContext": {"supplementalGroupsPolicy": "All"}}, ('spec.securityContext.supplementalGroupsPolicy: '
     'Unsupported value: "All": supported values: "Merge", "Strict"')),
    ({"spec__securityContext": {"seccompProfile": {"type": "Localhost", "localhostProfile": "/x"}}},
     'spec.securityContext.seccompProfile.localhostProfile: Invalid value: "/x": must be a relative path'),
    ({C0 + "securityContext": {"appArmorProfile": {"type": "Localhost"}}},
     ("spec.containers[0].securityContext.appArmorProfile.localhostProfile: Required value: must be set when AppArmor "
      "type is Localhost")),
    ({"spec__os": {"name": "plan9"}}, 'spec.os: Unsupported value: "plan9": supported values: "linux", "windows"'),
    ({"spec__os": {"name": "windows"}, C0 + "securityContext": {"runAsUser": 1}},
     "spec.containers[0].securityContext.runAsUser: Forbidden: cannot be set for a windows pod"),
    ({"spec__overhead": {"cpu": "-1"}},
     'spec.overhead.limits[cpu]: Invalid value: "-1": must be greater than or equal to 0'),
    ({"metadata__annotations": {"controller.kubernetes.io/pod-deletion-cost": "+5"}},
     ('metadata.annotations[controller.kubernetes.io/pod-deletion-cost]: Invalid value: "+5": '
      "must be a 32bit integer")),
    ({C0 + "restartPolicy": "Maybe"}, ('spec.containers[0].restartPolicy: Unsupported value: "Maybe": supported values: '
     '"Always", "Never", "OnFailure"')),
    ({C0 + "restartPolicyRules": [RULE]},
     "spec.containers[0].restartPolicy: Required value: must specify restartPolicy when restart rules are used"),
    ({C0 + "restartPolicy": "Never", C0 + "restartPolicyRules": [{**RULE, "action": "RestartAllContainers"}]},
     ('spec.containers[0].restartPolicyRules[0].action: Unsupported value: "RestartAllContainers": supported values: '
      '"Restart"')),
    ({C0 + "restartPolicy": "Never", C0 + "restartPolicyRules": [{"action": "Restart"}]},
     "spec.containers[0].restartPolicyRules[0].exitCodes: Required value: must be specified"),
    ({C0 + "restartPolicy": "Never", C0 + "restartPolicyRules": [RULE] * 21},
     "spec.containers[0].restartPolicyRules: Too many: 21: must have at most 20 items"),
    ({"spec__hostname": "A"}, 'spec.hostname: Invalid value: "A": a lowercase RFC 1123 label must consist of'),
]  # fmt: skip


@pytest.mark.parametrize(("given", "message"), INVALID)
def test_invalid_pods(given: dict[str, Any], message: str) -> None:
    lines = said(create_causes(changed(POD, **given)))
    assert any(line.startswith(message) for line in lines), lines


def test_several_errors_come_in_the_order_of_the_checks() -> None:
    wrong = changed(
        POD,
        spec__hostname="A",
        spec__priorityClassName="B_",
        spec__nodeName="C_",
        spec__activeDeadlineSeconds=0,
        spec__tolerations=[{"operator": "Equal"}],
        spec__preemptionPolicy="Maybe",
    )
    assert [line.partition(":")[0] for line in said(create_causes(wrong))] == [
        "spec.nodeName",
        "spec.activeDeadlineSeconds",
        "spec.hostname",
        "spec.tolerations[0].operator",
        "spec.priorityClassName",
        "spec.preemptionPolicy",
    ]


def test_a_plain_pod_is_valid() -> None:
    assert create_causes(POD) == []


OLD = stored(changed(POD, spec__nodeName="n1"))


@pytest.mark.parametrize(
    "change",
    [
        {C0 + "image": "nginx:1.26"},
        {"spec__activeDeadlineSeconds": 60},
        {"spec__tolerations": [{"key": "a", "operator": "Exists"}]},
        {"metadata__labels": {"a": "b"}},
    ],
)
def test_what_an_update_may_change(change: dict[str, Any]) -> None:
    new, causes = update(OLD, changed(OLD, **change))
    assert causes == []
    assert new["metadata"]["generation"] == (1 if "metadata__labels" in change else 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"spec__nodeName": "n2"}, ("spec: Forbidden: pod updates may not change fields other than "
         "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,"
         "`spec.tolerations` (only additions to existing "
         "tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)\n"
         '  spec.nodeName: "n1" -> "n2"')),
        ({C0 + "command": ["x"]}, "spec: Forbidden: pod updates may not change fields other than"),
        ({"spec__containers": [*OLD["spec"]["containers"], {"name": "b", "image": "x"}]},
         "spec.containers: Forbidden: pod updates may not add or remove containers"),
        ({"metadata__name": "other"}, 'metadata.name: Invalid value: "other": field is immutable'),
        ({"metadata__uid": "x"}, 'metadata.uid: Invalid value: "x": field is immutable'),
    ],
)  # fmt: skip
def test_what_an_update_may_not_change(change: dict[str, Any], message: str) -> None:
    _, causes = update(OLD, changed(OLD, **change))
    assert any(line.startswith(message) for line in said(causes)), said(causes)


def test_tolerations_only_grow() -> None:
    old = stored(changed(POD, spec__tolerations=[{"key": "a", "operator": "Exists"}]))
    _, causes = update(old, changed(old, spec__tolerations=None))
    assert said(causes) == [
        "spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds"
    ]


def test_an_update_keeps_the_status_and_a_status_write_keeps_the_spec() -> None:
    old = changed(OLD, status__phase="Running")
    new, causes = update(old, changed(old, status__phase="Failed", spec__activeDeadlineSeconds=9))
    assert causes == []
    assert new["status"]["phase"] == "Running"
    new, causes = update(old, changed(old, status__phase="Failed", spec__activeDeadlineSeconds=9), "status")
    assert causes == []
    assert new["status"]["phase"] == "Failed"
    assert "activeDeadlineSeconds" not in new["spec"]
    assert new["metadata"]["generation"] == 1


def test_a_terminated_container_that_may_not_restart_stays_terminated() -> None:
    done = [{"name": "web", "state": {"terminated": {"exitCode": 0}}, "image": "", "imageID": "", "ready": False,
             "restartCount": 0}]  # fmt: skip
    old = changed(stored(changed(POD, spec__restartPolicy="Never")), status__containerStatuses=done)
    _, causes = update(old, changed(old, status__containerStatuses__0__state={"running": {}}), "status")
    assert said(causes) == [
        "status.containerStatuses[0].state: Forbidden: may not be transitioned to non-terminated state"
    ]


def test_ephemeral_containers_are_added_through_their_subresource() -> None:
    debug = [{"name": "debug", "image": "busybox"}]
    new, causes = update(OLD, changed(OLD, spec__ephemeralContainers=debug, spec__nodeName="n2"), "ephemeralcontainers")
    assert causes == []
    assert new["spec"]["nodeName"] == "n1"
    _, causes = update(new, changed(new, spec__ephemeralContainers=None), "ephemeralcontainers")
    assert said(causes)[0].startswith(
        'spec.ephemeralContainers: Forbidden: existing ephemeral containers "debug" may not'
    )


def test_resize_changes_resources_and_nothing_else() -> None:
    old = stored(changed(POD, **{C0 + "resources": {"requests": {"cpu": "1"}}}))
    asked = changed(old, **{C0 + "resources": {"requests": {"cpu": "2"}}, C0 + "image": "other"})
    new, causes = update(old, asked, "resize")
    assert causes == []
    assert new["spec"]["containers"][0]["resources"] == {"requests": {"cpu": "2"}}
    assert new["spec"]["containers"][0]["image"] == "nginx:1.25"
    _, causes = update(old, changed(old, **{C0 + "resources": {"requests": {"memory": "1Gi"}}}), "resize")
    assert "spec.containers[0].resources.requests: Forbidden: resource requests cannot be removed" in said(causes)


def test_a_pod_that_a_node_has_is_not_resized() -> None:
    old = stored(changed(POD, **{C0 + "resources": {"requests": {"cpu": "1"}}, "spec__nodeName": "n1"}))
    _, causes = update(old, changed(old, **{C0 + "resources": {"requests": {"cpu": "2"}}}), "resize")
    assert said(causes) == ["spec: Forbidden: Pod running on node without support for resize"]


@pytest.mark.parametrize(
    ("change", "requested", "seconds"),
    [
        ({"spec__nodeName": "n"}, None, 30),
        ({"spec__nodeName": "n"}, 5, 5),
        ({"spec__nodeName": "n"}, 0, 0),
        ({"spec__nodeName": "n"}, -1, 1),
        ({}, 30, 0),
        ({"spec__nodeName": "n", "status__phase": "Succeeded"}, 30, 0),
        ({"spec__nodeName": "n", "spec__terminationGracePeriodSeconds": 120}, None, 120),
    ],
)
def test_grace_period(change: dict[str, Any], requested: int | None, seconds: int) -> None:
    assert STRATEGY.grace_period is not None
    assert STRATEGY.grace_period(changed(stored(POD), **change), requested) == seconds


@pytest.mark.parametrize(
    ("given", "warning"),
    [
        ({"metadata__name": "a.b"}, "metadata.name: this is used in the Pod's hostname, which can result in"),
        ({C0 + "env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]},
         'spec.containers[0].env[1]: hides previous definition of "A", which may be dropped when using apply'),
        ({C0 + "ports": [{"containerPort": 80}, {"containerPort": 80}]},
         "spec.containers[0].ports[1]: duplicate port definition with spec.containers[0].ports[0]"),
        ({C0 + "resources": {"limits": {"memory": "100m"}}},
         'spec.containers[0].resources.limits[memory]: fractional byte value "100m" is invalid, must be an integer'),
        ({"spec__terminationGracePeriodSeconds": -1}, "spec.terminationGracePeriodSeconds: must be >= 0; negative"),
        ({"spec__imagePullSecrets": [{"name": ""}]}, 'spec.imagePullSecrets[0]: invalid empty name ""'),
    ],
)  # fmt: skip
def test_warnings(given: dict[str, Any], warning: str) -> None:
    pod = stored(changed(POD, **given))
    assert create_causes(pod) == []
    assert STRATEGY.warnings(pod)[0].startswith(warning)


def test_a_plain_pod_earns_no_warning() -> None:
    assert STRATEGY.warnings(stored(POD)) == []


def test_field_selectors() -> None:
    running = changed(OLD, status__phase="Running")
    matches = STRATEGY.field_predicate(STRATEGY.field_selector("spec.nodeName=n1,status.phase!=Failed"))
    assert matches(running)
    assert not matches(changed(running, spec__nodeName="n2"))
    assert STRATEGY.selectable_fields(running)["status.phase"] == "Running"

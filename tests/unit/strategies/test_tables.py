from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from controlplane.apiserver.tables.table import table
from mesh.errors import BadRequest
from mesh.objects import kinds
from mesh.objects.duration import human, since
from tests.support.manifests import (
    CONFIGMAP,
    DEPLOYMENT,
    ENDPOINTS,
    ENDPOINTSLICE,
    EVENT,
    LEASE,
    NAMESPACE,
    NODE,
    POD,
    REPLICASET,
    SECRET,
    SERVICE,
    changed,
    stored,
)

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
CREATED = "2026-01-01T11:58:20Z"  # 100 seconds before NOW
MINUTES_AGO = "2026-01-01T11:55:00Z"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "<invalid>"), (-1, "0s"), (0, "0s"), (119, "119s"),
        (120, "2m"), (200, "3m20s"), (600, "10m"), (10799, "179m"),
        (3 * 3600, "3h"), (5 * 3600 + 600, "5h10m"), (8 * 3600, "8h"), (47 * 3600, "47h"), (48 * 3600, "2d"),
        (76 * 3600, "3d4h"), (8 * 86400, "8d"), (400 * 86400, "400d"), (730 * 86400, "2y"), (740 * 86400, "2y10d"),
        (3000 * 86400, "8y"),
    ],
)  # fmt: skip
def test_durations(seconds: int, text: str) -> None:
    assert human(timedelta(seconds=seconds)) == text


def test_a_missing_time_is_unknown() -> None:
    assert since(None, NOW) == "<unknown>"


def cells(obj: dict[str, Any], **changes: Any) -> list[Any]:
    resource = kinds.by_kind(obj["apiVersion"], obj["kind"])
    assert resource is not None
    created = changed(stored(obj), metadata__creationTimestamp=CREATED, **changes)
    made = table(resource, [created], NOW)
    row: list[Any] = made["rows"][0]["cells"]
    assert len(row) == len(made["columnDefinitions"])
    return row


def status(name: str = "web", ready: bool = False, restarts: int = 0, **state: Any) -> dict[str, Any]:
    last = state.pop("last", None)
    return {"name": name, "ready": ready, "restartCount": restarts, "state": state,
            **({"lastState": {"terminated": {"finishedAt": last}}} if last else {})}  # fmt: skip


RUNNING = status(ready=True, running={})
BACKOFF = {"reason": "CrashLoopBackOff"}
INIT = {"spec__initContainers": [{"name": "i", "image": "x"}, {"name": "j", "image": "x"}]}
SIDECAR = {"spec__initContainers": [{"name": "s", "image": "x", "restartPolicy": "Always"}]}
INITIALIZED = [{"type": "Initialized", "status": "True"}]


@pytest.mark.parametrize(
    ("given", "ready", "word", "restarts"),
    [
        ({}, "0/1", "Pending", "0"),
        ({"status__phase": "Running", "status__containerStatuses": [RUNNING]}, "1/1", "Running", "0"),
        ({"status__containerStatuses": [status(waiting={"reason": "ContainerCreating"})]},
         "0/1", "ContainerCreating", "0"),
        ({"status__containerStatuses": [status(waiting={"reason": "ImagePullBackOff"})]},
         "0/1", "ImagePullBackOff", "0"),
        ({"status__containerStatuses": [status(waiting=BACKOFF, restarts=3, last=MINUTES_AGO)]},
         "0/1", "CrashLoopBackOff", "3 (5m ago)"),
        ({"status__containerStatuses": [status(running={}, ready=True, restarts=2)]}, "1/1", "Pending", "2"),
        ({"status__phase": "Succeeded", "status__containerStatuses":
          [status(terminated={"exitCode": 0, "reason": "Completed"})]}, "0/1", "Completed", "0"),
        ({"status__phase": "Failed", "status__containerStatuses": [status(terminated={"exitCode": 7})]},
         "0/1", "ExitCode:7", "0"),
        ({"status__phase": "Failed", "status__containerStatuses": [status(terminated={"exitCode": 137, "signal": 9})]},
         "0/1", "Signal:9", "0"),
        ({"status__containerStatuses": [status(terminated={"exitCode": 137, "reason": "OOMKilled"})]},
         "0/1", "OOMKilled", "0"),
        ({"status__phase": "Failed", "status__reason": "Evicted"}, "0/1", "Evicted", "0"),
        ({"status__conditions": [{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]},
         "0/1", "SchedulingGated", "0"),
        ({"metadata__deletionTimestamp": CREATED, "status__phase": "Running", "status__containerStatuses": [RUNNING]},
         "1/1", "Terminating", "0"),
        ({"metadata__deletionTimestamp": CREATED, "status__reason": "NodeLost"}, "0/1", "Unknown", "0"),
        ({"metadata__deletionTimestamp": CREATED, "status__phase": "Succeeded"}, "0/1", "Succeeded", "0"),
        ({**INIT, "status__initContainerStatuses": [status("i", running={})]}, "0/1", "Init:0/2", "0"),
        ({**INIT, "status__initContainerStatuses":
          [status("i", terminated={"exitCode": 0}), status("j", waiting={"reason": "PodInitializing"})]},
         "0/1", "Init:1/2", "0"),
        ({**INIT, "status__initContainerStatuses": [status("i", waiting=BACKOFF, restarts=4, last=MINUTES_AGO)]},
         "0/1", "Init:CrashLoopBackOff", "4 (5m ago)"),
        ({**INIT, "status__initContainerStatuses": [status("i", terminated={"exitCode": 1, "reason": "Error"})]},
         "0/1", "Init:Error", "0"),
        ({**INIT, "status__initContainerStatuses": [status("i", terminated={"exitCode": 1})]},
         "0/1", "Init:ExitCode:1", "0"),
        ({**INIT, "status__phase": "Running", "status__initContainerStatuses":
          [status("i", terminated={"exitCode": 0}, restarts=5), status("j", terminated={"exitCode": 0})],
          "status__containerStatuses": [RUNNING]}, "1/1", "Running", "0"),
        ({**SIDECAR, "status__phase": "Running", "status__conditions": INITIALIZED, "status__initContainerStatuses":
          [{**status("s", ready=True, running={}, restarts=1), "started": True}],
          "status__containerStatuses": [RUNNING]}, "2/2", "Running", "1"),
    ],
)  # fmt: skip
def test_pods(given: dict[str, Any], ready: str, word: str, restarts: str) -> None:
    row = cells(POD, **given)
    assert row[:5] == ["web", ready, word, restarts, "100s"]


def test_a_pod_with_one_container_done_and_one_running() -> None:
    two = changed(POD, spec__containers=[{"name": "a", "image": "x"}, {"name": "b", "image": "x"}])
    done, running = status("a", terminated={"exitCode": 0, "reason": "Completed"}), status("b", ready=True, running={})
    given: dict[str, Any] = {"status__phase": "Running", "status__containerStatuses": [done, running]}
    assert cells(two, **given)[1:3] == ["1/2", "NotReady"]
    given["status__conditions"] = [{"type": "Ready", "status": "True"}]
    assert cells(two, **given)[1:3] == ["1/2", "Running"]


def test_wide_columns_of_pods() -> None:
    assert cells(POD)[5:] == ["<none>", "<none>", "<none>", "<none>"]
    row = cells(
        POD,
        spec__nodeName="n1",
        spec__readinessGates=[{"conditionType": "example.com/a"}, {"conditionType": "example.com/b"}],
        status__podIPs=[{"ip": "10.64.0.2"}],
        status__nominatedNodeName="n2",
        status__conditions=[{"type": "example.com/a", "status": "True"}],
    )
    assert row[5:] == ["10.64.0.2", "n1", "n2", "1/2"]


READY = [{"type": "Ready", "status": "True"}]
NODE_INFO = {
    "kubeletVersion": "v1.36.0-covey", "osImage": "Debian", "kernelVersion": "6.1", "containerRuntimeVersion": "docker://20"
}  # fmt: skip


@pytest.mark.parametrize(
    ("obj", "given", "row"),
    [
        (NODE, {}, ["n1", "Unknown", "<none>", "100s", "", "<none>", "<none>", "<unknown>", "<unknown>", "<unknown>"]),
        (NODE, {"status__conditions": READY, "spec__unschedulable": True, "status__nodeInfo": NODE_INFO,
                "metadata__labels": {"node-role.kubernetes.io/worker": "", "node-role.kubernetes.io/control-plane": ""},
                "status__addresses": [{"type": "InternalIP", "address": "10.0.0.1"}]},
         ["n1", "Ready,SchedulingDisabled", "control-plane,worker", "100s", "v1.36.0-covey", "10.0.0.1", "<none>",
          "Debian", "6.1", "docker://20"]),
        (NODE, {"status__conditions": [{"type": "Ready", "status": "Unknown"}]},
         ["n1", "NotReady", "<none>", "100s", "", "<none>", "<none>", "<unknown>", "<unknown>", "<unknown>"]),
        (DEPLOYMENT,
         {"spec__replicas": 3, "status": {"readyReplicas": 2, "updatedReplicas": 1, "availableReplicas": 2}},
         ["web", "2/3", 1, 2, "100s", "web", "nginx:1.25", "app=web"]),
        (REPLICASET, {"status": {"replicas": 1}}, ["web", 1, 1, 0, "100s", "web", "nginx:1.25", "app=web"]),
        (SERVICE, {"spec__clusterIP": "10.96.0.1"},
         ["web", "ClusterIP", "10.96.0.1", "<none>", "80/TCP", "100s", "app=web"]),
        (SERVICE, {"spec__type": "NodePort", "spec__ports__0__nodePort": 30080, "spec__clusterIP": "10.96.0.1"},
         ["web", "NodePort", "10.96.0.1", "<none>", "80:30080/TCP", "100s", "app=web"]),
        (SERVICE, {"spec__type": "LoadBalancer"},
         ["web", "LoadBalancer", "<none>", "<pending>", "80/TCP", "100s", "app=web"]),
        (SERVICE, {"spec__type": "LoadBalancer", "status__loadBalancer__ingress": [{"ip": "192.0.2.1"}]},
         ["web", "LoadBalancer", "<none>", "192.0.2.1", "80/TCP", "100s", "app=web"]),
        (SERVICE, {"spec__type": "ExternalName", "spec__externalName": "example.com", "spec__selector": None,
                   "spec__ports": []}, ["web", "ExternalName", "<none>", "example.com", "<none>", "100s", "<none>"]),
        (SERVICE, {"spec__externalIPs": ["192.0.2.1", "192.0.2.2"]},
         ["web", "ClusterIP", "<none>", "192.0.2.1,192.0.2.2", "80/TCP", "100s", "app=web"]),
        (ENDPOINTS, {}, ["web", "10.64.0.2:80", "100s"]),
        (ENDPOINTS, {"subsets": []}, ["web", "<none>", "100s"]),
        (ENDPOINTS, {"subsets": [{"addresses": [{"ip": f"10.0.0.{n}"} for n in range(5)], "ports": [{"port": 80}]}]},
         ["web", "10.0.0.0:80,10.0.0.1:80,10.0.0.2:80 + 2 more...", "100s"]),
        (ENDPOINTSLICE, {}, ["web-1", "IPv4", "80", "10.64.0.2", "100s"]),
        (ENDPOINTSLICE, {"endpoints": [], "ports": []}, ["web-1", "IPv4", "<unset>", "<unset>", "100s"]),
        (NAMESPACE, {}, ["team", "Active", "100s"]),
        (CONFIGMAP, {"binaryData": {"b": ""}}, ["c", 2, "100s"]),
        (SECRET, {}, ["s", "Opaque", 1, "100s"]),
        (LEASE, {}, ["n1", "n1", "100s"]),
        (EVENT, {"firstTimestamp": MINUTES_AGO, "lastTimestamp": CREATED, "count": 4,
                 "source": {"component": "agent", "host": "n1"}},
         ["100s", "Normal", "Started", "pod/web", "", "agent, n1", "Started container web", "5m", 4, "web.1"]),
        (EVENT, {"eventTime": "2026-01-01T11:59:30.000000Z", "reportingComponent": "scheduler"},
         ["30s", "Normal", "Started", "pod/web", "", "scheduler", "Started container web", "30s", 1, "web.1"]),
    ],
)  # fmt: skip
def test_rows(obj: dict[str, Any], given: dict[str, Any], row: list[Any]) -> None:
    assert cells(obj, **given) == row


@pytest.mark.parametrize(
    ("resource", "shown", "wide"),
    [
        (kinds.PODS, "Name Ready Status Restarts Age", "IP Node Nominated_Node Readiness_Gates"),
        (kinds.DEPLOYMENTS, "Name Ready Up-to-date Available Age", "Containers Images Selector"),
        (kinds.REPLICASETS, "Name Desired Current Ready Age", "Containers Images Selector"),
        (kinds.SERVICES, "Name Type Cluster-IP External-IP Port(s) Age", "Selector"),
        (kinds.NODES, "Name Status Roles Age Version",
         "Internal-IP External-IP OS-Image Kernel-Version Container-Runtime"),
        (kinds.EVENTS, "Last_Seen Type Reason Object Message", "Subobject Source First_Seen Count Name"),
        (kinds.ENDPOINTSLICES, "Name AddressType Ports Endpoints Age", ""),
        (kinds.ENDPOINTS, "Name Endpoints Age", ""),
        (kinds.NAMESPACES, "Name Status Age", ""),
        (kinds.CONFIGMAPS, "Name Data Age", ""),
        (kinds.SECRETS, "Name Type Data Age", ""),
        (kinds.SERVICEACCOUNTS, "Name Secrets Age", ""),
        (kinds.LEASES, "Name Holder Age", ""),
    ],
)  # fmt: skip
def test_columns(resource: kinds.Resource, shown: str, wide: str) -> None:
    definitions = table(resource, [], NOW)["columnDefinitions"]
    for priority, expected in ((0, shown), (1, wide)):
        named = [d["name"].replace(" ", "_") for d in definitions if d["priority"] == priority]
        assert " ".join(named) == expected


def test_finished_pods_carry_a_condition_that_hides_them() -> None:
    done = changed(stored(POD), status__phase="Succeeded")
    conditions = table(kinds.PODS, [done], NOW)["rows"][0]["conditions"]
    assert conditions == [
        {"type": "Completed", "status": "True", "reason": "Succeeded", "message": "The pod has completed successfully."}
    ]


def test_what_a_row_carries_of_its_object() -> None:
    pod = stored(POD)
    metadata = table(kinds.PODS, [pod], NOW)["rows"][0]["object"]
    assert metadata == {
        "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": pod["metadata"]
    }  # fmt: skip
    assert table(kinds.PODS, [pod], NOW, include_object="Object")["rows"][0]["object"] == pod
    assert table(kinds.PODS, [pod], NOW, include_object="None")["rows"][0]["object"] is None
    assert table(kinds.PODS, [pod], NOW, headers=False)["columnDefinitions"] is None
    with pytest.raises(BadRequest, match="includeObject: Invalid value"):
        table(kinds.PODS, [pod], NOW, include_object="All")

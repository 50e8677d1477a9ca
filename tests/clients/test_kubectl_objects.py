"""kubectl as a user knows it, on objects: get, describe, apply, create, edit, patch, scale, rollout, label, wait."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.clients import Space
from tests.support.cluster import RealCluster, await_

WEB = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - {name: hello, image: "covey/hello:1", ports: [{containerPort: 8080, name: http}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: http}]}
"""


def test_apply_is_created_unchanged_configured(space: Space) -> None:
    assert space.apply(WEB) == "deployment.apps/web created\nservice/web created\n"
    assert space.apply(WEB) == "deployment.apps/web unchanged\nservice/web unchanged\n"
    assert space.apply(WEB.replace("replicas: 2", "replicas: 1")).startswith("deployment.apps/web configured\n")
    assert space.get("deployment", "web")["spec"]["replicas"] == 1
    assert space.kubectl("diff", "-f", "-", text=WEB.replace("replicas: 2", "replicas: 1")) == ""
    told = space.kubectl("delete", "-f", "-", text=WEB)
    assert 'deployment.apps "web" deleted' in told
    assert 'service "web" deleted' in told


def test_a_rollout_its_history_and_the_way_back(space: Space) -> None:
    space.apply(WEB)
    assert space.kubectl("rollout", "status", "deploy/web").endswith('deployment "web" successfully rolled out\n')
    assert space.kubectl("set", "env", "deploy/web", "COLOUR=blue") == "deployment.apps/web env updated\n"
    space.kubectl("annotate", "deploy/web", "kubernetes.io/change-cause=blue")
    space.kubectl("rollout", "status", "deploy/web")
    history = [line.split() for line in space.kubectl("rollout", "history", "deploy/web").splitlines() if line]
    assert history == [["deployment.apps/web"], ["REVISION", "CHANGE-CAUSE"], ["1", "<none>"], ["2", "blue"]]
    assert "COLOUR:\tblue" in space.kubectl("rollout", "history", "deploy/web", "--revision=2")
    assert space.kubectl("rollout", "undo", "deploy/web") == "deployment.apps/web rolled back\n"
    space.kubectl("rollout", "status", "deploy/web")
    assert "env" not in space.get("deployment", "web")["spec"]["template"]["spec"]["containers"][0]
    assert space.kubectl("rollout", "pause", "deploy/web") == "deployment.apps/web paused\n"
    assert "paused" in space.refused("kubectl", "rollout", "undo", "deploy/web")
    assert space.kubectl("rollout", "resume", "deploy/web") == "deployment.apps/web resumed\n"
    assert space.kubectl("rollout", "restart", "deploy/web") == "deployment.apps/web restarted\n"
    space.kubectl("rollout", "status", "deploy/web")
    assert "unable to find specified revision 77" in space.refused(
        "kubectl", "rollout", "undo", "deploy/web", "--to-revision=77"
    )


def test_scale_and_set_image(space: Space) -> None:
    space.apply(WEB)
    assert space.kubectl("scale", "deploy/web", "--replicas=3") == "deployment.apps/web scaled\n"
    space.kubectl("wait", "--for=jsonpath={.status.readyReplicas}=3", "deploy/web", "--timeout=60s", within=90)
    assert "Expected replicas to be 7, was 3" in space.refused(
        "kubectl", "scale", "deploy/web", "--replicas=1", "--current-replicas=7"
    )
    assert space.kubectl("set", "image", "deploy/web", "hello=covey/hello:2") == "deployment.apps/web image updated\n"
    assert space.get("deployment", "web")["spec"]["template"]["spec"]["containers"][0]["image"] == "covey/hello:2"
    space.kubectl("delete", "deployment", "web")
    await_(lambda: not space.get("pods")["items"] or None, what="the pods to go with their Deployment")


def test_three_kinds_of_patch_and_an_editor(space: Space, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    space.apply(WEB)

    def replicas() -> int:
        return int(space.get("deployment", "web")["spec"]["replicas"])

    space.kubectl("patch", "deploy", "web", "-p", '{"spec":{"replicas":3}}')
    assert replicas() == 3
    space.kubectl("patch", "deploy", "web", "--type=merge", "-p", '{"spec":{"replicas":1}}')
    assert replicas() == 1
    operations = [
        {"op": "test", "path": "/spec/replicas", "value": 1},
        {"op": "replace", "path": "/spec/replicas", "value": 0},
    ]
    space.kubectl("patch", "deploy", "web", "--type=json", "-p", json.dumps(operations))
    assert replicas() == 0
    told = space.refused("kubectl", "patch", "deploy", "web", "--type=json", "-p", json.dumps(operations))
    assert "testing value /spec/replicas failed: test failed" in told
    container = {"spec": {"template": {"spec": {"containers": [{"name": "side", "image": "covey/busybox:1"}]}}}}
    space.kubectl("patch", "deploy", "web", "-p", json.dumps(container))
    names = [c["name"] for c in space.get("deployment", "web")["spec"]["template"]["spec"]["containers"]]
    assert sorted(names) == ["hello", "side"], "containers merge by name"
    editor = tmp_path / "editor"
    editor.write_text("#!/bin/sh\nsed -i 's/replicas: 0/replicas: 2/' \"$1\"\n")
    editor.chmod(0o755)
    monkeypatch.setenv("EDITOR", str(editor))
    assert space.kubectl("edit", "deployment", "web") == "deployment.apps/web edited\n"
    assert replicas() == 2
    assert "replaced" in space.kubectl("replace", "-f", "-", text=WEB.split("---", maxsplit=1)[0])


def test_labels_annotations_and_selectors(space: Space) -> None:
    for name, tier in (("one", "front"), ("two", "back")):
        space.kubectl("create", "configmap", name, f"--from-literal=name={name}")
        space.kubectl("label", "configmap", name, f"tier={tier}")
    assert space.kubectl("get", "cm", "-l", "tier=front", "-o", "name") == "configmap/one\n"
    assert space.kubectl("get", "cm", "-l", "tier in (front,back),tier!=front", "-o", "name") == "configmap/two\n"
    told = space.refused("kubectl", "label", "cm", "one", "tier=back")
    assert told == "error: 'tier' already has a value (front), and --overwrite is false\n"
    assert space.kubectl("label", "cm", "one", "tier-") == "configmap/one unlabeled\n"
    assert space.kubectl("annotate", "cm", "one", "note=kept") == "configmap/one annotated\n"
    assert space.kubectl("get", "cm", "one", "-o", r"jsonpath={.metadata.annotations.note}{.data.name}") == "keptone"
    assert space.kubectl("get", "cm", "--field-selector=metadata.name=two", "-o", "name") == "configmap/two\n"


def test_create_without_a_manifest(space: Space) -> None:
    space.kubectl("create", "deployment", "web", "--image=covey/hello:1", "--port=8080")
    space.kubectl("create", "secret", "generic", "key", "--from-literal=password=hidden")
    space.kubectl("create", "serviceaccount", "robot")
    assert (
        space.kubectl("expose", "deployment", "web", "--port=80", "--target-port=8080", "--type=NodePort")
        == "service/web exposed\n"
    )
    service = space.get("service", "web")["spec"]
    assert (service["ports"][0]["targetPort"], service["selector"]) == (8080, {"app": "web"})
    assert 30000 <= service["ports"][0]["nodePort"] <= 32767
    assert space.kubectl("create", "token", "robot").count(".") == 2
    assert "password:  6 bytes" in space.kubectl("describe", "secret", "key")
    assert 'secrets "key" already exists' in space.refused("kubectl", "create", "secret", "generic", "key")
    printed = space.kubectl("create", "deployment", "dry", "--image=i", "--dry-run=client", "-o", "yaml")
    assert "created (server dry run)" in space.kubectl("apply", "--dry-run=server", "-f", "-", text=printed)
    assert "NotFound" in space.refused("kubectl", "get", "deployment", "dry")


def test_tables_are_the_servers(space: Space) -> None:
    space.apply(WEB)
    space.kubectl("rollout", "status", "deploy/web")

    def header(*arguments: str) -> list[str]:
        return space.kubectl("get", *arguments).splitlines()[0].split()

    assert header("pods") == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]
    wide = ["NAME", "READY", "STATUS", "RESTARTS", "AGE", "IP", "NODE", "NOMINATED", "NODE", "READINESS", "GATES"]
    assert header("pods", "-o", "wide") == wide
    assert header("deployment") == ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"]
    assert header("rs") == ["NAME", "DESIRED", "CURRENT", "READY", "AGE"]
    assert header("services") == ["NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE"]
    assert header("endpointslices") == ["NAME", "ADDRESSTYPE", "PORTS", "ENDPOINTS", "AGE"]
    assert header("pods", "--all-namespaces")[0] == "NAMESPACE"
    every = space.kubectl("get", "all")
    assert all(f"{kind}/web" in every for kind in ("pod", "service", "deployment.apps", "replicaset.apps"))
    columns = space.kubectl("get", "deploy", "-o", "custom-columns=N:.metadata.name,R:.spec.replicas")
    assert columns.split() == ["N", "R", "web", "2"]


def test_describe_and_events_tell_the_story(space: Space) -> None:
    space.apply(WEB)
    space.kubectl("rollout", "status", "deploy/web")
    described = space.kubectl("describe", "deployment", "web")
    assert "2 desired | 2 updated | 2 total | 2 available | 0 unavailable" in described
    assert "ScalingReplicaSet" in described
    name = space.get("pods")["items"][0]["metadata"]["name"]
    story = await_(
        lambda: d if "Started" in (d := space.kubectl("describe", "pod", name)) else None, what="the event Started"
    )
    for reason in ("Scheduled", "Pulled", "Created", "Started"):
        assert f"Normal  {reason}" in story
    assert "Endpoints:                10." in space.kubectl("describe", "service", "web")
    assert "SuccessfulCreate" in space.kubectl("events", "--for", f"rs/{name.rpartition('-')[0]}")
    assert "Scheduled" in space.kubectl("get", "events", "--sort-by=.metadata.creationTimestamp")


def test_watching(space: Space) -> None:
    with space.start("kubectl", "get", "configmaps", "-w", "--output-watch-events") as watch:
        for event, command in (
            ("ADDED", ("create", "configmap", "a")),
            ("MODIFIED", ("label", "configmap", "a", "x=y")),
            ("DELETED", ("delete", "configmap", "a")),
        ):
            space.kubectl(*command)
            watch.line(lambda line, event=event: line.split()[:2] == [event, "a"])  # type: ignore[misc]


def test_wait(space: Space) -> None:
    space.apply(WEB)
    assert "deployment.apps/web condition met" in space.kubectl(
        "wait", "--for=condition=Available", "deploy/web", "--timeout=60s", within=90
    )
    space.kubectl("delete", "deploy", "web", "--wait=false")
    told = space.kubectl("wait", "--for=delete", "pod", "-l", "app=web", "--timeout=60s", within=90)
    assert "condition met" in told or told == ""
    assert "timed out waiting for the condition" in space.refused(
        "kubectl", "wait", "--for=jsonpath={.spec.type}=NodePort", "svc/web", "--timeout=1s"
    )


def test_what_the_cluster_is(cluster: RealCluster, space: Space) -> None:
    assert "Server Version: v1.36" in cluster.kubectl("version")
    assert "Kubernetes control plane" in cluster.kubectl("cluster-info")
    named = cluster.kubectl("api-resources", "-o", "name").split()
    assert {"pods", "deployments.apps", "leases.coordination.k8s.io"} <= set(named)
    assert {"v1", "apps/v1", "discovery.k8s.io/v1", "policy/v1"} <= set(cluster.kubectl("api-versions").split())
    assert "KIND:       Deployment" in cluster.kubectl("explain", "deployment")
    assert "FIELD: maxSurge <IntOrString>" in cluster.kubectl("explain", "deploy.spec.strategy.rollingUpdate.maxSurge")
    assert cluster.kubectl("auth", "can-i", "create", "pods") == "yes\n"
    assert "kubernetes-admin" in cluster.kubectl("auth", "whoami")
    token = space.kubectl("create", "token", "default").strip()
    robot = ("--token", token, "--kubeconfig", _without_user(cluster), "-n", space.name)
    assert f"system:serviceaccount:{space.name}:default" in cluster.kubectl(*robot, "auth", "whoami")
    with pytest.raises(AssertionError, match="\nno\n"):
        cluster.kubectl(*robot, "auth", "can-i", "delete", "pods")
    assert 'cannot list resource "pods" in API group ""' in cluster.refused("kubectl", *robot, "get", "pods")
    assert cluster.kubectl("get", "--raw", "/readyz") == "ok"


def _without_user(cluster: RealCluster) -> str:
    """A kubeconfig of the cluster without the administrator's certificate."""
    config = json.loads(cluster.kubectl("config", "view", "--raw", "-o", "json"))
    for user in config["users"]:
        user["user"] = {}
    path = cluster.home.parent / "nobody.kubeconfig"
    path.write_text(json.dumps(config))
    return str(path)


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (
            ("autoscale", "deployment", "web", "--max=3", "--cpu=50%"),
            "the server could not find the requested resource",
        ),
        (("top", "pods"), "Metrics API not available"),
        (("top", "nodes"), "Metrics API not available"),
        (("apply", "--server-side", "-f", "-"), "server-side apply is not supported by this server yet"),
        (("create", "job", "j", "--image=i"), "the server could not find the requested resource"),
    ],
)
def test_what_there_is_not_yet_is_said_in_a_sentence(space: Space, command: tuple[str, ...], told: str) -> None:
    space.apply(WEB)
    assert told in space.refused("kubectl", *command, text=WEB)

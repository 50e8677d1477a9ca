"""`covey` beside kubectl: every verb of its --help, over NATS, with the words it answers."""

from __future__ import annotations

import json
import re
import urllib.request

from cli.three_way import LAST_APPLIED
from tests.clients.test_kubectl_objects import WEB
from tests.support.clients import Space, pod
from tests.support.cluster import RealCluster, await_

VERBS = {
    "server", "agent", "proxy", "up", "down", "get", "describe", "apply", "create", "delete", "scale", "label", "annotate",
    "events", "run", "logs", "exec", "attach", "port-forward", "cordon", "uncordon", "drain", "version", "kubeconfig",
    "rollout",
}  # fmt: skip


def test_help_names_every_verb(cluster: RealCluster) -> None:
    told = cluster.covey("--help")
    named = set(re.findall(r"^[^\w-]*([a-z][a-z-]+)  +[A-Z]", told, re.MULTILINE))
    assert named == VERBS
    assert set(re.findall(r"^[^\w-]*([a-z]+)  +[A-Z]", cluster.covey("rollout", "--help"), re.MULTILINE)) == {
        "status", "history", "undo", "restart", "pause", "resume",
    }  # fmt: skip


def test_a_deployments_life(space: Space) -> None:
    assert space.covey("apply", "-f", "-", text=WEB) == "deployment.apps/web created\nservice/web created\n"
    assert space.covey("apply", "-f", "-", text=WEB) == "deployment.apps/web unchanged\nservice/web unchanged\n"
    assert space.covey("rollout", "status", "deploy/web").endswith('deployment "web" successfully rolled out\n')
    assert space.covey("scale", "deploy/web", "--replicas", "1") == "deployment.apps/web scaled\n"
    assert space.covey("label", "deploy", "web", "tier=front") == "deployment.apps/web labeled\n"
    assert space.covey("annotate", "deploy/web", "note=kept") == "deployment.apps/web annotated\n"
    assert space.covey("rollout", "restart", "deploy/web") == "deployment.apps/web restarted\n"
    assert "successfully rolled out" in space.covey("rollout", "status", "deploy/web")
    assert [line.split()[0] for line in space.covey("rollout", "history", "deploy/web").splitlines() if line][-2:] == [
        "1",
        "2",
    ]
    assert "rolled back" in space.covey("rollout", "undo", "deploy/web")
    assert "successfully rolled out" in space.covey("rollout", "status", "deploy/web")
    found = json.loads(space.covey("get", "deploy", "web", "-o", "json"))
    assert (found["spec"]["replicas"], found["metadata"]["labels"]["tier"]) == (1, "front")
    assert "kind: Deployment" in space.covey("get", "deploy/web", "-o", "yaml")
    assert space.covey("get", "svc", "-o", "name") == "service/web\n"
    described = space.covey("describe", "deployment", "web")
    assert "RollingUpdate" in described
    assert "ScalingReplicaSet" in described
    assert space.covey("delete", "deploy", "web") == f'deployment.apps "web" deleted from {space.name} namespace\n'


def test_an_annotation_that_is_not_what_apply_wrote(space: Space) -> None:
    space.covey("create", "-f", "-", text=WEB.replace("replicas: 2", "replicas: 0"))
    space.covey("annotate", "svc/web", "deploy/web", f"{LAST_APPLIED}=not json")
    told = space.refused("covey", "apply", "-f", "-", text=WEB)
    assert told.startswith(f'covey: error when creating patch for "STDIN": the annotation {LAST_APPLIED} of ')
    space.covey("annotate", "svc/web", "deploy/web", f"{LAST_APPLIED}-")
    assert "configured" in space.covey("apply", "-f", "-", text=WEB.replace("replicas: 2", "replicas: 0"))


def test_tables_are_those_of_kubectl(space: Space) -> None:
    space.kubectl("create", "-f", "-", text=WEB.replace("replicas: 2", "replicas: 0"))
    ages = re.compile(r"\d+s")
    for what in (("deployments",), ("services", "-o", "wide"), ("rs", "--show-labels"), ("deploy,svc",)):
        kubectl, covey = (ages.sub("0s", run("get", *what)).split() for run in (space.kubectl, space.covey))
        assert covey == kubectl
    names = '{range .items[*]}{.metadata.name}{"\\n"}{end}'
    for what in (
        ("deploy", "web", "-o", "yaml"),
        ("deploy,svc", "-o", f"jsonpath={names}"),
        ("svc", "-o", "custom-columns=NAME:.metadata.name,IP:.spec.clusterIP,NONE:.spec.nothing"),
        ("svc", "--sort-by", ".metadata.name", "-o", "name"),
        ("deploy/web", "-o", "name", "--ignore-not-found"),
    ):
        assert space.covey("get", *what) == space.kubectl("get", *what)
    assert space.refused("covey", "get", "pod", "none") == space.refused("kubectl", "get", "pod", "none")


def test_create_and_run(space: Space) -> None:
    assert space.covey("create", "configmap", "c", "--from-literal", "a=b") == "configmap/c created\n"
    assert space.covey("create", "deployment", "d", "--image", "covey/hello:1") == "deployment.apps/d created\n"
    assert space.covey("run", "one", "--image", "covey/hello:1", "--port", "8080") == "pod/one created\n"
    space.running("one")
    dry = space.covey("run", "two", "--image", "i", "--dry-run", "client", "-o", "yaml")
    assert "image: i" in dry
    assert space.covey("get", "pods", "-l", "run=one", "-o", "name") == "pod/one\n"
    await_(lambda: "Started" in space.covey("events", "--for", "pod/one"), what="the event Started")
    assert "Node:" in space.covey("describe", "pod", "one")


def test_streams(space: Space) -> None:
    space.apply(pod("web", "echo started; mkdir -p /www; hostname > /www/index.html; exec httpd -f -p 8080 -h /www")
                + "---\n" + pod("echo", "while read word; do echo heard $word; done", container="stdin: true"))  # fmt: skip
    space.running("web")
    space.running("echo")
    assert space.covey("logs", "web") == "started\n"
    assert space.covey("exec", "web", "--", "echo", "a  b") == "a  b\n"
    assert space.covey("exec", "-i", "web", "--", "cat", text="typed\n") == "typed\n"
    assert "command terminated with exit code 3" in space.refused("covey", "exec", "web", "--", "sh", "-c", "exit 3")
    with space.start("covey", "attach", "-i", "echo") as attached:
        attached.type("hello\n")
        attached.line(lambda line: line == "heard hello")
    with space.start("covey", "logs", "-f", "echo") as log:
        log.line(lambda line: line == "heard hello")
    with space.start("covey", "port-forward", "pod/web", ":8080") as forward:
        local = forward.line(lambda line: "Forwarding from" in line).split()[2]
        with urllib.request.urlopen(f"http://{local}/", timeout=30) as answer:
            assert answer.read() == b"web\n"


def test_watching(space: Space) -> None:
    with space.start("covey", "get", "configmaps", "-w") as watch:
        watch.line(lambda line: line.startswith("kube-root-ca.crt"))
        space.kubectl("create", "configmap", "a")
        watch.line(lambda line: line.startswith("a "))
        space.kubectl("create", "configmap", "b")
        watch.line(lambda line: line.startswith("b "))


def test_nodes_and_the_cluster(cluster: RealCluster) -> None:
    try:
        assert cluster.covey("cordon", "node-2") == "node/node-2 cordoned\n"
        assert "Ready,SchedulingDisabled" in cluster.covey("get", "node", "node-2")
        assert cluster.covey("drain", "node-2", "--ignore-daemonsets", "--force").endswith("node/node-2 drained\n")
    finally:
        assert cluster.covey("uncordon", "node-2") == "node/node-2 uncordoned\n"
    assert "Server Version: v1.36" in cluster.covey("version")
    assert cluster.covey("kubeconfig", "--path") == f"{cluster.home}/kubeconfig\n"
    assert cluster.covey("kubeconfig") == (cluster.home / "kubeconfig").read_text()

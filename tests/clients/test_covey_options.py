"""Options of `covey` beside those of kubectl: what they do and what is said is the same."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.clients.test_kubectl_objects import WEB
from tests.support.clients import Space, pod
from tests.support.cluster import RealCluster, await_

BUSYBOX = ("--image", "covey/busybox:1", "--restart", "Never")
TALKATIVE = """\
apiVersion: v1
kind: Pod
metadata: {name: %s, labels: {app: talk}}
spec:
  terminationGracePeriodSeconds: 1
  initContainers: [{name: first, image: covey/busybox:1, command: [echo, begun]}]
  containers:
  - {name: a, image: covey/busybox:1, command: [sh, -c, "for i in $(seq 12); do echo a$i; done; sleep 1000"]}
  - {name: b, image: covey/busybox:1, command: [sh, -c, "echo b1; sleep 1000"]}
---
"""


def both(space: Space, *arguments: str) -> None:
    """Both commands print the same."""
    assert space.covey(*arguments) == space.kubectl(*arguments)


def both_refuse(space: Space, *arguments: str) -> None:
    """Both commands refuse it with the same sentence, kubectl's hint at its help apart."""
    kubectl, covey = (space.refused(command, *arguments) for command in ("kubectl", "covey"))
    assert (
        covey.removeprefix("covey: ").rstrip("\n ") == kubectl.removeprefix("error: ").partition("\nSee ")[0].rstrip()
    )


def test_the_namespace_stands_anywhere(space: Space) -> None:
    run = space.cluster.covey
    assert run("-n", space.name, "create", "configmap", "one") == "configmap/one created\n"
    assert run("create", "-n", space.name, "secret", "generic", "two") == "secret/two created\n"
    assert run("--namespace", space.name, "get", "configmap", "one", "-o", "name") == "configmap/one\n"
    assert run("-n", "default", "get", "-n", space.name, "secret", "two", "-o", "name") == "secret/two\n"
    told = space.cluster.refused("covey", "rollout", "-n", space.name, "status", "deploy/none")
    assert told == 'Error from server (NotFound): deployments.apps "none" not found\n'


def test_logs_of_many(space: Space) -> None:
    space.apply(TALKATIVE % "one" + TALKATIVE % "two")
    space.running("one")
    space.running("two")
    both(space, "logs", "one", "a")
    for several in (
        ("one", "--all-containers"),
        ("one", "--all-containers", "--prefix", "--tail", "2"),
        ("-l", "app=talk", "-c", "a"),  # the last ten of each
        ("-l", "app=talk", "--all-containers", "--prefix", "--tail=-1"),
    ):  # kubectl shows several in any order
        ours, theirs = (run("logs", *several).splitlines() for run in (space.covey, space.kubectl))
        assert sorted(ours) == sorted(theirs)
    assert space.covey("logs", "one", "--all-containers", "--tail", "1") == "begun\na12\nb1\n"
    both(space, "logs", "one", "-c", "a", "--since-time", "2100-01-01T00:00:00Z")
    both(space, "logs", "one", "-c", "a", "--since", "1h30m")
    both(space, "logs", "one", "-c", "a", "--limit-bytes", "4")
    both_refuse(space, "logs")
    both_refuse(space, "logs", "one", "-l", "app=talk")
    both_refuse(space, "logs", "-f", "-l", "app=talk", "--all-containers")
    with space.start("covey", "logs", "-f", "-l", "app=talk", "--all-containers", "--prefix",
                     "--max-log-requests", "6") as log:  # fmt: skip
        wanted = {f"[pod/{name}/{last}" for name in ("one", "two") for last in ("first] begun", "a] a12", "b] b1")}
        while wanted:
            wanted.discard(log.line(lambda line: line in wanted))


def test_run_with_an_attached_session(space: Space) -> None:
    script = ("--", "sh", "-c", "echo begun; read word; echo heard $word; exit 3")
    for run in ("kubectl", "covey"):
        program = [sys.executable, "-m", "cli.main"] if run == "covey" else [str(Path(sys.executable).with_name(run))]
        done = subprocess.run(
            [*program, "-n", space.name, "run", "-i", "--rm", "x", *BUSYBOX, *script], env=space.cluster.environment,
            input="word\n", capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        gone = f'pod "x" deleted from {space.name} namespace\n'
        assert (done.returncode, done.stdout) == (3, f"begun\nheard word\n{gone}"), (run, done.stderr)
        assert done.stderr.endswith(f"pod {space.name}/x terminated (Error)\n")
    assert space.get("pods")["items"] == []
    assert space.covey("run", "y", "--attach", *BUSYBOX, "--", "echo", "done") == "done\n"
    for refused in (
        ("run", "x", "--rm", "--image", "i"),
        ("run", "x", "-t", "--image", "i"),
        ("run", "x", "--image", "i", "--expose"),
    ):
        both_refuse(space, *refused)


def test_run_and_expose(space: Space) -> None:
    told = space.covey("run", "web", "--image", "covey/hello:1", "--port", "8080", "--expose", "--env", "A=b")
    assert told == "pod/web created\nservice/web created\n"
    service = space.get("service", "web")["spec"]
    assert (service["selector"], service["ports"][0]["targetPort"]) == ({"run": "web"}, 8080)
    both(space, "run", "w", "--image", "i", "--port", "80", "--expose", "--dry-run=client")


MADE = (
    ("configmap", "c", "--from-literal=a=b", "--from-file={files}/one", "--from-file=key={files}/binary"),
    ("cm", "d", "--from-env-file={files}/env"),
    ("secret", "generic", "s", "--from-literal=password=x", "--from-file={files}/one", "--type", "mine/own"),
    ("secret", "docker-registry", "r", "--docker-username=u", "--docker-password=p", "--docker-server=example.org"),
    ("serviceaccount", "robot"),
    ("namespace", "shop"),
    ("service", "clusterip", "web", "--tcp=80:8080", "--tcp=443"),
    ("service", "clusterip", "headless", "--clusterip=None"),
    ("service", "nodeport", "np", "--tcp=80:http", "--node-port=30123"),
    ("service", "loadbalancer", "lb", "--tcp=80"),
    ("svc", "externalname", "out", "--external-name=example.org"),
    ("deployment", "web", "--image=registry:5000/shop/nginx:1", "--image=redis@sha256:00", "--replicas=3", "--port=80"),
    ("deploy", "job", "--image=busybox", "--", "sleep", "5"),
)


@pytest.mark.parametrize("arguments", MADE, ids=lambda a: " ".join(a[:3]))
def test_create_makes_what_kubectl_makes(cluster: RealCluster, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    (tmp_path / "one").write_text("1\n")
    (tmp_path / "binary").write_bytes(b"\xff\x00")
    (tmp_path / "env").write_text("A=1\n# no\nB=x y\n")
    line = ["create", *(word.format(files=tmp_path) for word in arguments)]
    where = line.index("--") if "--" in line else len(line)
    line[where:where] = ["--dry-run=client", "-o", "json"]
    ours, theirs = (without_nothing(json.loads(run(*line))) for run in (cluster.covey, cluster.kubectl))
    assert isinstance(ours, dict)
    ours["metadata"].pop("namespace", None)
    assert ours == theirs


def without_nothing(value: object) -> object:
    """Without the empty fields that kubectl's types cannot leave out."""
    if isinstance(value, dict):
        kept = {k: without_nothing(v) for k, v in value.items()}
        return {k: v for k, v in kept.items() if v not in ({}, None)}
    return [without_nothing(v) for v in value] if isinstance(value, list) else value


def test_create_for_real(space: Space) -> None:
    assert space.covey("create", "secret", "generic", "s", "--from-literal", "a=b") == "secret/s created\n"
    assert base64.b64decode(space.get("secret", "s")["data"]["a"]) == b"b"
    assert space.covey("create", "service", "nodeport", "n", "--tcp", "80") == "service/n created\n"
    assert 'services "n" already exists' in space.refused("covey", "create", "service", "nodeport", "n", "--tcp", "80")
    both_refuse(space, "create", "configmap", "c", "--from-file", "/none")
    both_refuse(space, "create", "configmap", "c", "--from-literal", "a")


def test_delete_what_was_selected(space: Space) -> None:
    for name in ("a", "b", "c"):
        space.kubectl("create", "configmap", name)
    both(space, "delete", "configmap", "a", "--dry-run=client")
    both(space, "delete", "configmap", "a", "b", "--dry-run=server", "-o", "name")
    both(space, "delete", "configmap", "--field-selector", "metadata.name=b", "--dry-run=server")
    assert space.covey("delete", "configmap", "--field-selector", "metadata.name=b") == (
        f'configmap "b" deleted from {space.name} namespace\n'
    )
    both_refuse(space, "delete", "configmap")
    both_refuse(space, "delete", "configmap", "a", "-A")
    both_refuse(space, "delete", "pod", "a", "--now", "--grace-period=3")
    space.kubectl("label", "configmap", "c", f"only={space.name}")
    done = space.covey("delete", "configmap", "-A", "-l", f"only={space.name}")
    assert done == f'configmap "c" deleted from {space.name} namespace\n'
    space.kubectl("patch", "configmap", "a", "-p", '{"metadata":{"finalizers":["example.org/held"]}}')
    told = space.refused("covey", "delete", "configmap", "a", "--timeout", "100ms")
    assert told == "covey: timed out waiting for the condition on configmaps/a\n"
    space.kubectl("patch", "configmap", "a", "--type=merge", "-p", '{"metadata":{"finalizers":null}}')


def test_rollout_status_gives_up_in_time(space: Space) -> None:
    space.covey("create", "-f", "-", text=WEB.replace("covey/hello:1", "covey/none:1"))
    told = space.refused("covey", "rollout", "status", "deploy/web", "--timeout", "200ms")
    assert told == "covey: timed out waiting for the condition\n"
    assert "missing unit in duration" in space.refused("covey", "rollout", "status", "deploy/web", "--timeout", "5")


def test_events_by_type(space: Space) -> None:
    space.apply(pod("web", "sleep 1000", container="readinessProbe: {exec: {command: ['false']}, periodSeconds: 1}"))
    await_(lambda: "Unhealthy" in space.covey("events", "--types", "Warning"), what="the warning")
    assert "Normal" not in space.covey("events", "--types=Warning", "--no-headers")
    assert "Warning" not in space.covey("events", "--types", "Normal")
    assert {"Normal", "Warning"} <= set(space.covey("events", "--types", "Normal,Warning").split())
    both_refuse(space, "events", "--types", "Odd")


def test_several_nodes_are_drained(cluster: RealCluster) -> None:
    ages = re.compile("evicting pod .*\n")
    line = ("drain", "node-2", "node-3", "--force", "--ignore-daemonsets", "--delete-emptydir-data", "--dry-run=client")
    assert ages.sub("", cluster.covey(*line)) == ages.sub("", cluster.kubectl(*line))
    told = cluster.covey("drain", "-l", "kubernetes.io/hostname=node-3", "--pod-selector", "app=none")
    try:
        assert told == "node/node-3 cordoned\nnode/node-3 drained\n"
    finally:
        cluster.covey("uncordon", "node-3")


def test_standard_input_may_be_anything(space: Space, tmp_path: Path) -> None:
    space.apply(pod("web", "sleep 1000"))
    space.running("web")
    (tmp_path / "file").write_bytes(b"x" * 300_000)
    line = [sys.executable, "-m", "cli.main", "exec", "-n", space.name, "-i", "web", "--", "wc", "-c"]
    for source, count in (((tmp_path / "file"), 300_000), (Path(os.devnull), 0)):
        with source.open("rb") as stdin:
            done = subprocess.run(
                line,
                env=space.cluster.environment,
                stdin=stdin,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
        assert (done.returncode, done.stdout, done.stderr) == (0, f"{count}\n", "")
    closed = subprocess.run(
        ["sh", "-c", 'exec "$@" <&-', "sh", *line], env=space.cluster.environment, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert (closed.returncode, closed.stdout, closed.stderr) == (0, "0\n", "")


def test_ports_are_named_and_free_ones_found(space: Space) -> None:
    space.apply(pod("web", "sleep 1000", container="ports: [{name: http, containerPort: 8080}]"))
    space.running("web")
    for port in ("none", "0", "70000"):
        assert space.refused("covey", "port-forward", "web", port).startswith("covey: ")
    both_refuse(space, "port-forward", "web", "none")
    with space.start("covey", "port-forward", "web", ":http") as forward:
        assert forward.line(lambda line: "Forwarding from" in line).endswith(" -> 8080")

"""What a container finds around itself: environment, configuration, volumes, identity, names; and its probes and hooks."""

from __future__ import annotations

from tests.support.clients import Space, pod
from tests.support.cluster import await_

AROUND = """\
apiVersion: v1
kind: Pod
metadata: {name: around, labels: {app: around}, annotations: {note: "from above"}}
spec:
  terminationGracePeriodSeconds: 1
  hostname: chosen
  initContainers:
  - {name: first, image: "covey/busybox:1", command: [sh, -c, "echo prepared > /work/file"],
     volumeMounts: [{name: work, mountPath: /work}]}
  containers:
  - name: main
    image: covey/busybox:1
    command: [sh, -c, "echo serving; sleep 3600"]
    workingDir: /tmp
    env:
    - {name: PLAIN, value: "a$(b)c"}
    - {name: JOINED, value: "$(PLAIN)-$(FROM_MAP)"}
    - {name: FROM_MAP, valueFrom: {configMapKeyRef: {name: settings, key: colour}}}
    - {name: FROM_SECRET, valueFrom: {secretKeyRef: {name: keys, key: password}}}
    - {name: MY_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
    - {name: MY_IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
    - {name: MY_NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
    - {name: MY_LIMIT, valueFrom: {resourceFieldRef: {resource: limits.memory, divisor: 1Mi}}}
    envFrom: [{configMapRef: {name: settings}, prefix: ALL_}]
    resources: {requests: {cpu: 100m}, limits: {memory: 64Mi, cpu: 500m}}
    volumeMounts:
    - {name: work, mountPath: /work}
    - {name: settings, mountPath: /etc/settings}
    - {name: keys, mountPath: /etc/keys, readOnly: true}
    - {name: settings, mountPath: /etc/one.conf, subPath: colour}
    readinessProbe: {exec: {command: [cat, /work/file]}, periodSeconds: 1}
  volumes:
  - {name: work, emptyDir: {}}
  - {name: settings, configMap: {name: settings}}
  - {name: keys, secret: {secretName: keys, defaultMode: 0400}}
"""


def test_environment_volumes_and_identity(space: Space) -> None:
    space.kubectl("create", "configmap", "settings", "--from-literal=colour=blue")
    space.kubectl("create", "secret", "generic", "keys", "--from-literal=password=hidden")
    space.apply(AROUND)
    found = space.running("around")

    def shell(script: str) -> str:
        return space.kubectl("exec", "around", "-c", "main", "--", "sh", "-c", script).rstrip("\n")

    environment = dict(line.partition("=")[::2] for line in shell("env").splitlines())
    expected = {
        "PLAIN": "a$(b)c", "FROM_MAP": "blue", "FROM_SECRET": "hidden", "MY_NAME": "around", "MY_LIMIT": "64",
        "MY_IP": found["status"]["podIP"], "MY_NODE": found["spec"]["nodeName"], "ALL_colour": "blue",
        "HOSTNAME": "chosen", "KUBERNETES_SERVICE_PORT": "443", "JOINED": "a$(b)c-$(FROM_MAP)",
    }  # fmt: skip
    assert {name: environment.get(name) for name in expected} == expected
    assert shell("cat /work/file /etc/settings/colour /etc/one.conf") == "prepared\nblueblue"
    assert shell("stat -Lc %a /etc/keys/password; cat /etc/keys/password") == "400\nhidden"
    assert "Read-only file system" in shell("touch /etc/keys/x 2>&1 || true")
    assert (shell("pwd"), shell("hostname"), shell("cat /etc/hostname")) == ("/tmp", "chosen", "chosen")
    assert f"{found['status']['podIP']}\tchosen" in shell("cat /etc/hosts")
    assert f"search {space.name}.svc.cluster.local svc.cluster.local cluster.local" in shell("cat /etc/resolv.conf")
    folder = "/var/run/secrets/kubernetes.io/serviceaccount"
    assert shell(f"ls {folder}").split() == ["ca.crt", "namespace", "token"]
    assert shell(f"cat {folder}/namespace") == space.name
    assert "67108864" in shell(
        "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null; true"
    )
    assert "kubernetes.default" in shell("nslookup kubernetes.default.svc.cluster.local")
    space.kubectl("patch", "configmap", "settings", "-p", '{"data":{"colour":"green"}}')
    await_(lambda: shell("cat /etc/settings/colour") == "green", within=100, what="the mounted ConfigMap to follow")
    assert shell("cat /etc/one.conf") == "blue", "a subPath stays as it was"


def test_probes(space: Space) -> None:
    probe = "exec: {command: [test, -e, /ok]}, periodSeconds: 1, failureThreshold: 1"
    space.apply(
        pod("probed", "sleep 3600", container=f"readinessProbe: {{{probe}}}")
        + "---\n"
        + pod("doomed", "touch /ok; sleep 3600", container=f"livenessProbe: {{{probe}}}")
    )
    space.running("doomed")
    await_(lambda: any(r == "Unhealthy" and m.startswith("Readiness probe failed") for r, m in space.events("probed")),
           what="the readiness probe to fail")  # fmt: skip
    assert space.get("pod", "probed")["status"]["containerStatuses"][0]["ready"] is False
    space.kubectl("exec", "probed", "--", "touch", "/ok")
    space.running("probed")
    space.kubectl("exec", "doomed", "--", "rm", "/ok")
    await_(lambda: space.get("pod", "doomed")["status"]["containerStatuses"][0]["restartCount"] == 1, what="a restart")
    events = space.events("doomed")
    assert any(r == "Unhealthy" and m.startswith("Liveness probe failed") for r, m in events)
    assert ("Killing", "Container main failed liveness probe, will be restarted") in events


def test_hooks_and_a_graceful_end(space: Space) -> None:
    manifest = """\
apiVersion: v1
kind: Pod
metadata: {name: polite}
spec:
  terminationGracePeriodSeconds: 20
  containers:
  - name: main
    image: covey/busybox:1
    command: [sh, -c, "trap 'echo asked; exit 0' TERM; while :; do sleep 0.1; done"]
    lifecycle:
      postStart: {exec: {command: [sh, -c, "echo began > /began"]}}
      preStop: {exec: {command: [sh, -c, "echo stopping > /proc/1/fd/1"]}}
"""
    space.apply(manifest)
    space.running("polite")
    assert space.kubectl("exec", "polite", "--", "cat", "/began") == "began\n"
    with space.start("kubectl", "logs", "-f", "polite") as log:
        space.kubectl("delete", "pod", "polite", "--wait=false")
        assert log.line(lambda line: line in {"stopping", "asked"}) == "stopping", "preStop comes first"
        log.line(lambda line: line == "asked")
    space.kubectl("wait", "--for=delete", "pod/polite", "--timeout=60s", within=90)

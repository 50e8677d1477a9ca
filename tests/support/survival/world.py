"""A real cluster with something to lose: objects to make in it, and what its API and its Docker daemon say of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import docker

from images.examples import BUSYBOX, HELLO
from mesh.errors import Unavailable
from mesh.objects.kinds import CONFIGMAPS, DEPLOYMENTS, NODES, PODS, Resource
from mesh.objects.types import Object
from tests.support.cluster import RealCluster, await_
from tests.support.survival.doors import HttpsDoor

T = TypeVar("T")
ECHO_PORT = 7007
NAMESPACE = "default"


@dataclass(frozen=True, slots=True)
class Ran:
    """One container as Docker knows it. Times in RFC 3339, UTC, as Docker writes them: comparable as strings up to
    the second's fraction, which `when` evens out."""

    id: str
    pid: int
    running: bool
    started: str
    finished: str


def when(stamp: str) -> str:
    """A time of Docker's in a form that compares as a string (it leaves out trailing zeros)."""
    whole, _, fraction = stamp.rstrip("Z").partition(".")
    return f"{whole}.{fraction:0<9}"


class World:
    """A cluster, its API over HTTPS, and its Docker daemon."""

    def __init__(self, cluster: RealCluster, docker_socket: str = "unix:///var/run/docker.sock") -> None:
        self.cluster = cluster
        self._docker_socket = docker_socket

    @cached_property
    def api(self) -> HttpsDoor:
        """The API as administrator."""
        return HttpsDoor(self.cluster.home / "kubeconfig")

    @cached_property
    def docker(self) -> docker.DockerClient:
        """The SDK, as judge."""
        return docker.DockerClient(base_url=self._docker_socket, timeout=30)

    def close(self) -> None:
        """Let go of both."""
        self.api.close()
        self.docker.close()

    @property
    def node_names(self) -> list[str]:
        """The nodes that `covey up` made."""
        return [node["name"] for node in self.cluster.nodes]

    def address_of(self, node: str) -> str:
        """A node's address."""
        return next(str(n["address"]) for n in self.cluster.nodes if n["name"] == node)

    def pods(self, app: str) -> list[Object]:
        """The pods of an app that nobody has deleted."""
        found = self.api.list(PODS, NAMESPACE)
        return [p for p in found if p["metadata"]["labels"].get("app") == app and _alive(p)]

    def ready_pods(self, app: str) -> list[Object]:
        """Those that are Ready."""
        return [p for p in self.pods(app) if _condition(p, "Ready") == "True"]

    def await_pods(self, app: str, count: int) -> list[Object]:
        """The pods of an app once that many are there and all are Ready."""

        def there() -> list[Object] | None:
            found = self.pods(app)
            return found if len(found) == count == len(self.ready_pods(app)) else None

        return until(there, what=f"{count} ready pods of {app}")

    def await_rollout(self, name: str) -> Object:
        """A Deployment once its last change has been rolled out."""
        return until(lambda: self._rolled_out(name), 90, f"the rollout of {name}")

    def _rolled_out(self, name: str) -> Object | None:
        found = self.api.get(DEPLOYMENTS, NAMESPACE, name)
        status, replicas = found.get("status", {}), found["spec"]["replicas"]
        done = (
            status.get("observedGeneration", 0) >= found["metadata"]["generation"]
            and status.get("updatedReplicas") == replicas == status.get("availableReplicas") == status.get("replicas")
        )  # fmt: skip
        return found if done else None

    def await_nodes_well(self) -> None:
        """Until every node is Ready and bears no taint."""

        def well() -> bool:
            nodes = self.api.list(NODES)
            return len(nodes) == len(self.node_names) and all(
                _condition(n, "Ready") == "True" and not n["spec"].get("taints") for n in nodes
            )

        until(well, what="all nodes to be Ready and without taints")

    def containers(self, pod: Object) -> dict[str, Ran]:
        """The containers of a pod, its sandbox too, by name and id."""
        found = {}
        for container in self.docker.containers.list(all=True, filters={"label": _uid_label(pod)}, ignore_removed=True):
            state = container.attrs["State"]
            found[f"{container.name}"] = Ran(
                container.id, state["Pid"], state["Running"], when(state["StartedAt"]), when(state["FinishedAt"])
            )
        return found

    def create(self, resource: Resource, obj: Object) -> Object:
        """Make an object."""
        return self.api.create(resource, obj)

    def config_maps(self) -> list[Object]:
        """All of them."""
        return self.api.list(CONFIGMAPS, NAMESPACE)


def until(found: Callable[[], T | None], within: float = 60.0, what: str = "") -> T:
    """`await_`, over times in which the API does not answer."""

    def asked() -> T | None:
        try:
            return found()
        except Unavailable:
            return None

    return await_(asked, within, what)


def _uid_label(pod: Object) -> str:
    return f"dev.covey.pod-uid={pod['metadata']['uid']}"


def _alive(pod: Object) -> bool:
    return "deletionTimestamp" not in pod["metadata"] and pod["status"].get("phase") not in {"Failed", "Succeeded"}


def _condition(obj: Object, kind: str) -> str:
    found = obj.get("status", {}).get("conditions") or ()
    return next((str(c["status"]) for c in found if c["type"] == kind), "")


def deployment(name: str, replicas: int, *, exclusive: bool = False) -> Object:
    """A Deployment of the example page; `exclusive` pods must never run twice."""
    annotations = {"covey.dev/exclusive": "true"} if exclusive else {}
    container = {
        "name": "hello",
        "image": HELLO,
        "ports": [{"containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 1},
        "env": [{"name": "ROUND", "value": "0"}],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}, "annotations": annotations},
                "spec": {"containers": [container], "terminationGracePeriodSeconds": 2},
            },
        },
    }


def shell_pod(name: str, node: str, script: str) -> Object:
    """A pod on a certain node that runs a shell script."""
    container = {"name": "main", "image": BUSYBOX, "command": ["sh", "-c", script]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": {"app": name}},
        "spec": {
            "nodeSelector": {"kubernetes.io/hostname": node},
            "containers": [container],
            "terminationGracePeriodSeconds": 1,
        },
    }


def service(name: str, port: int) -> Object:
    """A NodePort Service of an app."""
    spec = {"type": "NodePort", "selector": {"app": name}, "ports": [{"port": port}]}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": spec,
    }


ECHO_SCRIPT = f"exec nc -ll -p {ECHO_PORT} -e cat"
IDLE_SCRIPT = "exec sleep 2147483647"

"""The first manifests and commands of anybody who learns Kubernetes, by kubectl and by `covey`: examples/first-steps."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import docker
import pytest
from docker.errors import ImageNotFound

from images.examples import HELLO, busybox_layer
from tests.support.clients import Space
from tests.support.cluster import await_, free_port

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "first-steps"
NGINX = "nginx:1.7.9"
WITH_MISTAKE = (FOLDER / "replicaset.yaml").read_text().replace("replicas:", "replica:")

COMMANDS = pytest.mark.parametrize("command", ["kubectl", "covey"])


def runner(space: Space, command: str) -> Callable[..., str]:
    return space.kubectl if command == "kubectl" else space.covey


@pytest.fixture(scope="module", autouse=True)
def _nginx() -> Iterator[None]:
    """An image named as in the manifests: the real one where it is (`python -m images.nginx`), else a stand-in, busybox's
    httpd on port 80."""
    client = docker.from_env()
    try:
        client.images.get(NGINX)
        made = False
    except ImageNotFound:
        layer = busybox_layer({"www/index.html": b"nginx stands in\n"})
        command = 'CMD ["httpd", "-f", "-p", "80", "-h", "/www"]'
        client.api.import_image_from_data(layer, repository="nginx", tag="1.7.9", changes=[command])
        made = True
    try:
        yield
    finally:
        if made:
            client.images.remove(NGINX, force=True)
        client.close()


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    """The address of a registry that has the image nginx."""
    address = f"127.0.0.1:{free_port()}"
    configuration = tmp_path / "registry.yml"
    configuration.write_text(
        f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {tmp_path}/registry}}}}\n"
        f"http: {{addr: '{address}'}}\n"
    )
    process = subprocess.Popen(["docker-registry", "serve", str(configuration)], stderr=subprocess.DEVNULL)
    client = docker.from_env()
    name = f"{address}/nginx"
    try:
        client.images.get(HELLO).tag(name, "latest")
        await_(lambda: "error" not in client.images.push(name, "latest"), what="the registry")
        client.images.remove(f"{name}:latest")
        yield address
    finally:
        process.terminate()
        process.wait()
        with suppress(ImageNotFound):
            client.images.remove(f"{name}:latest", force=True)
        client.close()


@COMMANDS
def test_a_pod_from_a_file(space: Space, command: str) -> None:
    run = runner(space, command)
    assert run("create", "-f", str(FOLDER / "pod.yaml")) == "pod/nginx created\n"
    assert space.running("nginx")["spec"]["containers"][0]["image"] == NGINX
    assert 'pods "nginx" already exists' in space.refused(command, "create", "-f", str(FOLDER / "pod.yaml"))
    assert "nginx" in run("get", "pods", "-o", "wide").splitlines()[1]
    assert space.name in run("get", "pods", "--all-namespaces") if command == "kubectl" else run("get", "pods", "-A")
    run("delete", "pod", "nginx", "--grace-period=1")


@COMMANDS
def test_the_replica_set_with_its_mistake_and_without(space: Space, command: str) -> None:
    told = space.refused(command, "apply", "-f", "-", text=WITH_MISTAKE)
    assert 'strict decoding error: unknown field "spec.replica"' in told
    assert "NotFound" in space.refused("kubectl", "get", "rs", "nginx-replicaset")
    run = runner(space, command)
    assert run("apply", "-f", str(FOLDER / "replicaset.yaml")) == "replicaset.apps/nginx-replicaset created\n"
    space.kubectl("wait", "--for=jsonpath={.status.readyReplicas}=3", "rs/nginx-replicaset", "--timeout=60s", within=90)


@COMMANDS
def test_a_folder_and_looking_around(space: Space, command: str) -> None:
    run = runner(space, command)
    made = run("apply", "-f", f"{FOLDER}/")
    assert set(made.splitlines()) == {
        "deployment.apps/nginx-deployment created", "pod/nginx created", "replicaset.apps/nginx-replicaset created",
    }  # fmt: skip
    assert "successfully rolled out" in run("rollout", "status", "deployment/nginx-deployment")
    # As in Kubernetes: the Deployment adopts the ReplicaSet, whose labels it selects, as an old revision of its own; a
    # moment later its pods are not counted any more.
    await_(lambda: len(run("get", "pods", "--no-headers").splitlines()) == 4, what="the ReplicaSet to be scaled down")
    wanted = ["nginx-deployment", "3/3", "3", "3"]
    await_(
        lambda: run("get", "deployment", "nginx-deployment").splitlines()[1].split()[:4] == wanted,
        what="the Deployment to count its own",
    )
    assert "kubernetes" in runner(Space(space.cluster, "default"), command)("get", "services")
    again = {"deployment.apps/nginx-deployment unchanged", "pod/nginx unchanged"}
    assert again <= set(run("apply", "-f", f"{FOLDER}/").splitlines())
    run("delete", "-f", str(FOLDER / "deployment.yaml"), within=120)
    run("delete", "-f", str(FOLDER / "pod.yaml"), "--grace-period=1", within=120)
    await_(lambda: not space.get("pods,rs,deploy")["items"] or None, what="everything to be gone")


@COMMANDS
def test_a_replica_set_and_a_deployment_with_the_same_labels(space: Space, command: str) -> None:
    """As in Kubernetes: an orphan that a Deployment selects becomes its own. One with the same template, if it is the
    older, is what the Deployment rolls out; else it is an old one without a revision, scaled to nothing."""
    run = runner(space, command)
    run("apply", "-f", str(FOLDER / "replicaset.yaml"))
    space.kubectl("wait", "--for=jsonpath={.status.readyReplicas}=3", "rs/nginx-replicaset", "--timeout=60s", within=90)
    pods = run("get", "pods", "-o", "name")
    run("apply", "-f", str(FOLDER / "deployment.yaml"))
    assert "successfully rolled out" in run("rollout", "status", "deployment/nginx-deployment")
    (adopted,) = space.get("rs")["items"]
    assert adopted["metadata"]["ownerReferences"][0]["name"] == "nginx-deployment"
    assert adopted["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "1"
    assert "pod-template-hash" not in adopted["spec"]["template"]["metadata"]["labels"]
    assert run("get", "pods", "-o", "name") == pods

    run("delete", "deployment", "nginx-deployment", "--cascade=foreground", within=120)
    run("apply", "-f", str(FOLDER / "deployment.yaml"))
    assert "successfully rolled out" in run("rollout", "status", "deployment/nginx-deployment")
    run("apply", "-f", str(FOLDER / "replicaset.yaml"))
    await_(lambda: space.get("rs", "nginx-replicaset")["metadata"].get("ownerReferences"), what="the adoption")
    await_(lambda: len(space.get("pods")["items"]) == 3 or None, what="the ReplicaSet to be scaled down")
    labels = [each["metadata"]["labels"] for each in space.get("pods")["items"]]
    assert all(each["pod-template-hash"] for each in labels)


@COMMANDS
def test_run_from_a_registry(space: Space, command: str, registry: str) -> None:
    run = runner(space, command)
    assert run("run", "nginx", "--image", f"{registry}/nginx") == "pod/nginx created\n"
    try:
        found = space.running("nginx")
        assert found["spec"]["containers"][0]["imagePullPolicy"] == "Always", "an image without a tag is the latest"
        events = space.events("nginx")
        assert ("Pulling", f'Pulling image "{registry}/nginx"') in events
        assert any(
            r == "Pulled" and m.startswith(f'Successfully pulled image "{registry}/nginx" in ') for r, m in events
        )
    finally:
        space.kubectl("delete", "pod", "nginx", "--grace-period=0", "--force")

"""Bad input gets a clear error, in Kubernetes' words, through every door: kubectl, plain HTTPS, and `covey` over NATS."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any

import pytest

from mesh.objects.types import Object
from tests.support.clients import Space
from tests.support.cluster import RealCluster

DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 0
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: c, image: i}]}
"""
POD = "{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {containers: [{name: c, image: i}]}}"

NAME_RULE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end "
    "with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    r"'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
LABEL_RULE = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.'"


@dataclass(frozen=True)
class Row:
    """A manifest and what is said about it; `code` is the HTTP status of the refusal."""

    name: str
    manifest: str
    told: str
    code: int


ROWS = [
    Row("unknown field", DEPLOYMENT.replace("replicas", "replica"),
        'strict decoding error: unknown field "spec.replica"', 400),
    Row("wrong type", DEPLOYMENT.replace("replicas: 0", "replicas: many"),
        "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32", 400),
    Row("bad name", POD.replace("name: p", "name: Bad_Name"),
        f'Pod "Bad_Name" is invalid: metadata.name: Invalid value: "Bad_Name": {NAME_RULE}', 422),
    Row("bad label", POD.replace("name: p", 'name: p, labels: {a: "b c"}'),
        f'metadata.labels: Invalid value: "b c": {LABEL_RULE}', 422),
    Row("bad quantity", POD.replace("image: i", "image: i, resources: {limits: {cpu: lots}}"),
        "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'", 400),
    Row("no containers", "{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {containers: []}}",
        'Pod "p" is invalid: spec.containers: Required value', 422),
    Row("containers of one name", POD.replace("[{name: c, image: i}]", "[{name: c, image: i}, {name: c, image: j}]"),
        'Pod "p" is invalid: spec.containers[1].name: Duplicate value: "c"', 422),
    Row("request above its limit",
        POD.replace("image: i", "image: i, resources: {limits: {cpu: 1}, requests: {cpu: 2}}"),
        'spec.containers[0].resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1', 422),
    Row("selector that does not match", DEPLOYMENT.replace("matchLabels: {app: web}", "matchLabels: {app: other}"),
        'spec.template.metadata.labels: Invalid value: {"app":"web"}: '
        "`selector` does not match template `labels`", 422),
    Row("negative replicas", DEPLOYMENT.replace("replicas: 0", "replicas: -1"),
        "spec.replicas: Invalid value: -1: must be greater than or equal to 0", 422),
    Row("port out of range",
        "{apiVersion: v1, kind: Service, metadata: {name: s}, spec: {ports: [{port: 70000}]}}",
        "spec.ports[0].port: Invalid value: 70000: must be between 1 and 65535, inclusive", 422),
    Row("node port out of range",
        "{apiVersion: v1, kind: Service, metadata: {name: s}, spec: {type: NodePort, ports: [{port: 80, nodePort: 80}]}}",
        "spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid range. "
        "The range of valid ports is 30000-32767", 422),
]  # fmt: skip


def plural(manifest: str) -> str:
    for kind, path in (("Deployment", "apis/apps/v1"), ("Pod", "api/v1"), ("Service", "api/v1")):
        if f"kind: {kind}" in manifest:
            return f"/{path}/namespaces/{{}}/{kind.lower()}s"
    raise AssertionError(manifest)


class Https:
    """The HTTPS API as a program with the administrator's certificate sees it, without any client library."""

    def __init__(self, cluster: RealCluster) -> None:
        config = json.loads(cluster.kubectl("config", "view", "--raw", "-o", "json"))
        self.server = config["clusters"][0]["cluster"]["server"]
        pki = cluster.home / "pki"
        self.context = ssl.create_default_context(cafile=str(pki / "ca.crt"))
        self.context.load_cert_chain(pki / "admin.crt", pki / "admin.key")

    def call(
        self, method: str, path: str, body: bytes | None = None, media: str = "application/yaml"
    ) -> tuple[int, Any]:
        """Status code and decoded answer."""
        request = urllib.request.Request(self.server + path, body, {"Content-Type": media}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60, context=self.context) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read())

    def refused(self, method: str, path: str, body: bytes | None = None, media: str = "application/json") -> Object:
        """The Status of a request that is refused."""
        code, status = self.call(method, path, body, media)
        assert (status["kind"], status["status"], status["code"]) == ("Status", "Failure", code)
        found: Object = status
        return found


@pytest.fixture
def https(cluster: RealCluster) -> Https:
    return Https(cluster)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_bad_manifest_is_refused_at_every_door(space: Space, https: Https, row: Row) -> None:
    assert row.told in space.refused("kubectl", "create", "-f", "-", text=row.manifest)
    assert row.told in space.refused("covey", "create", "-f", "-", text=row.manifest)
    path = plural(row.manifest).format(space.name) + "?fieldValidation=Strict"
    status = https.refused("POST", path, row.manifest.encode(), "application/yaml")
    assert (status["code"], row.told in status["message"]) == (row.code, True), status
    assert space.kubectl("get", "pods,deployments,services") == "", "nothing was made of it"


def test_unknown_kinds_and_bodies_that_are_nothing(space: Space, https: Https) -> None:
    unknown = "{apiVersion: example.com/v1, kind: Widget, metadata: {name: w}}"
    assert 'no matches for kind "Widget" in version "example.com/v1"' in space.refused(
        "kubectl", "create", "-f", "-", text=unknown
    )
    assert 'no matches for kind "Widget" in version "example.com/v1"' in space.refused(
        "covey", "create", "-f", "-", text=unknown
    )
    for command in ("kubectl", "covey"):
        assert 'the server doesn\'t have a resource type "widgets"' in space.refused(command, "get", "widgets")
        assert "error" in space.refused(command, "create", "-f", "-", text="{a: [}").lower()
    pods = f"/api/v1/namespaces/{space.name}/pods"
    assert https.refused("GET", "/apis/example.com/v1/widgets")["message"] == (
        "the server could not find the requested resource"
    )
    protobuf = "application/vnd.kubernetes.protobuf"
    for body, media in ((b"{", "application/json"), (b"{a: [}", "application/yaml"), (b"k8s\0\xff", protobuf)):
        assert https.refused("POST", pods, body, media)["reason"] == "BadRequest"
    assert https.refused("POST", pods, b"x", "application/xml")["reason"] == "UnsupportedMediaType"
    assert https.call("GET", "/api?watch=true")[0] == 200, "a document is no watch"


def test_immutable_fields_and_stale_versions(space: Space, https: Https) -> None:
    space.kubectl("create", "-f", "-", text=DEPLOYMENT)
    other = '{"spec":{"selector":{"matchLabels":{"app":"x"}},"template":{"metadata":{"labels":{"app":"x"}}}}}'
    assert "spec.selector: Invalid value" in (told := space.refused("kubectl", "patch", "deploy", "web", "-p", other))
    assert "field is immutable" in told
    stale = space.kubectl("get", "deploy", "web", "-o", "yaml")
    space.kubectl("scale", "deploy", "web", "--replicas=0", "--current-replicas=0")
    space.kubectl("label", "deploy", "web", "a=b")
    told = space.refused("kubectl", "replace", "-f", "-", text=stale)
    modified = "the object has been modified; please apply your changes to the latest version and try again"
    assert told.endswith(f'Operation cannot be fulfilled on deployments.apps "web": {modified}\n')
    path = f"/apis/apps/v1/namespaces/{space.name}/deployments/web"
    status = https.refused("PUT", path, stale.encode(), "application/yaml")
    assert (status["code"], status["reason"]) == (409, "Conflict")
    space.kubectl("create", "-f", "-", text=POD.replace("containers:", "nodeSelector: {no: node}, containers:"))
    command = '{"spec":{"containers":[{"name":"c","command":["x"]}]}}'
    assert "pod updates may not change fields other than" in space.refused(
        "kubectl", "patch", "pod", "p", "-p", command
    )


def test_too_large(space: Space, https: Https) -> None:
    maps = f"/api/v1/namespaces/{space.name}/configmaps"
    data = {"metadata": {"name": "big"}, "data": {"x": "x" * (1 << 20)}}
    status = https.refused("POST", maps, json.dumps({**data, "data": {"x": "x" * (1600 << 10)}}).encode())
    assert (status["code"], "Too long" in status["message"]) == (422, True)
    labels = {f"l{i}": "v" * 60 for i in range(26000)}
    status = https.refused("POST", maps, json.dumps({"metadata": {"name": "big", "labels": labels}}).encode())
    assert (status["code"], status["message"].rpartition("limit is ")[2]) == (413, "1572864 bytes (1.5 MiB)")
    status = https.refused("POST", maps, b" " * (4 << 20))
    assert status["message"] == "the request body is too large: 4194304 bytes, limit is 3145728 bytes (3 MiB)"
    assert https.call("POST", maps, json.dumps(data).encode(), "application/json")[0] == 201
    text = "{apiVersion: v1, kind: ConfigMap, metadata: {name: over}, data: {x: " + "x" * (4 << 20) + "}}"
    assert "limit is 3145728" in space.refused("covey", "create", "-f", "-", text=text)
    assert "limit is 3145728 bytes (3 MiB)" in space.refused("kubectl", "create", "-f", "-", text=text)


def test_a_node_port_is_given_once(space: Space) -> None:
    space.kubectl("create", "service", "nodeport", "one", "--tcp=80")
    taken = space.get("service", "one")["spec"]["ports"][0]["nodePort"]
    for command in ("kubectl", "covey"):
        manifest = (
            "{apiVersion: v1, kind: Service, metadata: {name: two}, "
            f"spec: {{type: NodePort, ports: [{{port: 80, nodePort: {taken}}}]}}}}"
        )
        assert (
            f'Service "two" is invalid: spec.ports[0].nodePort: Invalid value: {taken}: '
            "provided port is already allocated"
        ) in space.refused(command, "create", "-f", "-", text=manifest)

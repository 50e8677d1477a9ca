"""Requests and their answers: verbs, refusals in Kubernetes' words, preconditions, limits."""

from __future__ import annotations

import random
from pathlib import Path

import orjson
import pytest

from controlplane.apiserver.allocation import Allocation
from controlplane.apiserver.reservations import Reservations
from mesh.api.port import JSON, JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH, YAML
from mesh.clock import SystemClock
from mesh.config import NetworkConfig
from mesh.store.memory import Engine
from tests.support.apiserver import NOBODY, Cluster, deployment, pod, running, service

PODS = "/api/v1/namespaces/default/pods"
CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
KUBERNETES = "/api/v1/namespaces/default/services/kubernetes"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
STRICT = (
    'Deployment in version "v1" cannot be handled as a Deployment: strict decoding error: unknown field "spec.replica"'
)
OTHER_NAMESPACE = "the namespace of the provided object does not match the namespace sent on the request: b != default"
MATCH_ALONE = (
    'ListOptions "" is invalid: resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden '
    "unless resourceVersion is provided"
)
MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"


def configmap(name: str = "a", **data: str) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


async def test_object_lives(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        made = await api.ok("POST", CONFIGMAPS, configmap(x="1"))
        assert made["metadata"]["uid"]
        assert made["metadata"]["creationTimestamp"]
        assert await api.ok("GET", f"{CONFIGMAPS}/a") == made
        made["data"]["x"] = "2"
        changed = await api.ok("PUT", f"{CONFIGMAPS}/a", made)
        assert int(changed["metadata"]["resourceVersion"]) > int(made["metadata"]["resourceVersion"])
        assert await api.ok("PUT", f"{CONFIGMAPS}/a", changed) == changed, "a write that changes nothing is none"
        gone = await api.ok("DELETE", f"{CONFIGMAPS}/a")
        assert (gone["status"], gone["details"]["uid"]) == ("Success", made["metadata"]["uid"])
        assert await api.refused("GET", f"{CONFIGMAPS}/a") == (404, "NotFound", 'configmaps "a" not found')


async def test_null_kind_is_the_expected_one(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        made = await api.ok("POST", CONFIGMAPS, {"apiVersion": None, "kind": None, "metadata": {"name": "a"}})
        assert (made["apiVersion"], made["kind"]) == ("v1", "ConfigMap")


@pytest.mark.parametrize(
    ("method", "url", "body", "expected"),
    [
        ("GET", "/api/v1/namespaces/default/widgets", None,
         (404, "NotFound", "the server could not find the requested resource")),
        ("GET", f"{PODS}/none", None, (404, "NotFound", 'pods "none" not found')),
        ("PUT", f"{DEPLOYMENTS}/web", deployment("web"), (404, "NotFound", 'deployments.apps "web" not found')),
        ("POST", "/api/v1/namespaces/none/configmaps", configmap(), (404, "NotFound", 'namespaces "none" not found')),
        ("POST", CONFIGMAPS, {**configmap(), "metadata": {"name": "a", "namespace": "b"}},
         (400, "BadRequest", OTHER_NAMESPACE)),
        ("POST", f"{DEPLOYMENTS}", {**deployment("x"), "apiVersion": "v1"},
         (400, "BadRequest", "the API version in the data (v1) does not match the expected API version (apps/v1)")),
        ("POST", f"{DEPLOYMENTS}?fieldValidation=Strict",
         {**deployment("x"), "spec": {**deployment("x")["spec"], "replica": 2}},
         (400, "BadRequest", STRICT)),
        ("DELETE", "/api/v1/namespaces/default", None,
         (403, "Forbidden", 'namespaces "default" is forbidden: this namespace may not be deleted')),
        ("GET", f"{PODS}?fieldSelector=spec.color=red", None,
         (400, "BadRequest", "field label not supported: spec.color")),
        ("GET", f"{PODS}?resourceVersionMatch=Exact", None,
         (422, "Invalid", MATCH_ALONE)),
        ("GET", f"{PODS}?continue=nonsense", None,
         (400, "BadRequest", "continue key is not valid: encoding is not a continue token of this server")),
        ("POST", f"{PODS}?dryRun=Some", pod("x"),
         (422, "Invalid", 'CreateOptions "" is invalid: dryRun: Unsupported value: "Some": supported values: "All"')),
        ("PATCH", "/api/v1/namespaces/default", {}, (415, "UnsupportedMediaType", None)),
        ("POST", CONFIGMAPS, b"[]", (400, "BadRequest", None)),
        ("POST", CONFIGMAPS, b"{", (400, "BadRequest", None)),
        ("POST", CONFIGMAPS, b"", (400, "BadRequest", None)),
        ("POST", CONFIGMAPS, b"[" * 2000, (400, "BadRequest", None)),
        ("POST", CONFIGMAPS, b'{"metadata":"x"}', (400, "BadRequest", None)),
        ("POST", CONFIGMAPS, {"metadata": {"name": "big"}, "data": {"x": "x" * (1600 << 10)}}, (422, "Invalid", None)),
        ("POST", CONFIGMAPS, b" " * (4 << 20),
         (413, "RequestEntityTooLarge",
          "the request body is too large: 4194304 bytes, limit is 3145728 bytes (3 MiB)")),
        ("POST", "/api/v1/namespaces", {"metadata": {"name": "x", "annotations": {"a": "b" * (2 << 20)}}},
         (422, "Invalid", None)),
        ("POST", "/api/v1/pods", pod("x"), (405, "MethodNotAllowed", None)),
        ("GET", f"{PODS}?resourceVersion={'9' * 5000}", None, (422, "Invalid", None)),
        ("PUT", "/api/v1/namespaces/default", {"metadata": {"resourceVersion": "\N{SUPERSCRIPT TWO}"}},
         (422, "Invalid", None)),
        ("PUT", "/api/v1/namespaces/default", {"metadata": {"resourceVersion": "9" * 5000}}, (422, "Invalid", None)),
        ("DELETE", KUBERNETES, {"preconditions": {"resourceVersion": "\N{SUPERSCRIPT TWO}"}}, (409, "Conflict", None)),
        ("DELETE", KUBERNETES, {"dryRun": 5}, (400, "BadRequest", None)),
        ("DELETE", KUBERNETES, {"orphanDependents": []}, (400, "BadRequest", None)),
        ("DELETE", KUBERNETES, {"gracePeriodSeconds": "5"}, (400, "BadRequest", None)),
        ("DELETE", "/api/v1/namespaces", None, (405, "MethodNotAllowed", None)),
    ],
)  # fmt: skip
async def test_refusal(
    tmp_path: Path, method: str, url: str, body: object, expected: tuple[int, str, str | None]
) -> None:
    async with running(tmp_path) as api:
        code, reason, message = await api.refused(method, url, body)
        assert (code, reason) == expected[:2], message
        assert expected[2] in {None, message}


async def test_stranger_is_refused(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        jane = Cluster(api.server, NOBODY)
        told = 'User "jane" cannot list resource "pods" in API group ""'
        assert (await jane.refused("GET", PODS))[2] == f'pods is forbidden: {told} in the namespace "default"'
        assert (await jane.refused("GET", "/api/v1/pods"))[2] == f"pods is forbidden: {told} at the cluster scope"
        assert (await jane.refused("GET", f"{PODS}/x"))[2] == (
            'pods "x" is forbidden: User "jane" cannot get resource "pods" in API group "" in the namespace "default"'
        )
        assert (await jane.refused("GET", "/metrics"))[2] == 'forbidden: User "jane" cannot get path "/metrics"'
        assert (await jane.ok("GET", "/version"))["major"] == "1"


async def test_object_over_the_limit_is_413(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        entries = {"labels": {"x": "y"}, "name": "big"}
        env = [{"name": f"V{i}", "value": "v" * 1000} for i in range(1700)]
        big = {**pod("big"), "metadata": entries, "spec": {"containers": [{"name": "c", "image": "i", "env": env}]}}
        code, reason, message = await api.refused("POST", PODS, big)
        assert (code, reason) == (413, "RequestEntityTooLarge")
        assert message.endswith("limit is 1572864 bytes (1.5 MiB)")


async def test_stale_resource_version_conflicts(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        old = await api.ok("POST", DEPLOYMENTS, deployment("x"))
        await api.ok("PATCH", f"{DEPLOYMENTS}/x", {"spec": {"replicas": 2}}, MERGE_PATCH)
        message = f'Operation cannot be fulfilled on deployments.apps "x": {MODIFIED}'
        assert await api.refused("PUT", f"{DEPLOYMENTS}/x", old) == (409, "Conflict", message)
        stale = {"metadata": {"resourceVersion": old["metadata"]["resourceVersion"]}, "spec": {"replicas": 3}}
        assert await api.refused("PATCH", f"{DEPLOYMENTS}/x", stale, MERGE_PATCH) == (409, "Conflict", message)
        foreign = {"metadata": {"uid": "other"}, "spec": {"replicas": 3}}
        code, _, told = await api.refused("PATCH", f"{DEPLOYMENTS}/x", foreign, MERGE_PATCH)
        assert (code, "Precondition failed: UID in precondition: other" in told) == (409, True)


async def test_generation_follows_the_spec_and_status_is_apart(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        made = await api.ok("POST", DEPLOYMENTS, {**deployment("x"), "status": {"replicas": 7}})
        assert (made["metadata"]["generation"], made.get("status") or {}) == (1, {})
        url = f"{DEPLOYMENTS}/x"
        labelled = await api.ok("PATCH", url, {"metadata": {"labels": {"a": "b"}}}, MERGE_PATCH)
        assert labelled["metadata"]["generation"] == 1
        scaled = await api.ok("PATCH", url, {"spec": {"replicas": 5}, "status": {"replicas": 9}}, MERGE_PATCH)
        assert (scaled["metadata"]["generation"], scaled.get("status") or {}) == (2, {})
        status = {"spec": {"replicas": 1}, "status": {"replicas": 4, "observedGeneration": 2}}
        after = await api.ok("PATCH", f"{url}/status", status, MERGE_PATCH)
        assert (after["spec"]["replicas"], after["status"]["replicas"]) == (5, 4)
        assert after["metadata"]["generation"] == 2


@pytest.mark.parametrize(
    ("patch", "content_type"),
    [
        ([{"op": "replace", "path": "/spec/replicas", "value": 3}], JSON_PATCH),
        ({"spec": {"replicas": 3}}, MERGE_PATCH),
        ({"spec": {"replicas": 3, "template": {"spec": {"containers": [{"name": "c", "image": "nginx"}]}}}},
         STRATEGIC_MERGE_PATCH),
    ],
)  # fmt: skip
async def test_patches(tmp_path: Path, patch: object, content_type: str) -> None:
    async with running(tmp_path) as api:
        await api.ok("POST", DEPLOYMENTS, deployment("x"))
        assert (await api.ok("PATCH", f"{DEPLOYMENTS}/x", patch, content_type))["spec"]["replicas"] == 3


async def test_server_side_apply_is_refused_in_a_sentence(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        code, reason, message = await api.refused("PATCH", f"{PODS}/x", b"{}", "application/apply-patch+yaml")
        assert (code, reason) == (415, "UnsupportedMediaType")
        assert message.startswith("server-side apply is not supported by this server yet")


async def test_yaml_that_grows_without_bound_is_refused(tmp_path: Path) -> None:
    levels = [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]" for n in range(1, 12)]
    text = "\n".join(["l0: &l0 [x, x, x, x, x, x, x, x, x, x]", *levels]).encode()
    told = "error converting YAML to JSON: yaml: document contains excessive aliasing"
    async with running(tmp_path) as api:
        assert await api.refused("POST", CONFIGMAPS, text, YAML) == (400, "BadRequest", told)
        merges = [f"m{n}: &m{n} {{<<: [{', '.join([f'*m{n - 1}'] * 3000)}]}}" for n in range(1, 12)]
        text = "\n".join(["m0: &m0 {a: 1, b: 2, c: 3, d: 4}", *merges]).encode()
        assert await api.refused("POST", CONFIGMAPS, text, YAML) == (400, "BadRequest", told)
        text = b"a: &a {x: '1', y: '2'}\nmetadata: {name: m}\ndata: {<<: *a, y: '3'}\n"
        assert (await api.ok("POST", CONFIGMAPS, text, YAML))["data"] == {"x": "1", "y": "3"}
        text = b"a: &a {x: '1'}\nmetadata: {name: a}\ndata: *a\n"
        assert (await api.ok("POST", CONFIGMAPS, text, YAML))["data"] == {"x": "1"}


async def test_yaml_and_fields_given_twice(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        text = b"metadata: {name: y, annotations: {since: '2020-01-01'}}\ndata: {on: '1'}\n"
        made = await api.ok("POST", CONFIGMAPS, text, YAML)
        assert made["data"] in ({"on": "1"}, {"true": "1"})
        twice = b'{"metadata":{"name":"z","name":"z"},"data":{"a":"b"}}'
        code, _, message = await api.refused("POST", f"{CONFIGMAPS}?fieldValidation=Strict", twice)
        assert (code, message.endswith('strict decoding error: duplicate field "metadata.name"')) == (400, True)
        response = await api.call("POST", CONFIGMAPS, twice)
        assert response.headers == (("Warning", '299 - "duplicate field \\"metadata.name\\""'),)


async def test_what_is_deprecated_says_so_on_every_answer(tmp_path: Path) -> None:
    told = (("Warning", '299 - "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"'),)
    url = "/api/v1/namespaces/default/endpoints"
    async with running(tmp_path) as api:
        made = {"metadata": {"name": "e"}}
        for method, path, body in (("POST", url, made), ("GET", url, None), ("GET", f"{url}/e", None)):
            assert (await api.call(method, path, body)).headers == told
        assert (await api.call("GET", CONFIGMAPS)).headers == ()


async def test_generate_name_and_dry_run(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        wanted = {"metadata": {"generateName": "c-"}}
        names = {(await api.ok("POST", CONFIGMAPS, wanted))["metadata"]["name"] for _ in range(20)}
        assert len(names) == 20
        assert all(len(name) == 7 and name.startswith("c-") for name in names)
        dry = await api.ok("POST", f"{CONFIGMAPS}?dryRun=All", configmap("dry"))
        assert dry["metadata"]["uid"]
        assert (await api.refused("GET", f"{CONFIGMAPS}/dry"))[0] == 404
        taken = next(iter(names))
        assert (await api.refused("POST", CONFIGMAPS, configmap(taken)))[1:] == (
            "AlreadyExists",
            f'configmaps "{taken}" already exists',
        )


async def test_admission_completes_pods(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        spec = (await api.ok("POST", PODS, pod("x")))["spec"]
        assert (spec["serviceAccountName"], spec["priority"], spec["preemptionPolicy"]) == (
            "default", 0, "PreemptLowerPriority",
        )  # fmt: skip
        assert [(t["key"], t["tolerationSeconds"]) for t in spec["tolerations"]] == [
            ("node.kubernetes.io/not-ready", 30),
            ("node.kubernetes.io/unreachable", 1),
        ]
        mount = spec["containers"][0]["volumeMounts"][0]
        assert mount["mountPath"] == "/var/run/secrets/kubernetes.io/serviceaccount"
        assert mount["name"] == spec["volumes"][0]["name"]
        code, _, message = await api.refused("POST", PODS, pod("y", serviceAccountName="robot"))
        assert (code, message) == (
            403,
            'pods "y" is forbidden: error looking up service account default/robot: serviceaccount "robot" not found',
        )


@pytest.mark.parametrize(
    ("field", "why"),
    [
        ("priorityClassName", "no PriorityClass with name nope was found"),
        ("runtimeClassName", 'pod rejected: RuntimeClass "nope" not found'),
    ],
)
async def test_admission_refuses_classes_that_do_not_exist(tmp_path: Path, field: str, why: str) -> None:
    async with running(tmp_path) as api:
        refused = await api.refused("POST", PODS, pod("y", **{field: "nope"}))
        assert refused == (403, "Forbidden", f'pods "y" is forbidden: {why}')


async def test_scale(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        await api.ok("POST", DEPLOYMENTS, deployment("x", 2))
        scale = await api.ok("GET", f"{DEPLOYMENTS}/x/scale")
        assert (scale["kind"], scale["spec"], scale["status"]["selector"]) == ("Scale", {"replicas": 2}, "app=x")
        after = await api.ok("PATCH", f"{DEPLOYMENTS}/x/scale", {"spec": {"replicas": 6}}, MERGE_PATCH)
        assert after["spec"] == {"replicas": 6}
        assert (await api.ok("GET", f"{DEPLOYMENTS}/x"))["spec"]["replicas"] == 6
        code, _, message = await api.refused("PUT", f"{DEPLOYMENTS}/x/scale", {**after, "spec": {"replicas": -1}})
        assert (code, message) == (
            422,
            'Scale.autoscaling "x" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0',
        )


async def test_binding(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        await api.ok("POST", PODS, pod("x"))
        binding = {"metadata": {"name": "x"}, "target": {"kind": "Node", "name": "n1"}}
        assert (await api.ok("POST", f"{PODS}/x/binding", binding))["status"] == "Success"
        bound = await api.ok("GET", f"{PODS}/x")
        assert bound["spec"]["nodeName"] == "n1"
        assert [(c["type"], c["status"]) for c in bound["status"]["conditions"]] == [("PodScheduled", "True")]
        assert await api.refused("POST", f"{PODS}/x/binding", binding) == (
            409,
            "Conflict",
            'Operation cannot be fulfilled on pods/binding "x": pod x is already assigned to node "n1"',
        )


async def test_representations(tmp_path: Path) -> None:
    table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
    partial = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
    async with running(tmp_path) as api:
        await api.ok("POST", PODS, pod("x"))
        shown = await api.ok("GET", PODS, accept=table)
        assert (shown["kind"], shown["rows"][0]["cells"][0]) == ("Table", "x")
        shown = await api.ok("GET", PODS, accept=partial)
        assert (shown["kind"], sorted(shown["items"][0])) == (
            "PartialObjectMetadataList", ["apiVersion", "kind", "metadata"],
        )  # fmt: skip
        assert (await api.ok("GET", f"{PODS}/x", accept="application/vnd.kubernetes.protobuf,application/json"))["spec"]
        assert (await api.call("GET", PODS, accept="image/png")).status == 406
        assert (await api.call("GET", f"{PODS}/x", accept="application/yaml")).body.startswith(b"apiVersion: v1")


async def test_documents(tmp_path: Path) -> None:
    aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"
    async with running(tmp_path) as api:
        assert (await api.ok("GET", "/api"))["versions"] == ["v1"]
        assert {g["name"] for g in (await api.ok("GET", "/apis"))["groups"]} >= {"apps", "discovery.k8s.io"}
        found = await api.ok("GET", "/apis", accept=aggregated)
        assert found["kind"] == "APIGroupDiscoveryList"
        names = {r["name"] for r in (await api.ok("GET", "/api/v1"))["resources"]}
        assert names >= {"pods", "pods/log", "pods/binding", "pods/eviction", "serviceaccounts/token", "nodes/status"}
        assert (await api.call("GET", "/readyz")).body == b"ok"
        assert b"[+]store ok" in (await api.call("GET", "/readyz?verbose")).body
        assert (await api.call("GET", "/readyz/store")).status == 200
        metrics = (await api.call("GET", "/metrics")).body
        assert b"apiserver_request_total" in metrics
        assert b"process_resident_memory_bytes" in metrics, "what the rest of the process counts"
        assert "apis/apps/v1" in (await api.ok("GET", "/openapi/v3"))["paths"]
        assert (await api.ok("GET", "/openapi/v2"))["swagger"] == "2.0"
        assert (await api.refused("GET", "/apis/none"))[0] == 404
        assert orjson.loads((await api.call("GET", "/openid/v1/jwks")).body)["keys"][0]["crv"] == "P-256"


async def test_system_objects(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        spaces = [n["metadata"]["name"] for n in (await api.ok("GET", "/api/v1/namespaces"))["items"]]
        assert spaces == ["default", "kube-node-lease", "kube-public", "kube-system"]
        kubernetes = await api.ok("GET", "/api/v1/namespaces/default/services/kubernetes")
        assert kubernetes["spec"]["clusterIP"] == "10.96.0.1"
        slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes"
        assert (await api.ok("GET", slices))["endpoints"][0]["addresses"] == ["192.0.2.1"]


async def test_eviction_and_service_token(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        await api.ok("POST", PODS, pod("x"))
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 60}}
        url = "/api/v1/namespaces/default/serviceaccounts/default/token"
        assert "may not specify a duration less than 10 minutes" in (await api.refused("POST", url, request))[2]
        request["spec"] = {"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "x"}}
        answer = await api.ok("POST", url, request)
        assert answer["status"]["token"].count(".") == 2
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "x"}}
        assert (await api.ok("POST", f"{PODS}/x/eviction", eviction))["status"] == "Success"
        assert (await api.refused("GET", f"{PODS}/x"))[0] == 404


async def test_services_get_addresses(tmp_path: Path) -> None:
    services = "/api/v1/namespaces/default/services"
    async with running(tmp_path, service_cidrs=["10.9.0.0/29"], dns_address="10.9.0.2", node_port_min=30000,
                       node_port_max=30001) as api:  # fmt: skip
        first = await api.ok("POST", services, service("a", type="NodePort"))
        assert first["spec"]["clusterIPs"] == [first["spec"]["clusterIP"]]
        assert first["spec"]["ports"][0]["nodePort"] in {30000, 30001}
        taken = first["spec"]["clusterIP"]
        assert (await api.refused("POST", services, service("b", clusterIP=taken)))[2] == (
            f'Service "b" is invalid: spec.clusterIPs: Invalid value: ["{taken}"]: '
            f"failed to allocate IP {taken}: provided IP is already allocated"
        )
        number = first["spec"]["ports"][0]["nodePort"]
        wanted = service("b", type="NodePort", ports=[{"port": 80, "nodePort": number}])
        assert (await api.refused("POST", services, wanted))[2] == (
            f'Service "b" is invalid: spec.ports[0].nodePort: Invalid value: {number}: '
            "provided port is already allocated"
        )
        wanted = service("b", type="NodePort", ports=[{"port": 80, "nodePort": 80}])
        assert "The range of valid ports is 30000-30001" in (await api.refused("POST", services, wanted))[2]
        await api.ok("POST", services, service("b", type="NodePort"))
        assert "range is full" in (await api.refused("POST", services, service("c", type="NodePort")))[2]
        dns = await api.ok("GET", "/api/v1/namespaces/kube-system/services/kube-dns")
        assert dns["spec"]["clusterIP"] == "10.9.0.2"
        headless = await api.ok("POST", services, service("h", clusterIP="None"))
        assert headless["spec"]["clusterIPs"] == ["None"]
        await api.ok("DELETE", f"{services}/a")
        again = await api.ok("POST", services, service("b2", type="NodePort"))
        assert again["spec"]["ports"][0]["nodePort"] == number
        plain = {**again, "spec": {**again["spec"], "type": "ClusterIP", "ports": [{"port": 80, "protocol": "TCP"}]}}
        await api.ok("PUT", f"{services}/b2", plain)
        await api.ok("POST", services, service("d", type="NodePort"))


async def test_event_that_the_store_has_forgotten_is_not_found(tmp_path: Path) -> None:
    """A server that was started after the Event was written remembers it for longer than the store does."""
    url = "/api/v1/namespaces/default/events"
    event = {"metadata": {"name": "e"}, "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"}}
    engine = Engine()
    async with running(tmp_path, events_engine=engine) as api:
        for method, body in (("PATCH", {"count": 2}), ("DELETE", None)):
            await api.ok("POST", url, event)
            engine.entries.clear()
            told = (404, "NotFound", 'events "e" not found')
            assert await api.refused(method, f"{url}/e", body, MERGE_PATCH if body else JSON) == told


async def test_only_a_services_own_reservations_are_freed_with_it(tmp_path: Path) -> None:
    """A server that stalled between deleting a Service and freeing its address may find that another has it by now."""
    services = "/api/v1/namespaces/default/services"
    async with running(tmp_path) as api:
        old = await api.ok("POST", services, service("a", clusterIP="10.96.0.50"))
        await api.ok("DELETE", f"{services}/a")
        await api.ok("POST", services, service("b", clusterIP="10.96.0.50"))
        stalled = Allocation(Reservations(api.server.registry, SystemClock()), NetworkConfig(), random.Random(1))
        await stalled.freed(old)
        assert (
            "provided IP is already allocated"
            in (await api.refused("POST", services, service("c", clusterIP="10.96.0.50")))[2]
        )

"""Questions that are answered and not stored: who, may I, may they, what may I, whose token."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mesh.api.port import User
from tests.support.apiserver import NOBODY, Cluster, running

ACCESS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
OTHERS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
LOCAL = "/apis/authorization.k8s.io/v1/namespaces/default/localsubjectaccessreviews"
RULES = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
SELF = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
TOKENS = "/apis/authentication.k8s.io/v1/tokenreviews"
NODE = User("system:node:a", ("system:nodes", "system:authenticated"))
PODS = {"verb": "delete", "resource": "pods", "namespace": "default"}
LOOK = {"verb": "get", "path": "/version"}
ONE_THING = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
PATH_GIVEN = 'spec.nonResourceAttributes: Invalid value: {"verb":"get","path":"/version"}'
NOBODY_NAMED = 'spec.user: Invalid value: "": at least one of user or group must be specified'


async def test_who_i_am_and_what_i_may(tmp_path: Path) -> None:
    may, look = {"spec": {"resourceAttributes": PODS}}, {"spec": {"nonResourceAttributes": LOOK}}
    async with running(tmp_path) as api:
        jane = Cluster(api.server, NOBODY)
        assert (await api.ok("POST", ACCESS, may))["status"] == {"allowed": True}
        assert (await jane.ok("POST", ACCESS, may))["status"] == {"allowed": False}
        assert (await jane.ok("POST", ACCESS, look))["status"] == {"allowed": True}
        who = await jane.ok("POST", SELF, {})
        assert who["status"] == {"userInfo": {"username": "jane", "groups": ["system:authenticated"]}}
        assert (await api.refused("GET", ACCESS))[0] == 405
        assert (await api.refused("DELETE", f"{ACCESS}/x"))[0] == 405
        for url in (OTHERS, LOCAL, TOKENS):
            assert (await jane.refused("POST", url, {"spec": {}}))[0] == 403


async def test_discovery_lists_them(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        found = {}
        for group in ("authentication", "authorization"):
            listed = await api.ok("GET", f"/apis/{group}.k8s.io/v1")
            found |= {r["name"]: r["namespaced"] for r in listed["resources"] if r["verbs"] == ["create"]}
        assert found == {
            "selfsubjectreviews": False,
            "tokenreviews": False,
            "localsubjectaccessreviews": True,
            "selfsubjectaccessreviews": False,
            "selfsubjectrulesreviews": False,
            "subjectaccessreviews": False,
        }


async def test_all_that_i_may(tmp_path: Path) -> None:
    async def rules(api: Cluster, user: User, namespace: str) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
        status = (await Cluster(api.server, user).ok("POST", RULES, {"spec": {"namespace": namespace}}))["status"]
        assert status["incomplete"] is False
        resources = {f"{r['resources'][0]}.{r['apiGroups'][0]}": r["verbs"] for r in status["resourceRules"]}
        return resources, {r["nonResourceURLs"][0]: r["verbs"] for r in status["nonResourceRules"]}

    async with running(tmp_path) as api:
        admin = (await api.ok("POST", RULES, {"spec": {"namespace": "default"}}))["status"]
        assert admin == {
            "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
            "incomplete": False,
        }
        resources, paths = await rules(api, NOBODY, "default")
        assert resources == {
            "selfsubjectreviews.authentication.k8s.io": ["create"],
            "selfsubjectaccessreviews.authorization.k8s.io": ["create"],
            "selfsubjectrulesreviews.authorization.k8s.io": ["create"],
        }
        assert paths["/apis/*"] == paths["/version"] == ["get", "head"]
        anonymous = User("system:anonymous", ("system:unauthenticated",))
        node, _ = await rules(api, NODE, "default")
        assert node["pods/status."] == ["get", "patch", "update"]
        assert "leases.coordination.k8s.io" not in node
        node, _ = await rules(api, NODE, "kube-node-lease")
        assert "update" in node["leases.coordination.k8s.io"]
        assert (await Cluster(api.server, anonymous).refused("POST", RULES, {}))[0] == 403
        assert await api.refused("POST", RULES, {"spec": {}}) == (400, "BadRequest", "no namespace on request")


@pytest.mark.parametrize(
    ("url", "spec", "message"),
    [
        (ACCESS, {}, f"spec.resourceAttributes: Invalid value: null: {ONE_THING}"),
        (OTHERS, {"user": "jane"}, f"spec.resourceAttributes: Invalid value: null: {ONE_THING}"),
        (OTHERS, {"resourceAttributes": PODS}, NOBODY_NAMED),
        (
            OTHERS,
            {"resourceAttributes": PODS, "nonResourceAttributes": LOOK, "user": "jane"},
            f"{PATH_GIVEN}: cannot be specified in combination with resourceAttributes",
        ),
        (
            LOCAL,
            {"resourceAttributes": {**PODS, "namespace": "other"}, "user": "jane"},
            'spec.resourceAttributes.namespace: Invalid value: "other": must match metadata.namespace',
        ),
        (
            LOCAL,
            {"nonResourceAttributes": LOOK, "user": "jane"},
            f"{PATH_GIVEN}: disallowed on this kind of request",
        ),
    ],
)
async def test_questions_that_make_no_sense(tmp_path: Path, url: str, spec: dict[str, Any], message: str) -> None:
    async with running(tmp_path) as api:
        code, reason, told = await api.refused("POST", url, {"spec": spec})
        assert (code, reason) == (422, "Invalid")
        assert told.partition(' "" is invalid: ')[2] == message


@pytest.mark.parametrize("url", [OTHERS, LOCAL])
async def test_what_others_may(tmp_path: Path, url: str) -> None:
    async with running(tmp_path) as api:
        for groups, allowed in ((["system:nodes"], True), (["system:masters"], True), (["dev"], False)):
            spec = {"user": "jane", "groups": groups, "resourceAttributes": PODS}
            answer = await api.ok("POST", url, {"spec": spec})
            assert (answer["spec"], answer["status"]) == (spec, {"allowed": allowed})


async def test_whose_token(tmp_path: Path) -> None:
    accounts = "/api/v1/namespaces/default/serviceaccounts/default/token"
    async with running(tmp_path) as api:
        made = await api.ok("POST", accounts, {"spec": {"audiences": ["vault", "https://kubernetes.default"]}})
        token = made["status"]["token"]
        answer = (await api.ok("POST", TOKENS, {"spec": {"token": token, "audiences": ["x", "vault"]}}))["status"]
        assert (answer["authenticated"], answer["audiences"]) == (True, ["vault"])
        assert answer["user"]["username"] == "system:serviceaccount:default:default"
        for spec in ({"token": token}, {"token": token, "audiences": ["x"]}, {"token": "nonsense"}):
            status = (await api.ok("POST", TOKENS, {"spec": spec}))["status"]
            assert status == {"user": {}, "error": "invalid bearer token"}
        told = "token is required for TokenReview in authentication"
        assert await api.refused("POST", TOKENS, {"spec": {}}) == (400, "BadRequest", told)

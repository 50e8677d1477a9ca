"""Questions that are answered and not stored: who am I (`kubectl auth whoami`), may I do this (`kubectl auth can-i`), what
may I do (`--list`), and for those who ask on behalf of others: may they do this, whose token is this.

Source: https://kubernetes.io/docs/reference/access-authn-authz/authorization/#checking-api-access and
pkg/registry/authorization, pkg/registry/authentication and pkg/apis/authorization/validation of Kubernetes.
"""

from __future__ import annotations

from collections.abc import Callable

from controlplane.apiserver import bodies
from controlplane.apiserver.authorize import Attributes, Authorizer
from controlplane.apiserver.render import Renderer
from controlplane.apiserver.routes import Route
from controlplane.apiserver.strategies import causes
from controlplane.apiserver.strategies.strategy import invalid
from controlplane.apiserver.tokens import ISSUER, Tokens
from mesh.api.port import Request, Response, User
from mesh.clock import Clock
from mesh.errors import BadRequest, Cause, Unauthorized
from mesh.objects.kinds import (
    ACCESS_REVIEWS,
    LOCAL_ACCESS_REVIEWS,
    RULES_REVIEWS,
    SELF_ACCESS_REVIEWS,
    SELF_REVIEWS,
    TOKEN_REVIEWS,
    Resource,
)
from mesh.objects.meta import format_time
from mesh.objects.types import Object

Answer = Callable[[Object, User], Object]
"""(review, who asks) -> its status."""


class Reviews:
    """Answers the resources of `kinds.REVIEWS` with what the authorizer and the authenticator know."""

    def __init__(self, authorizer: Authorizer, tokens: Tokens, clock: Clock) -> None:
        self._authorizer = authorizer
        self._tokens = tokens
        self._clock = clock
        self._answers: dict[Resource, Answer] = {
            SELF_REVIEWS: self._who,
            TOKEN_REVIEWS: self._token,
            SELF_ACCESS_REVIEWS: self._own_access,
            LOCAL_ACCESS_REVIEWS: self._local_access,
            ACCESS_REVIEWS: self._access,
            RULES_REVIEWS: self._rules,
        }

    def answer(self, request: Request, user: User, route: Route, renderer: Renderer) -> Response:
        """The review in the body with its status filled in; raises `BadRequest` or `Invalid`."""
        resource = route.resource
        review, warnings = bodies.read(request, resource.api_version, resource.kind)
        bodies.match_namespace(review, route)
        review["status"] = self._answers[resource](review, user)
        review["metadata"]["creationTimestamp"] = format_time(self._clock.now())
        return renderer.value(review, status=201, headers=bodies.warning_headers(warnings))

    def _who(self, _review: Object, user: User) -> Object:
        return {"userInfo": _info(user)}

    def _token(self, review: Object, _user: User) -> Object:
        spec = review.get("spec") or {}
        if not spec.get("token"):
            raise BadRequest("token is required for TokenReview in authentication")
        try:
            owner, audiences = self._tokens.review(spec["token"], spec.get("audiences") or (ISSUER,))
        except Unauthorized:
            return {"user": {}, "error": "invalid bearer token"}
        return {"authenticated": True, "user": _info(owner), "audiences": audiences}

    def _own_access(self, review: Object, user: User) -> Object:
        spec = review.get("spec") or {}
        _check(SELF_ACCESS_REVIEWS, _exactly_one(spec))
        return self._decision(user, spec)

    def _access(self, review: Object, _user: User) -> Object:
        spec = review.get("spec") or {}
        _check(ACCESS_REVIEWS, _exactly_one(spec) + _somebody(spec))
        return self._decision(_subject(spec), spec)

    def _local_access(self, review: Object, _user: User) -> Object:
        spec = review.get("spec") or {}
        _check(LOCAL_ACCESS_REVIEWS, _exactly_one(spec) + _somebody(spec) + _inside(spec, review["metadata"]))
        return self._decision(_subject(spec), spec)

    def _decision(self, user: User, spec: Object) -> Object:
        return {"allowed": self._authorizer.allows(user, _wanted(spec))}

    def _rules(self, review: Object, user: User) -> Object:
        namespace = (review.get("spec") or {}).get("namespace")
        if not namespace:
            raise BadRequest("no namespace on request")
        rules = self._authorizer.rules(user, namespace)
        return {
            "resourceRules": [
                {"verbs": sorted(verbs), "apiGroups": [group], "resources": [resource]}
                for (group, resource), verbs in sorted(rules.resources.items())
            ],
            "nonResourceRules": [
                {"verbs": sorted(verbs), "nonResourceURLs": [path]} for path, verbs in sorted(rules.paths.items())
            ],
            "incomplete": False,
        }


def _exactly_one(spec: Object) -> list[Cause]:
    """A question is about a resource or about a path."""
    resource, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if resource is not None and path is not None:
        told = "cannot be specified in combination with resourceAttributes"
        return [causes.invalid("spec.nonResourceAttributes", path, told)]
    if resource is None and path is None:
        told = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        return [causes.invalid("spec.resourceAttributes", None, told)]
    return []


def _somebody(spec: Object) -> list[Cause]:
    if spec.get("user") or spec.get("groups"):
        return []
    return [causes.invalid("spec.user", "", "at least one of user or group must be specified")]


def _inside(spec: Object, metadata: Object) -> list[Cause]:
    """A local question is about a resource in its own namespace."""
    found = []
    if set(metadata) != {"namespace"}:
        found.append(causes.invalid("metadata", metadata, "must be empty except for namespace"))
    resource, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if resource is not None and (resource.get("namespace") or "") != metadata["namespace"]:
        asked = resource.get("namespace") or ""
        found.append(causes.invalid("spec.resourceAttributes.namespace", asked, "must match metadata.namespace"))
    if path is not None:
        found.append(causes.invalid("spec.nonResourceAttributes", path, "disallowed on this kind of request"))
    return found


def _check(resource: Resource, found: list[Cause]) -> None:
    if found:
        raise invalid(resource, "", found)


def _wanted(spec: Object) -> Attributes:
    resource = spec.get("resourceAttributes")
    if resource is not None:
        names = ("verb", "group", "resource", "subresource", "namespace", "name")
        return Attributes(**{name: resource.get(name) or "" for name in names})
    path = spec["nonResourceAttributes"]
    return Attributes(path.get("verb") or "", path=path.get("path") or "/")


def _subject(spec: Object) -> User:
    """Whom an access review asks about: exactly the groups it names."""
    return User(spec.get("user") or "", tuple(spec.get("groups") or ()), spec.get("uid") or "")


def _info(user: User) -> Object:
    info: Object = {"username": user.name, "groups": list(user.groups)}
    if user.uid:
        info["uid"] = user.uid
    if user.extra:
        info["extra"] = {key: list(values) for key, values in user.extra.items()}
    return info

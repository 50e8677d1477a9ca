"""Questions about oneself that are answered and not stored: may I do this (`kubectl auth can-i`), and who am I
(`kubectl auth whoami`). Pure.

Source: https://kubernetes.io/docs/reference/access-authn-authz/authorization/#checking-api-access.
"""

from __future__ import annotations

from controlplane.apiserver import bodies
from controlplane.apiserver.authorize import Attributes, Authorizer
from controlplane.apiserver.render import Renderer
from controlplane.apiserver.routes import Route
from mesh.api.port import Request, Response, User
from mesh.clock import Clock
from mesh.errors import Cause, Invalid
from mesh.objects.kinds import ACCESS_REVIEWS
from mesh.objects.meta import format_time
from mesh.objects.types import Object


class Reviews:
    """Answers the resources of `kinds.REVIEWS` with what the authorizer and the authenticator know."""

    def __init__(self, authorizer: Authorizer, clock: Clock) -> None:
        self._authorizer = authorizer
        self._clock = clock

    def answer(self, request: Request, user: User, route: Route, renderer: Renderer) -> Response:
        """The review in the body with its status filled in; raises `BadRequest` or `Invalid`."""
        resource = route.resource
        review, warnings = bodies.read(request, resource.api_version, resource.kind)
        if resource == ACCESS_REVIEWS:
            allowed = self._authorizer.allows(user, _wanted(review.get("spec") or {}))
            answer: Object = {**review, "status": {"allowed": allowed}}
        else:
            answer = {**review, "status": {"userInfo": _info(user)}}
        answer["metadata"] = {**(review.get("metadata") or {}), "creationTimestamp": format_time(self._clock.now())}
        return renderer.value(answer, status=201, headers=bodies.warning_headers(warnings))


def _wanted(spec: Object) -> Attributes:
    """What the asker wants to do; raises `Invalid` unless it is exactly one thing."""
    resource, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if resource is not None and path is not None:
        raise _invalid("spec.nonResourceAttributes", "cannot be specified in combination with resourceAttributes")
    if resource is not None:
        names = ("verb", "group", "resource", "subresource", "namespace", "name")
        return Attributes(**{name: resource.get(name) or "" for name in names})
    if path is not None:
        return Attributes(path.get("verb") or "", path=path.get("path") or "/")
    told = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
    raise _invalid("spec.resourceAttributes", f"Invalid value: null: {told}")


def _invalid(field: str, told: str) -> Invalid:
    return Invalid(
        f'{ACCESS_REVIEWS.kind}.{ACCESS_REVIEWS.group} "" is invalid: {field}: {told}',
        group=ACCESS_REVIEWS.group,
        kind=ACCESS_REVIEWS.kind,
        causes=[Cause(field, "FieldValueInvalid", told)],
    )


def _info(user: User) -> Object:
    info: Object = {"username": user.name, "groups": list(user.groups)}
    if user.uid:
        info["uid"] = user.uid
    if user.extra:
        info["extra"] = {key: list(values) for key, values in user.extra.items()}
    return info

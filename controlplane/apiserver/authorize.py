"""May this user do this? The port, and the first answer to it: a fixed table of groups.

Administrators may do everything, nodes and proxies what their work needs, everybody else may look at discovery, health
and version. Role-based rules will be another `Authorizer`. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from controlplane.apiserver import refusals
from controlplane.apiserver.routes import Route
from mesh.api.port import User
from mesh.errors import Forbidden
from mesh.objects.kinds import RULES_REVIEWS, SELF_ACCESS_REVIEWS, SELF_REVIEWS

MASTERS = "system:masters"
NODES = "system:nodes"
PROXIERS = "system:node-proxiers"
AUTHENTICATED = "system:authenticated"


@dataclass(frozen=True, slots=True)
class Attributes:
    """What somebody wants to do: with a resource (`path` is ""), or with a path that is no resource."""

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""


@dataclass(frozen=True, slots=True)
class Rules:
    """All that somebody may do in one namespace; "*" stands for every verb, group, resource or path."""

    resources: Mapping[tuple[str, str], frozenset[str]]
    """Verbs by (group, resource); a subresource is `pods/status`."""
    paths: Mapping[str, frozenset[str]]
    """Verbs by path that is no resource; a `*` at its end stands for all below."""


class Authorizer(Protocol):
    """Decides who may do what."""

    def allows(self, user: User, wanted: Attributes) -> bool:
        """Whether `user` may do `wanted`."""

    def rules(self, user: User, namespace: str) -> Rules:
        """What `user` may do in `namespace`, on cluster-scoped resources, and on paths."""


_READ = frozenset({"get", "list", "watch"})
_WRITE = frozenset({"create", "update", "patch", "delete"})

_PROXY_RULES: dict[tuple[str, str], frozenset[str]] = {
    ("", "services"): _READ,
    ("", "pods"): _READ,
    ("", "endpoints"): _READ,
    ("discovery.k8s.io", "endpointslices"): _READ,
    ("", "nodes"): _READ,
    ("", "namespaces"): _READ,
    ("", "events"): frozenset({"create", "patch", "update"}),
}
_NODE_RULES: dict[tuple[str, str], frozenset[str]] = {
    **_PROXY_RULES,
    ("", "nodes"): _READ | {"create", "update", "patch"},
    ("", "nodes/status"): frozenset({"get", "update", "patch"}),
    ("", "pods"): _READ | {"delete"},
    ("", "pods/status"): frozenset({"get", "update", "patch"}),
    ("", "pods/eviction"): frozenset({"create"}),
    ("", "configmaps"): _READ,
    ("", "secrets"): _READ,
    ("", "serviceaccounts"): _READ,
    ("", "serviceaccounts/token"): frozenset({"create"}),
    ("coordination.k8s.io", "leases"): _READ | _WRITE,
}
_ONLY_IN: dict[tuple[str, str], str] = {("coordination.k8s.io", "leases"): "kube-node-lease"}
"""The only namespace in which these rules hold: other Leases say who leads, and where the API is."""
_OWN_RULES: dict[tuple[str, str], frozenset[str]] = {
    (r.group, r.plural): frozenset({"create"}) for r in (SELF_REVIEWS, SELF_ACCESS_REVIEWS, RULES_REVIEWS)
}
_RULES = {NODES: _NODE_RULES, PROXIERS: _PROXY_RULES, AUTHENTICATED: _OWN_RULES}
_OPEN_TO_ALL = ("/healthz", "/livez", "/readyz", "/version")
_OPEN_TO_KNOWN = ("/api", "/apis", "/openapi")
_LOOK = frozenset({"get", "head"})
_ALL = frozenset({"*"})


class GroupAuthorizer:
    """Decides by the groups a user is in."""

    def allows(self, user: User, wanted: Attributes) -> bool:
        """Whether one of the user's groups may do `wanted`."""
        if MASTERS in user.groups:
            return True
        if wanted.path:
            return wanted.verb in _LOOK and _below(wanted.path, _open_to(user))
        resource = f"{wanted.resource}/{wanted.subresource}" if wanted.subresource else wanted.resource
        key = (wanted.group, resource)
        if wanted.namespace != _ONLY_IN.get(key, wanted.namespace):
            return False
        return any(wanted.verb in _RULES[group].get(key, ()) for group in user.groups if group in _RULES)

    def rules(self, user: User, namespace: str) -> Rules:
        """The rules of all the user's groups together."""
        if MASTERS in user.groups:
            return Rules({("*", "*"): _ALL}, {"*": _ALL})
        found: dict[tuple[str, str], frozenset[str]] = {}
        for group in user.groups:
            for key, verbs in _RULES.get(group, {}).items():
                if _ONLY_IN.get(key, namespace) == namespace:
                    found[key] = found.get(key, frozenset()) | verbs
        paths = (path for root in _open_to(user) for path in (root, f"{root}/*"))
        return Rules(found, dict.fromkeys(paths, _LOOK))


def _open_to(user: User) -> tuple[str, ...]:
    """The paths below which the user may look."""
    return (*_OPEN_TO_ALL, *_OPEN_TO_KNOWN) if AUTHENTICATED in user.groups else _OPEN_TO_ALL


def _below(path: str, roots: tuple[str, ...]) -> bool:
    return any(path == root or path.startswith(root + "/") for root in roots)


def attributes(route: Route) -> Attributes:
    """What a resource request wants."""
    resource = route.resource
    return Attributes(route.verb, resource.group, resource.plural, route.subresource, route.namespace, route.name)


def denial(user: User, route: Route) -> Forbidden:
    """The refusal of a resource request, in Kubernetes' words."""
    resource = route.resource
    target = f"{resource.plural}/{route.subresource}" if route.subresource else resource.plural
    where = f'in the namespace "{route.namespace}"' if route.namespace else "at the cluster scope"
    return refusals.forbidden(
        resource,
        route.name,
        f'User "{user.name}" cannot {route.verb} resource "{target}" in API group "{resource.group}" {where}',
    )


def path_denial(user: User, verb: str, path: str) -> Forbidden:
    """The refusal of a path that is no resource."""
    return Forbidden(f'forbidden: User "{user.name}" cannot {verb} path "{path}"')

"""Which resource, object and verb a path and method mean. Pure.

Source: the request info resolver of k8s.io/apiserver/pkg/endpoints/request.
"""

from __future__ import annotations

from dataclasses import dataclass

from controlplane.apiserver import refusals
from mesh.errors import MethodNotAllowed
from mesh.objects.kinds import NAMESPACES, REVIEWS, Resource, by_plural

_OBJECT_VERBS = {"GET": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete", "HEAD": "get"}
_COLLECTION_VERBS = {"GET": "list", "POST": "create", "DELETE": "deletecollection", "HEAD": "list"}
_STREAMS = frozenset({"exec", "attach", "portforward"})


@dataclass(frozen=True, slots=True)
class Route:
    """What a request is about. `name` is "" for collections, `namespace` for cluster scope and for all of them."""

    resource: Resource
    verb: str
    namespace: str = ""
    name: str = ""
    subresource: str = ""

    @property
    def streams(self) -> bool:
        """Whether this opens a byte stream instead of giving one answer."""
        return self.subresource in _STREAMS


def is_resource_path(path: str) -> bool:
    """Whether the path lies where resources are, and not among discovery, health and the like."""
    parts = path.strip("/").split("/")
    return (parts[0] == "api" and len(parts) > 2) or (parts[0] == "apis" and len(parts) > 3)


def route(method: str, path: str, *, watch: bool = False) -> Route:
    """What `method` on `path` means; raises `NotFound` or `MethodNotAllowed`."""
    if not is_resource_path(path):
        raise refusals.no_such_resource()
    parts = path.strip("/").split("/")
    if parts[0] == "api":
        group, version, rest = "", parts[1], parts[2:]
    else:
        group, version, rest = parts[1], parts[2], parts[3:]
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in NAMESPACES.subresources:
        namespace, rest = rest[1], rest[2:]
    resource = by_plural(group, version, rest[0])
    if resource is None or len(rest) > 3 or "" in rest or (namespace and not resource.namespaced):
        raise refusals.no_such_resource()
    name = rest[1] if len(rest) > 1 else ""
    subresource = rest[2] if len(rest) > 2 else ""
    if subresource and subresource not in resource.subresources:
        raise refusals.no_such_resource()
    if name and resource.namespaced and not namespace:
        raise refusals.no_such_resource()
    verb = _verb(method, resource, namespace, name, subresource)
    if watch and verb in {"list", "get"} and not subresource:
        verb = "watch"
    return Route(resource, verb, namespace, name, subresource)


def _verb(method: str, resource: Resource, namespace: str, name: str, subresource: str) -> str:
    if subresource in _STREAMS and method in {"GET", "POST"}:
        return "get" if method == "GET" else "create"
    if subresource and method == "POST":
        return "create"
    verbs = _OBJECT_VERBS if name else _COLLECTION_VERBS
    verb = verbs.get(method)
    if verb is None:
        raise MethodNotAllowed("the server does not allow this method on the requested resource")
    if verb == "create" and resource.namespaced and not namespace:
        raise MethodNotAllowed("the server does not allow this method on the requested resource")
    if resource in REVIEWS and verb != "create":
        raise MethodNotAllowed("the server does not allow this method on the requested resource")
    if resource is NAMESPACES and verb == "deletecollection":
        raise MethodNotAllowed("the server does not allow this method on the requested resource")
    return verb

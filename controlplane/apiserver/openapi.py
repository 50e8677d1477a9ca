"""What both versions of the published OpenAPI have in common: which paths and operations there are, and with what.

The documents describe exactly the resources of `mesh.objects.kinds`. Clients read from them which patch types and which
query parameters (dryRun, fieldValidation) are supported, the schemas for `kubectl explain`, and merge keys.
Pure; built when first asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mesh.api.port import JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH
from mesh.objects.definitions import definition_of
from mesh.objects.kinds import BUILT_IN, Resource
from mesh.objects.types import Json, Object

PATCH_TYPES = (JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH)

_META = "io.k8s.apimachinery.pkg.apis.meta.v1."
STATUS, PATCH, DELETE_OPTIONS = _META + "Status", _META + "Patch", _META + "DeleteOptions"

_READ = ("pretty",)
_WRITE = ("pretty", "dryRun", "fieldManager", "fieldValidation")
_LIST = (
    "pretty", "allowWatchBookmarks", "continue", "fieldSelector", "labelSelector", "limit", "resourceVersion",
    "resourceVersionMatch", "sendInitialEvents", "timeoutSeconds", "watch",
)  # fmt: skip
_DELETE = ("pretty", "dryRun", "gracePeriodSeconds", "orphanDependents", "propagationPolicy")

_TYPES = {
    "allowWatchBookmarks": "boolean", "limit": "integer", "sendInitialEvents": "boolean", "timeoutSeconds": "integer",
    "watch": "boolean", "gracePeriodSeconds": "integer", "orphanDependents": "boolean",
}  # fmt: skip

_SUBRESOURCE_KINDS = {
    "scale": ("autoscaling", "v1", "Scale"),
    "binding": ("", "v1", "Binding"),
    "eviction": ("policy", "v1", "Eviction"),
    "token": ("authentication.k8s.io", "v1", "TokenRequest"),
}
"""Subresources whose bodies are of another kind than the object."""
_CREATED = frozenset({"binding", "eviction", "token"})
_CONNECTED = frozenset({"exec", "attach", "portforward", "proxy"})


@dataclass(frozen=True, slots=True)
class Operation:
    """One method on one path; `body` and `answer` are definition names ("" for none, or for plain text)."""

    path: str
    method: str
    action: str
    gvk: tuple[str, str, str]
    body: str
    answer: str
    query: tuple[str, ...]
    identifier: str

    def extensions(self) -> Object:
        """What Kubernetes says about an operation beyond the OpenAPI standard."""
        group, version, kind = self.gvk
        return {
            "operationId": self.identifier,
            "x-kubernetes-action": self.action,
            "x-kubernetes-group-version-kind": {"group": group, "kind": kind, "version": version},
        }

    def path_parameters(self) -> tuple[str, ...]:
        """The variables in the path."""
        return tuple(name for name in ("namespace", "name") if f"{{{name}}}" in self.path)


def parameter_type(name: str) -> str:
    """The JSON type of a query parameter."""
    return _TYPES.get(name, "string")


def group_versions() -> dict[str, list[Resource]]:
    """ "api/v1" or "apis/apps/v1" -> the resources in it, in the order of discovery."""
    result: dict[str, list[Resource]] = {}
    for resource in BUILT_IN:
        root = f"apis/{resource.api_version}" if resource.group else f"api/{resource.version}"
        result.setdefault(root, []).append(resource)
    return result


def operations(resource: Resource) -> Iterator[Operation]:
    """Everything that can be done with a resource and its subresources."""
    kind = definition_of(resource.api_version, resource.kind) or ""
    kind_list = definition_of(resource.api_version, f"{resource.kind}List") or ""
    gvk = (resource.group, resource.version, resource.kind)
    scope = "Namespaced" if resource.namespaced else ""
    end = f"{_camel(resource)}{scope}{resource.kind}"
    collection = resource.path("{namespace}")
    one = resource.path("{namespace}", "{name}")
    if resource.namespaced:
        everywhere = f"list{_camel(resource)}{resource.kind}ForAllNamespaces"
        yield Operation(resource.path(), "get", "list", gvk, "", kind_list, _LIST, everywhere)
    yield Operation(collection, "get", "list", gvk, "", kind_list, _LIST, f"list{end}")
    yield Operation(collection, "post", "post", gvk, kind, kind, _WRITE, f"create{end}")
    collected = (*_LIST, *_DELETE[1:])
    yield Operation(
        collection, "delete", "deletecollection", gvk, DELETE_OPTIONS, STATUS, collected, f"deleteCollection{end}"
    )
    yield from _object_operations(one, gvk, kind, end)
    yield Operation(one, "delete", "delete", gvk, DELETE_OPTIONS, STATUS, _DELETE, f"delete{end}")
    for subresource in resource.subresources:
        yield from _subresource_operations(resource, subresource, gvk, kind, end)


def _object_operations(path: str, gvk: tuple[str, str, str], kind: str, end: str) -> Iterator[Operation]:
    yield Operation(path, "get", "get", gvk, "", kind, _READ, f"read{end}")
    yield Operation(path, "put", "put", gvk, kind, kind, _WRITE, f"replace{end}")
    yield Operation(path, "patch", "patch", gvk, PATCH, kind, (*_WRITE, "force"), f"patch{end}")


def _subresource_operations(
    resource: Resource, name: str, gvk: tuple[str, str, str], kind: str, end: str
) -> Iterator[Operation]:
    path = resource.path("{namespace}", "{name}", name)
    end += name.capitalize()
    if name in _SUBRESOURCE_KINDS:
        gvk = _SUBRESOURCE_KINDS[name]
        group, version, other = gvk
        kind = definition_of(f"{group}/{version}" if group else version, other) or ""
    if name in _CREATED:
        yield Operation(path, "post", "post", gvk, kind, kind, _WRITE, f"create{end}")
    elif name in _CONNECTED:
        for method in ("get", "post"):
            yield Operation(path, method, "connect", gvk, "", "", (), f"connect{method.capitalize()}{end}")
    elif name == "log":
        yield Operation(path, "get", "get", gvk, "", "", _READ, f"read{end}")
    elif name == "finalize":
        yield Operation(path, "put", "put", gvk, kind, kind, _WRITE, f"replace{end}")
    else:
        yield from _object_operations(path, gvk, kind, end)


def _camel(resource: Resource) -> str:
    group = (resource.group or "core").partition(".")[0]
    return f"{group.capitalize()}{resource.version.capitalize()}"


def references(value: Json) -> Iterator[str]:
    """All definition names that a schema refers to."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key == "$ref" and isinstance(item, str):
                yield item
            else:
                yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)

"""Discovery: which groups, versions and resources there are, in the three shapes clients ask for. Pure.

Source: https://kubernetes.io/docs/concepts/overview/kubernetes-api/#discovery-api. All documents follow from
the table of `mesh.objects.kinds`, so they are made once.
"""

from __future__ import annotations

from functools import lru_cache

import orjson

from mesh.errors import NotFound
from mesh.objects.kinds import BUILT_IN, REVIEWS, Resource
from mesh.objects.types import Object

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"

_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
_SUBRESOURCES: dict[str, tuple[str, str, tuple[str, ...]]] = {
    # name: (apiVersion of its body, kind of its body, verbs); "" means the resource's own
    "status": ("", "", ("get", "patch", "update")),
    "finalize": ("", "", ("update",)),
    "scale": ("autoscaling/v1", "Scale", ("get", "patch", "update")),
    "binding": ("v1", "Binding", ("create",)),
    "eviction": ("policy/v1", "Eviction", ("create",)),
    "token": ("authentication.k8s.io/v1", "TokenRequest", ("create",)),
    "log": ("v1", "Pod", ("get",)),
    "exec": ("v1", "PodExecOptions", ("create", "get")),
    "attach": ("v1", "PodAttachOptions", ("create", "get")),
    "portforward": ("v1", "PodPortForwardOptions", ("create", "get")),
    "ephemeralcontainers": ("", "", ("get", "patch", "update")),
    "resize": ("", "", ("get", "patch", "update")),
}


_EVICTION = ("policy", "v1")
"""A group without resources of its own yet: `kubectl drain` evicts only where it exists."""


def served_subresources(resource: Resource) -> tuple[str, ...]:
    """The subresources of a kind that this server answers."""
    return tuple(name for name in resource.subresources if name in _SUBRESOURCES)


def _verbs(resource: Resource) -> list[str]:
    if resource in REVIEWS:
        return ["create"]
    return [v for v in _VERBS if not (resource.plural == "namespaces" and v == "deletecollection")]


def _groups() -> list[tuple[str, list[str]]]:
    found: dict[str, list[str]] = {}
    for group, version in (*((r.group, r.version) for r in (*BUILT_IN, *REVIEWS)), _EVICTION):
        versions = found.setdefault(group, [])
        if version not in versions:
            versions.append(version)
    return list(found.items())


def _members(group: str, version: str) -> list[Resource]:
    return [r for r in (*BUILT_IN, *REVIEWS) if (r.group, r.version) == (group, version)]


@lru_cache(maxsize=1)
def core_versions() -> bytes:
    """`/api`."""
    return orjson.dumps(
        {
            "kind": "APIVersions",
            "versions": ["v1"],
            "serverAddressByClientCIDRs": [],
        }
    )


def _group(group: str, versions: list[str]) -> Object:
    listed = [{"groupVersion": f"{group}/{v}", "version": v} for v in versions]
    return {"name": group, "versions": listed, "preferredVersion": listed[0]}


@lru_cache(maxsize=1)
def group_list() -> bytes:
    """`/apis`."""
    groups = [_group(group, versions) for group, versions in _groups() if group]
    return orjson.dumps({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})


@lru_cache(maxsize=64)
def group_document(group: str) -> bytes:
    """`/apis/<group>`; raises `NotFound`."""
    for name, versions in _groups():
        if name == group and name:
            return orjson.dumps({"kind": "APIGroup", "apiVersion": "v1", **_group(name, versions)})
    raise NotFound("the server could not find the requested resource")


@lru_cache(maxsize=64)
def resource_list(group: str, version: str) -> bytes:
    """`/api/v1` or `/apis/<group>/<version>`; raises `NotFound`."""
    resources: list[Object] = []
    for resource in _members(group, version):
        entry: Object = {
            "name": resource.plural,
            "singularName": resource.singular,
            "namespaced": resource.namespaced,
            "kind": resource.kind,
            "verbs": _verbs(resource),
        }
        if resource.short_names:
            entry["shortNames"] = list(resource.short_names)
        if resource.categories:
            entry["categories"] = list(resource.categories)
        resources.append(entry)
        for name in served_subresources(resource):
            api_version, kind, verbs = _SUBRESOURCES[name]
            sub: Object = {
                "name": f"{resource.plural}/{name}",
                "singularName": "",
                "namespaced": resource.namespaced,
                "kind": kind or resource.kind,
                "verbs": list(verbs),
            }
            if api_version and api_version != resource.api_version:
                body_group, _, body_version = api_version.rpartition("/")
                sub.update(group=body_group, version=body_version)
            resources.append(sub)
    if not resources and (group, version) != _EVICTION:
        raise NotFound("the server could not find the requested resource")
    group_version = f"{group}/{version}" if group else version
    return orjson.dumps(
        {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": resources}
    )


@lru_cache(maxsize=2)
def aggregated(*, core: bool) -> bytes:
    """`/api` (core) or `/apis` as an `APIGroupDiscoveryList` of apidiscovery.k8s.io/v2."""
    items = [
        {
            "metadata": {"name": group} if group else {},
            "versions": [
                {
                    "version": version,
                    "resources": [_discovered(r) for r in _members(group, version)],
                    "freshness": "Current",
                }
                for version in versions
            ],
        }
        for group, versions in _groups()
        if bool(group) is not core
    ]
    return orjson.dumps(
        {
            "kind": "APIGroupDiscoveryList",
            "apiVersion": "apidiscovery.k8s.io/v2",
            "metadata": {},
            "items": items,
        }
    )


def _discovered(resource: Resource) -> Object:
    entry: Object = {
        "resource": resource.plural,
        "responseKind": {"group": resource.group, "version": resource.version, "kind": resource.kind},
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": resource.singular,
        "verbs": _verbs(resource),
    }
    if resource.short_names:
        entry["shortNames"] = list(resource.short_names)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    subresources = []
    for name in served_subresources(resource):
        api_version, kind, verbs = _SUBRESOURCES[name]
        group, _, version = (api_version or resource.api_version).rpartition("/")
        subresources.append(
            {
                "subresource": name,
                "responseKind": {"group": group, "version": version, "kind": kind or resource.kind},
                "verbs": list(verbs),
            }
        )
    if subresources:
        entry["subresources"] = subresources
    return entry

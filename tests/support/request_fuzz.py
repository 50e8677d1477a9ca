"""Requests as a hostile or broken client might send them: paths, methods, queries, bodies and headers from a seed."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import orjson

from mesh.api.port import APPLY_PATCH, JSON, JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH, YAML, Request, parse_query
from mesh.objects.kinds import BUILT_IN, REVIEWS, Resource
from tests.support.schema_fuzz import body

METHODS = ("GET", "GET", "POST", "POST", "PUT", "PATCH", "PATCH", "DELETE", "HEAD", "OPTIONS", "BREW", "")
NAMES = (
    "web",
    "web",
    "seed",
    "seed",
    "none",
    "UPPER",
    "a.b",
    "..",
    "%00",
    "é",
    "x" * 300,
    "*",
    ">",
    "default",
    "",
    "$KV",
)
PROTOBUF = "application/vnd.kubernetes.protobuf"
CONTENT_TYPES = (
    JSON, JSON, JSON, YAML, PROTOBUF, MERGE_PATCH, MERGE_PATCH, JSON_PATCH, JSON_PATCH, STRATEGIC_MERGE_PATCH,
    STRATEGIC_MERGE_PATCH, APPLY_PATCH, "", "text/plain", "application/cbor", "application/json; charset=latin-1", ";;=",
)  # fmt: skip
ACCEPTS = (
    JSON, JSON, YAML, PROTOBUF, "", "*/*", "image/png", "application/json;as=Table;v=v1;g=meta.k8s.io",
    "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io", "application/json;as=Table;v=v9;g=meta.k8s.io",
    "application/json;q=x, */*;q=", ",;,", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
)  # fmt: skip
VALUES = (
    "", "true", "false", "1", "0", "-1", "99999999999999999999", "x", "All", "Strict", "Warn", "Exact", "NotOlderThan",
    "a=b", "a in (b", "a!=b,!c", "=", "metadata.name=web", "spec.nodeName!=n1", "status.phase", "é", "\x00", "Orphan",
    "Foreground", "Object", "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MX0", "1e9", "nan", "0x10", " ", ",,,",
)  # fmt: skip
PARAMETERS = (
    "labelSelector", "fieldSelector", "limit", "continue", "resourceVersion", "resourceVersionMatch", "timeoutSeconds",
    "dryRun", "fieldManager", "fieldValidation", "gracePeriodSeconds", "propagationPolicy", "orphanDependents", "pretty",
    "allowWatchBookmarks", "sendInitialEvents", "includeObject", "force", "container", "tailLines", "sinceSeconds",
    "sinceTime", "limitBytes", "previous", "timestamps", "stream", "ignoreStoreReadErrorWithClusterBreakingPotential",
)  # fmt: skip
BESIDE = (
    "/", "/api", "/apis", "/version", "/healthz", "/readyz/store", "/livez/none", "/metrics", "/openapi/v2",
    "/openapi/v3", "/openapi/v3/apis/apps/v1", "/openapi/v3/..", "/apis/apps", "/apis/none/v1", "/api/v2",
    "/apis/apps/v1/", "//", "/api//", "/api/v1/", "/api/v1/namespaces/", "/apis//v1/pods", "/api/v1/namespaces//pods",
    "/favicon.ico", "/openid/v1/jwks", "/api/v1/watch/pods",
)  # fmt: skip
JUNK: tuple[Any, ...] = (
    None, True, 0, -1, 1.5, 2**40, "", "x", [], {}, [[]], [None], {"": None}, {"a": {"b": [1, {"c": None}]}},
)  # fmt: skip
POINTERS = (
    "", "/", "/metadata", "/metadata/name", "/metadata/labels/a~1b", "/spec", "/spec/containers/0", "/spec/x/y",
    "/spec/containers/-", "/spec/containers/99", "/kind", "nope", "/~2", "/status", "/metadata/resourceVersion",
)  # fmt: skip


def request(rng: random.Random) -> Request:
    """One request; three of four are about resources that exist."""
    resource = rng.choice((*BUILT_IN, *BUILT_IN, *REVIEWS))
    method = rng.choice(METHODS)
    content_type = rng.choice(CONTENT_TYPES)
    query = "&".join(
        f"{rng.choice(PARAMETERS)}={quote(rng.choice(VALUES))}" for _ in range(rng.choice((0, 0, 1, 2, 3)))
    )
    data = b"" if method in {"GET", "HEAD"} and rng.random() < 0.8 else _data(resource, content_type, rng)
    return Request(method, _path(resource, rng), parse_query(query), data, content_type, rng.choice(ACCEPTS))


def _path(resource: Resource, rng: random.Random) -> str:
    if rng.random() < 0.1:
        return rng.choice(BESIDE)
    namespace = rng.choice(("default", "default", "default", "", *NAMES))
    name = rng.choice(("", *NAMES))
    others = ("status", "scale", "log", "binding", "eviction", "token", "finalize", "exec", "resize", "nope", "proxy")
    subresource = rng.choice(("", "", *resource.subresources, *others)) if name else ""
    path = resource.path(namespace, name, subresource)
    return path + rng.choice(("", "", "", "", "/", "/x/y"))


def _data(resource: Resource, content_type: str, rng: random.Random) -> bytes:
    makers: list[Callable[[], bytes]] = [
        lambda: orjson.dumps(_damaged(body(resource.api_version, resource.kind, rng), rng)),
        lambda: orjson.dumps(body(resource.api_version, resource.kind, rng)),
        lambda: orjson.dumps(_operations(rng)),
        lambda: orjson.dumps(_subresource(rng)),
        lambda: _cut(orjson.dumps(body(resource.api_version, resource.kind, rng)), rng),
        lambda: rng.choice((b"", b"null", b"[]", b"{", b"\xff\xfe", b"[" * 5000, b'{"a":1}{', b"&a [*a]", b"a: &a {b: *a}",
                            b"!!python/object:os.system {}", b"k8s\x00", b"k8s\x00\x0a\xff\xff\xff\xff", b"1", b"NaN",
                            b'{"spec":{"replicas":%d}}' % (10**30))),
    ]  # fmt: skip
    if content_type == JSON_PATCH:
        makers += [makers[2]] * 4
    return rng.choice(makers)()


def _cut(data: bytes, rng: random.Random) -> bytes:
    """With a few bytes missing or other than they were."""
    place = rng.randrange(len(data))
    return rng.choice((data[:place], data[:place] + bytes([rng.randrange(256)]) + data[place + 1 :]))


def _damaged(obj: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    """With one to three values, anywhere, replaced by junk."""
    for _ in range(rng.choice((1, 1, 2, 3))):
        holder: Any = obj
        while True:
            keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
            if not keys:
                break
            key = rng.choice(keys)
            if isinstance(holder[key], dict | list) and holder[key] and rng.random() < 0.7:
                holder = holder[key]
                continue
            holder[key] = copy.deepcopy(rng.choice(JUNK))
            break
    return obj


def _operations(rng: random.Random) -> list[Any]:
    """A JSON patch, more or less."""
    made: list[Any] = []
    for _ in range(rng.choice((0, 1, 1, 2))):
        operation: dict[str, Any] = {
            "op": rng.choice(("add", "remove", "replace", "move", "copy", "test", "x", 1, None))
        }
        for key, choices in (("path", (*POINTERS, 1, None)), ("from", (*POINTERS, {})), ("value", JUNK)):
            if rng.random() < 0.85:
                operation[key] = rng.choice(choices)
        made.append(rng.choice((operation, operation, operation, operation, rng.choice(JUNK))))
    return made


def _subresource(rng: random.Random) -> Any:
    """A body as subresources and deletes take it, with values of any kind in it."""
    return rng.choice((
        {"kind": "DeleteOptions", "preconditions": rng.choice(JUNK), "propagationPolicy": rng.choice(JUNK)},
        {"kind": "DeleteOptions", "gracePeriodSeconds": rng.choice(JUNK), "dryRun": rng.choice(JUNK)},
        {"kind": "Binding", "metadata": rng.choice(JUNK), "target": rng.choice((*JUNK, {"kind": "Node", "name": "n1"}))},
        {"kind": "Eviction", "apiVersion": "policy/v1", "deleteOptions": rng.choice(JUNK)},
        {"kind": "Scale", "apiVersion": "autoscaling/v1", "spec": rng.choice((*JUNK, {"replicas": rng.choice(JUNK)}))},
        {"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "spec": rng.choice(
            (*JUNK, {"audiences": rng.choice(JUNK)}, {"expirationSeconds": rng.choice(JUNK)},
             {"boundObjectRef": rng.choice(JUNK)}))},
        {"spec": rng.choice(JUNK)},
        {"metadata": rng.choice((*JUNK, {"finalizers": rng.choice(JUNK)}, {"ownerReferences": rng.choice(JUNK)}))},
        {"spec": {"$patch": rng.choice(("replace", "delete", "merge", "x", 1))}},
        {"spec": {"$setElementOrder/containers": rng.choice((*JUNK, [{"name": "c"}])), "containers": rng.choice(JUNK)}},
        {"metadata": {"$retainKeys": rng.choice(JUNK), "$deleteFromPrimitiveList/finalizers": rng.choice(JUNK)}},
    ))  # fmt: skip

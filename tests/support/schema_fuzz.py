"""Objects of the right shape and with any content: what a client can send and still be decoded."""

from __future__ import annotations

import random
from typing import Any

from mesh.objects.definitions import INT_OR_STRING, MICRO_TIME, QUANTITY, TIME, definition_of, definitions

STRINGS = (
    "", "a", "web", "A b", "TCP", "Always", "Never", "10.0.0.1", "127.0.0.1", "::1", "10.0.0.0/8", "metadata.name", "é",
    "%", "100%", "0%", "None", "ClientIP", "ClusterIP", "NodePort", "LoadBalancer", "ExternalName", "RollingUpdate",
    "Recreate", "In", "Exists", "Gt", "NoExecute", "../x", "/x", "limits.cpu", "metadata.labels['a']", "metadata.x[']",
    "IPv4", "IPv6", "FQDN", "kubernetes.io/tls", "kubernetes.io/dockercfg", "kubernetes.io/basic-auth", "example.com/x",
    "x" * 300, "\x00", "Localhost", "Bidirectional", "Running", "Succeeded", "Terminating", "a/b/c", "*", "v1", "Event",
)  # fmt: skip
NUMBERS = (-1, 0, 1, 2, 80, 443, 65535, 70000, 2**31 - 1, -(2**31))
QUANTITIES: tuple[Any, ...] = ("0", "1", "500m", "-1", "1Gi", "1e3", 2, 0.5, "1u", "99999Ei")
KEYS = ("a", "cpu", "memory", "example.com/gpu", "hugepages-2Mi", "bad key", "app", ".dockercfg", "..", "")


def value(schema: dict[str, Any], rng: random.Random, depth: int = 0) -> Any:
    """A value that `schema` accepts; now and then a null, which every field accepts."""
    if rng.random() < 0.03:
        return None
    if reference := schema.get("$ref"):
        match reference:
            case _ if reference == QUANTITY:
                return rng.choice(QUANTITIES)
            case _ if reference == INT_OR_STRING:
                return rng.choice((rng.choice(STRINGS), rng.choice(NUMBERS)))
            case _ if reference == TIME:
                return "2026-01-01T00:00:00Z"
            case _ if reference == MICRO_TIME:
                return "2026-01-01T00:00:00.000000Z"
        return value(definitions()[reference], rng, depth)
    match schema.get("type"):
        case "array":
            return [value(schema["items"], rng, depth + 1) for _ in range(rng.choice((0, 1, 1, 2)))]
        case "boolean":
            return rng.random() < 0.5
        case "integer":
            return rng.choice(NUMBERS)
        case "number":
            return rng.choice((0, 1.5))
        case "string":
            return "YQ==" if schema.get("format") == "byte" else rng.choice(STRINGS)
    if values := schema.get("additionalProperties"):
        return {rng.choice(KEYS): value(values, rng, depth + 1) for _ in range(rng.choice((0, 1, 2)))}
    required = schema.get("required") or ()
    return {
        name: value(field, rng, depth + 1)
        for name, field in (schema.get("properties") or {}).items()
        if rng.random() < (0.8 if name in required else 0.6 / (1 + depth / 2))
    }


def body(api_version: str, kind: str, rng: random.Random) -> dict[str, Any]:
    """A request body of this kind."""
    name = definition_of(api_version, kind)
    assert name is not None
    result: dict[str, Any] = value(definitions()[name], rng) or {}
    result["apiVersion"], result["kind"] = api_version, kind
    if rng.random() < 0.9:
        metadata = result.get("metadata")
        result["metadata"] = {**(metadata or {}), "name": "web", "namespace": "default"}
    return result

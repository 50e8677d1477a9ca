"""Which representation a client accepts: plain JSON, a server-side table, or metadata alone. Pure.

Source: k8s.io/apiserver/pkg/endpoints/handlers/negotiation. Protobuf and CBOR are not offered: every client that names
them names JSON as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from mesh.errors import NotAcceptable

_JSON_TYPES = frozenset({"application/json", "application/*", "*/*", "application/yaml"})
_META_KINDS = frozenset({"Table", "PartialObjectMetadata", "PartialObjectMetadataList"})


@dataclass(frozen=True, slots=True)
class Representation:
    """How to answer. `kind` is "" for the object itself, else a kind of meta.k8s.io (`as=` parameter)."""

    kind: str = ""
    yaml: bool = False


PLAIN = Representation()


@lru_cache(maxsize=512)
def negotiate(accept: str) -> Representation:
    """The first acceptable representation in the order the client names them; raises `NotAcceptable`."""
    if not accept:
        return PLAIN
    for clause in accept.split(","):
        media, _, rest = clause.strip().partition(";")
        parameters = dict(p.strip().partition("=")[::2] for p in rest.split(";") if p.strip())
        if media.strip() not in _JSON_TYPES:
            continue
        kind = parameters.get("as", "")
        if not kind:
            return Representation(yaml=media.strip() == "application/yaml")
        if kind in _META_KINDS and parameters.get("g") == "meta.k8s.io" and parameters.get("v") in {"v1", "v1beta1"}:
            return Representation(kind)
    raise NotAcceptable(
        "only the following media types are accepted: application/json, "
        "application/json;as=Table;v=v1;g=meta.k8s.io, application/yaml"
    )


@lru_cache(maxsize=64)
def wants_aggregated_discovery(accept: str) -> bool:
    """Whether the client takes `APIGroupDiscoveryList` of apidiscovery.k8s.io/v2 before the older documents."""
    for clause in accept.split(","):
        media, _, rest = clause.strip().partition(";")
        parameters = dict(p.strip().partition("=")[::2] for p in rest.split(";") if p.strip())
        if media.strip() != "application/json":
            continue
        if not parameters.get("as"):
            return False
        if (parameters.get("as"), parameters.get("g"), parameters.get("v")) == (
            "APIGroupDiscoveryList",
            "apidiscovery.k8s.io",
            "v2",
        ):
            return True
    return False

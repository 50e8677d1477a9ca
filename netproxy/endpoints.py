"""Which endpoints of a Service take connections: readiness, termination, topology hints. Pure.

Follows "Traffic policies", "Traffic distribution" and "Terminating endpoints" of
https://kubernetes.io/docs/reference/networking/virtual-ips/ and the EndpointSlice API's conditions.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mesh.objects.types import Object


@dataclass(frozen=True, slots=True, order=True)
class Backend:
    """One address and port that connections are led to; `local` when it is on this node."""

    address: str
    port: int
    local: bool = False


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One endpoint of one service port, as its EndpointSlice describes it."""

    backend: Backend
    ready: bool
    serving: bool
    terminating: bool
    zone_hints: frozenset[str] = frozenset()
    node_hints: frozenset[str] = frozenset()


def endpoints_of(
    slices: Iterable[Object], port_name: str, protocol: str, family: int, node_name: str
) -> list[Endpoint]:
    """The endpoints behind a service port, one for each address and port, from all slices of the Service.

    An endpoint that is in two slices for a moment (while it moves) counts once, ready if it is ready in either.
    """
    found: dict[tuple[str, int], Endpoint] = {}
    for piece in slices:
        if piece.get("addressType") != f"IPv{family}":
            continue
        for port in piece.get("ports") or ():
            if (port.get("name") or "") != port_name or port.get("protocol", "TCP") != protocol or not port.get("port"):
                continue
            for item in piece.get("endpoints") or ():
                endpoint = _endpoint(item, int(port["port"]), node_name)
                if endpoint is None:
                    continue
                key = (endpoint.backend.address, endpoint.backend.port)
                known = found.get(key)
                if known is None or (endpoint.ready and not known.ready):
                    found[key] = endpoint
    return list(found.values())


def _endpoint(item: Object, port: int, node_name: str) -> Endpoint | None:
    """One item of a slice. Only its first address counts: the API says all of them reach the same thing."""
    addresses = item.get("addresses") or ()
    if not addresses:
        return None
    conditions = item.get("conditions") or {}
    ready = conditions.get("ready") is not False
    serving = conditions.get("serving")
    hints = item.get("hints") or {}
    return Endpoint(
        Backend(addresses[0], port, bool(node_name) and item.get("nodeName") == node_name),
        ready=ready,
        serving=ready if serving is None else bool(serving),
        terminating=bool(conditions.get("terminating")),
        zone_hints=frozenset(h["name"] for h in hints.get("forZones") or ()),
        node_hints=frozenset(h["name"] for h in hints.get("forNodes") or ()),
    )


def choose(endpoints: Sequence[Endpoint], *, node_name: str, zone: str) -> tuple[Backend, ...]:
    """The backends that take new connections, sorted.

    Those that are ready, near ones only where hints allow it; when none is ready, those that still serve while they
    terminate.
    """
    ready = [e for e in endpoints if e.ready]
    if ready:
        return _sorted(_near(ready, node_name, zone))
    return _sorted([e for e in endpoints if e.serving and e.terminating])


def _near(ready: list[Endpoint], node_name: str, zone: str) -> list[Endpoint]:
    """Endpoints hinted for this node, else for this zone; all of them unless every endpoint has such a hint."""
    if node_name and all(e.node_hints for e in ready):
        near = [e for e in ready if node_name in e.node_hints]
        if near:
            return near
    if zone and all(e.zone_hints for e in ready):
        near = [e for e in ready if zone in e.zone_hints]
        if near:
            return near
    return ready


def _sorted(endpoints: Iterable[Endpoint]) -> tuple[Backend, ...]:
    return tuple(sorted(e.backend for e in endpoints))

"""What the resolver knew last, on disk: an agent that restarts with no broker in reach goes on answering its pods.

Only what names are made of is kept. Replaced as a whole by a rename; not synced, since a machine that lost power has
no pods that could ask.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from mesh.objects.types import Object

_META = ("name", "namespace", "labels")
_SERVICE = ("type", "clusterIP", "clusterIPs", "externalName", "ports", "publishNotReadyAddresses")
_ENDPOINT = ("addresses", "conditions", "hostname")


class Remembered(msgspec.Struct, frozen=True):
    """Services and EndpointSlices, cut down to what names are made of."""

    services: list[Object] = []
    slices: list[Object] = []


def remember(services: Iterable[Object], slices: Iterable[Object]) -> Remembered:
    """What to keep of these objects."""
    return Remembered(
        [{"metadata": _only(s["metadata"], _META), "spec": _only(s.get("spec") or {}, _SERVICE)} for s in services],
        [
            {
                "metadata": _only(s["metadata"], _META),
                "addressType": s.get("addressType"),
                "endpoints": [_only(e, _ENDPOINT) for e in s.get("endpoints") or ()],
                "ports": s.get("ports") or [],
            }
            for s in slices
        ],
    )


def load(path: Path) -> Remembered:
    """What was kept; nothing when there is no file or none that can be read (the API tells all of it again)."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Remembered)
    except (FileNotFoundError, msgspec.DecodeError):
        return Remembered()


def save(path: Path, kept: Remembered) -> None:
    """Replace the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_bytes(msgspec.json.encode(kept))
    fresh.replace(path)


def _only(value: Object, names: Iterable[str]) -> Object:
    return {name: value[name] for name in names if name in value}

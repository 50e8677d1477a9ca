"""Events for containers that begin to wait for their next try, in kubelet's words. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from agents.node.podspec import full_name, places, reported_statuses
from mesh.objects.types import Object


class Told(NamedTuple):
    """An event about one container."""

    event_type: str
    reason: str
    message: str
    container: str


def back_off_events(pod: Object, before: Object, after: Object) -> Iterator[Told]:
    """What to tell when the pod's status changes from one to the other."""
    old, new = _waiting(before), _waiting(after)
    for place in places(pod):
        name = place.container["name"]
        reason = new[name]
        if reason == old.get(name, ""):
            continue
        if reason == "CrashLoopBackOff":
            words = f"Back-off restarting failed container {name} in pod {full_name(pod)}"
            yield Told("Warning", "BackOff", words, name)
        elif reason == "ImagePullBackOff":
            yield Told("Normal", "BackOff", f'Back-off pulling image "{place.container["image"]}"', name)
            yield Told("Warning", "Failed", "Error: ImagePullBackOff", name)


def _waiting(status: Object) -> dict[str, str]:
    """Why each container waits, "" for one that does not."""
    return {s["name"]: (s.get("state", {}).get("waiting") or {}).get("reason", "") for s in reported_statuses(status)}

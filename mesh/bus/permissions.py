"""Which subjects an identity may use: the one table behind the broker's configuration and the in-memory broker. Pure.

What it grants and why is told in `mesh/bus/subjects.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

from mesh.bus.subjects import ALL_API, ALL_HEARTBEATS, api, heartbeat, inbox_prefix


@dataclass(frozen=True, slots=True)
class Permissions:
    """Subject patterns (NATS wildcards) that an identity may publish to and subscribe to.

    `responses`: it may also answer, once, on the reply subject of a message it received.
    """

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]
    responses: bool = False

    def may_publish(self, subject: str) -> bool:
        """Whether a message on `subject` is let through."""
        return any(covers(pattern, subject) for pattern in self.publish)

    def may_subscribe(self, pattern: str) -> bool:
        """Whether a subscription to `pattern`, which may hold wildcards itself, is granted."""
        return any(covers(granted, pattern) for granted in self.subscribe)


def client_permissions(identity: str) -> Permissions:
    """What every identity may do: speak under its own name, and hear what is meant for it.

    Only servers can send it a message, so its right to answer (`responses`) reaches only them.
    """
    return Permissions(
        publish=(api(identity), heartbeat(identity), f"covey.out.{identity}.>"),
        subscribe=(f"{inbox_prefix(identity)}.>", f"covey.in.{identity}.>"),
        responses=True,
    )


def server_permissions(identity: str) -> Permissions:
    """What a server may do: all that a client may, and the other side of every client's subjects."""
    own = client_permissions(identity)
    return Permissions(
        publish=(*own.publish, "_INBOX.>", "covey.in.>"),
        subscribe=(*own.subscribe, ALL_API, ALL_HEARTBEATS, "covey.out.>"),
    )


def covers(pattern: str, subject: str) -> bool:
    """Whether every subject that `subject` (a subject, or a pattern) stands for is matched by `pattern`."""
    wanted = pattern.split(".")
    given = subject.split(".")
    for i, token in enumerate(wanted):
        if token == ">":
            return len(given) > i
        if i >= len(given) or given[i] == ">":
            return False
        if token not in ("*", given[i]):
            return False
    return len(given) == len(wanted)

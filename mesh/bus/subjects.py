"""The subjects of the bus and who may use them. Identities are NKEY public keys (user keys, "U...").

An identity X may publish on `covey.api.X`, `covey.heartbeat.X` and `covey.out.X.>`, and subscribe to `_INBOX.X.>` and
`covey.in.X.>`: so the broker itself vouches for the sender of every message. Servers stand on the other side of each.
"""

from __future__ import annotations

API_QUEUE = "apiserver"
"""Queue group in which API servers share requests."""

ALL_API = "covey.api.*"
ALL_HEARTBEATS = "covey.heartbeat.*"


def api(identity: str) -> str:
    """Where `identity` sends its API requests."""
    return f"covey.api.{identity}"


def heartbeat(identity: str) -> str:
    """Where the node `identity` sends its heartbeats, as requests that the leader answers."""
    return f"covey.heartbeat.{identity}"


def inbox_prefix(identity: str) -> str:
    """The only place where `identity` receives answers and watch events."""
    return f"_INBOX.{identity}"


def calls(identity: str) -> str:
    """Where servers call the node `identity` (logs, exec, port-forward, stats)."""
    return f"covey.in.{identity}.call"


def stream_in(identity: str, stream: str) -> str:
    """Bytes of one stream on their way from a server to `identity`."""
    return f"covey.in.{identity}.s.{stream}"


def stream_out(identity: str, stream: str) -> str:
    """Bytes of one stream on their way from `identity` to a server."""
    return f"covey.out.{identity}.s.{stream}"


def sender(subject: str) -> str:
    """The identity that a `covey.api.X` or `covey.heartbeat.X` subject vouches for."""
    return subject.split(".", 3)[2]


def answerable(reply: str, identity: str) -> bool:
    """Whether `reply` is a subject under the asker's own inbox: a server answers nowhere else (no confused deputies)."""
    return (
        reply.startswith(inbox_prefix(identity) + ".")
        and all(reply.split("."))
        and not any(c in reply for c in "*> \t\r\n")
    )

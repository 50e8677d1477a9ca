"""The JetStream streams that hold the store: what they must look like, made when absent, checked when present.

They follow the conventions of a NATS key-value bucket (stream `KV_<bucket>`, subjects `$KV.<bucket>.<key>`, a
`KV-Operation` header on tombstones), so that `nats kv` can look into them. The fields:
https://docs.nats.io/nats-concepts/jetstream/streams.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from mesh.errors import Terminal, Unavailable
from mesh.store.api import Rejected, StreamApi, StreamNotFound

_READY_WITHIN = 15.0
"""Seconds that JetStream may take to come up after its server has accepted us."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """One stream of keys with a revision counter of its own."""

    name: str
    replicas: int = 1
    durable: bool = True
    """Every acknowledged write is on the disk, and several may be committed in one atomic batch. Otherwise a stream
    without replicas reaches the disk a little later, and its writes never wait for a durable one."""
    tombstone_seconds: int = 600
    """How long a deletion can be followed. Whoever was away for longer has to begin anew."""
    value_seconds: int = 0
    """How long a value lives after its last write; 0 is for ever. Nobody is told when it ends."""

    @property
    def stream(self) -> str:
        """The JetStream stream's name."""
        return f"KV_{self.name}"

    @property
    def prefix(self) -> str:
        """What the subject of every key begins with."""
        return f"$KV.{self.name}."

    def config(self) -> dict[str, Any]:
        """The stream's configuration: all fields that matter to us."""
        config: dict[str, Any] = {
            "name": self.stream,
            "subjects": [self.prefix + ">"],
            "storage": "file",
            "num_replicas": self.replicas,
            "max_msgs_per_subject": 1,
            "max_msgs": -1,
            "max_bytes": -1,
            "max_age": 0,
            "discard": "new",
            "allow_msg_ttl": True,
            "allow_atomic": self.durable,
            "deny_delete": True,
        }
        if not self.durable and self.replicas == 1:
            config["persist_mode"] = "async"  # JetStream has it for single replicas only
        return config


def objects_bucket(replicas: int = 1) -> Bucket:
    """The bucket of all objects but Events."""
    return Bucket("covey", replicas)


def events_bucket(replicas: int = 1) -> Bucket:
    """The bucket of Kubernetes Events, which live for an hour and may be lost in a crash of the machine."""
    return Bucket("covey_events", replicas, durable=False, value_seconds=3600)


async def ensure(api: StreamApi, bucket: Bucket) -> None:
    """Make the bucket's stream, or check the one that is there; only the number of replicas is ever changed.

    Raises `Terminal` when the stream differs in anything else, and `Unavailable` when JetStream does not answer.
    """
    wanted = bucket.config()
    deadline = asyncio.get_running_loop().time() + _READY_WITHIN
    while True:
        try:
            found = (await api.info(bucket.stream)).config
            break
        except StreamNotFound:
            await api.call(f"STREAM.CREATE.{bucket.stream}", wanted)
            return
        except Unavailable:
            if asyncio.get_running_loop().time() > deadline:
                raise
            await asyncio.sleep(0.1)
    # NATS leaves fields out that have Go's zero value.
    different = sorted(
        field for field, value in wanted.items() if found.get(field) != value and found.get(field, 0) != value
    )
    if different == ["num_replicas"]:
        try:
            await api.call(f"STREAM.UPDATE.{bucket.stream}", {**found, "num_replicas": bucket.replicas})
        except Rejected as error:
            raise Terminal(f"{bucket.stream} cannot have {bucket.replicas} replicas: {error.message}") from error
    elif different:
        listed = ", ".join(f"{field} is {found.get(field)!r} instead of {wanted[field]!r}" for field in different)
        raise Terminal(f"the stream {bucket.stream} is not one of ours: {listed}; move it away or use another account")

"""The store port: what the API server needs of a cluster store, and nothing more.

One counter of revisions for the whole store, strictly increasing with each write, as etcd has. Two adapters pass the
same contract suite: `memory` (simulation, unit tests) and `jetstream` (the real one).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from mesh.errors import CoveyError


@dataclass(frozen=True, slots=True)
class Entry:
    """One stored version of a key. `value` is None for a tombstone: the key was deleted at `revision`."""

    key: str
    value: bytes | None
    revision: int


@dataclass(frozen=True, slots=True)
class Write:
    """A write that takes effect only if the key's last revision is `expected`.

    `expected` is 0 when the key must not exist (never written, or deleted: a tombstone is the adapter's business, the
    caller need not know its revision). `value` None deletes, which leaves a tombstone with a revision of its own.
    """

    key: str
    value: bytes | None
    expected: int


class RevisionMismatch(CoveyError):
    """The compare-and-set failed: the key's revision is not the expected one. Nothing was written."""

    def __init__(self, key: str, expected: int) -> None:
        super().__init__(f"{key}: revision is not {expected}")
        self.key = key
        self.expected = expected


class Sink(Protocol):
    """Receives what `Store.follow` delivers. Its methods are called in revision order, never concurrently."""

    def entry(self, entry: Entry) -> None:
        """One version of one key, a tombstone included."""

    def caught_up(self, revision: int) -> None:
        """Everything up to `revision` has been delivered; called once after the first snapshot, and after every
        reconnection. Between a lost connection and this call the sink may be behind."""

    def lost(self, error: Exception) -> None:
        """The stream cannot be continued from where it was (it was compacted, or replaced by another one): the
        follower has ended, and its owner must begin anew with an empty cache."""


class Following(Protocol):
    """A running `follow`."""

    async def stop(self) -> None:
        """End it; no call to the sink happens after this returns."""


class Store(Protocol):
    """A key-value store with compare-and-set and an ordered feed of changes.

    Keys are made by `mesh.store.keys`. Every method raises `mesh.errors.Unavailable` when the store does not answer.
    """

    async def write(self, write: Write) -> int:
        """Apply one write durably and return its revision; concurrent calls are committed together.

        Raises `RevisionMismatch` when the key is not at `write.expected`. After a lost acknowledgement the adapter
        finds out what happened before it answers; only when it cannot does it raise `Unavailable`.
        """

    async def follow(self, sink: Sink, *, after: int = 0) -> Following:
        """Deliver the latest version of every key written after revision `after`, in revision order, then every
        later write as it happens; a version that is superseded before it could be sent may be skipped (so a key
        deleted and created again may show only its new version). Tombstones are delivered for keys deleted after
        `after` (with `after=0`, deleted keys may be skipped). Survives reconnections without gaps."""

    async def last_revision(self) -> int:
        """The revision of the last write to the store, as its leader knows it: a list that has seen it is current."""

    async def close(self) -> None:
        """Release the connection; pending writes get `Unavailable`."""

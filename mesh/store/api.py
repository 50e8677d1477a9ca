"""The few calls of the JetStream API that the store needs, and the headers of its messages.

Reference: https://docs.nats.io/reference/reference-protocols/nats_api_reference, ADR-8 (key-value conventions), ADR-50
(atomic batches).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from mesh.bus.connection import Connection
from mesh.errors import CoveyError, Unavailable

EXPECTED = "Nats-Expected-Last-Subject-Sequence"
TTL = "Nats-TTL"
BATCH = "Nats-Batch-Id"
BATCH_SEQUENCE = "Nats-Batch-Sequence"
BATCH_COMMIT = "Nats-Batch-Commit"
OPERATION = "KV-Operation"
WRITE_ID = "Covey-Write"
"""Names the write that made a version, so that a writer whose acknowledgement was lost recognizes its own."""

TIMEOUT = 5.0
"""Seconds to wait for an answer of JetStream."""

_SEQUENCE = re.compile(r"wrong last sequence: (\d+)")
_WRONG_SEQUENCE = frozenset({10071, 10164})
_STREAM_NOT_FOUND = 10059
_NO_MESSAGE = 10037


class StreamNotFound(CoveyError):
    """There is no such stream."""


class Refused(CoveyError):
    """A compare-and-set did not hold, for this message or for one of its batch. Nothing was stored.

    `revision` is the one that the refused subject has, as far as JetStream says (0: it has none, or it is not known).
    """

    def __init__(self, description: str) -> None:
        super().__init__(description)
        found = _SEQUENCE.search(description)
        self.revision = int(found[1]) if found else 0


class Rejected(Unavailable):
    """JetStream answered that it cannot do it now (no space, no leader, ...). Nothing was stored."""


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """What a stream's leader says about it. `created` tells a stream from another one of the same name."""

    created: str
    last_revision: int
    config: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Stored:
    """The last message of a subject."""

    revision: int
    deleted: bool
    write_id: str


class StreamApi:
    """JetStream's API over one connection. Every call raises `Unavailable` when it is not answered."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def call(self, endpoint: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """One request to `$JS.API.<endpoint>`."""
        data = orjson.dumps(body) if body is not None else b""
        message = await self._connection.request(f"$JS.API.{endpoint}", data, timeout=TIMEOUT)
        return check(message.data)

    async def info(self, stream: str) -> StreamInfo:
        """The stream's state, as its leader knows it. Raises `StreamNotFound`."""
        answer = await self.call(f"STREAM.INFO.{stream}")
        return StreamInfo(answer["created"], answer["state"]["last_seq"], answer["config"])

    async def last(self, stream: str, subject: str) -> Stored | None:
        """The last message on `subject`, read from the leader; None when there is none."""
        message = await self._get(stream, {"last_by_subj": subject})
        if message is None:
            return None
        headers = parse_headers(base64.b64decode(message.get("hdrs", "")))
        return Stored(message["seq"], is_tombstone(headers), headers.get(WRITE_ID, ""))

    async def subject_at(self, stream: str, revision: int) -> str:
        """The subject of the message with this sequence, "" when it is gone."""
        message = await self._get(stream, {"seq": revision})
        return str(message["subject"]) if message else ""

    async def _get(self, stream: str, which: Mapping[str, Any]) -> dict[str, Any] | None:
        try:
            answer = await self.call(f"STREAM.MSG.GET.{stream}", which)
        except _NoMessage:
            return None
        message: dict[str, Any] = answer["message"]
        return message


class _NoMessage(CoveyError):
    """There is no message on the subject."""


def check(answer: bytes) -> dict[str, Any]:
    """A JSON answer or publish acknowledgement; raises what its `error` stands for."""
    decoded: dict[str, Any] = orjson.loads(answer)
    error = decoded.get("error")
    if error is None:
        return decoded
    code = error.get("err_code")
    description = f"JetStream: {error.get('description')} ({code})"
    if code in _WRONG_SEQUENCE:
        raise Refused(description)
    if code == _STREAM_NOT_FOUND:
        raise StreamNotFound(description)
    if code == _NO_MESSAGE:
        raise _NoMessage(description)
    raise Rejected(description)


def is_tombstone(headers: Mapping[str, str] | None) -> bool:
    """Whether a message with these headers marks a deletion."""
    return headers is not None and headers.get(OPERATION) in {"DEL", "PURGE"}


def parse_headers(block: bytes) -> dict[str, str]:
    """The headers of a stored message ("NATS/1.0" and one line each)."""
    pairs = (line.partition(":") for line in block.decode(errors="replace").splitlines()[1:])
    return {name.strip(): value.strip() for name, colon, value in pairs if colon}

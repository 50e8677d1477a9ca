"""Which Events are written, and which become one: the arithmetic of the event recorder, without I/O.

Equal Events become one with a count; many that differ only in their message become one "combined" Event; a flood
about one object is cut. The numbers are those of client-go's EventCorrelator (tools/record/events_cache.go).
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from mesh.objects.types import Object

_MOST_REMEMBERED = 4096
_SIMILAR = 10
"""From this many different messages within the interval on, they are combined."""
_SIMILAR_SECONDS = 600.0
_BURST = 25
_REFILL_SECONDS = 300.0
"""After a burst of 25, one Event about the same object is let through every five minutes."""
_COMBINED = "(combined from similar events): "

V = TypeVar("V")


class _Recent(OrderedDict[str, V], Generic[V]):
    """A dict that forgets what was not touched for longest, beyond a limit."""

    def touch(self, key: str, value: V) -> None:
        """Set and make newest."""
        self[key] = value
        self.move_to_end(key)
        while len(self) > _MOST_REMEMBERED:
            self.popitem(last=False)


@dataclass(slots=True)
class _Similar:
    """Messages seen lately in one group of Events that differ only in their message."""

    since: float
    messages: set[str] = field(default_factory=set)


@dataclass(slots=True)
class _Bucket:
    """Tokens left for Events about one object."""

    tokens: float
    at: float


@dataclass(slots=True)
class Series:
    """One written Event, and how often it has happened."""

    namespace: str
    name: str
    count: int = 1


class Correlator:
    """Remembers the Events of one process; times are monotonic seconds."""

    def __init__(self) -> None:
        self._similar: _Recent[_Similar] = _Recent()
        self._buckets: _Recent[_Bucket] = _Recent()
        self._series: _Recent[Series] = _Recent()

    def admit(self, event: Object, now: float) -> bool:
        """Whether the token bucket of the Event's object lets it through."""
        key = _identity(event, "involvedObject", "source")
        bucket = self._buckets.get(key) or _Bucket(_BURST, now)
        bucket.tokens = min(_BURST, bucket.tokens + (now - bucket.at) / _REFILL_SECONDS)
        bucket.at = now
        self._buckets.touch(key, bucket)
        if bucket.tokens < 1:
            return False
        bucket.tokens -= 1
        return True

    def combine(self, event: Object, now: float) -> None:
        """Give an Event the common message of its group when there are many that differ only in it."""
        key = _identity(event, *_GROUP)
        similar = self._similar.get(key)
        if similar is None or now - similar.since > _SIMILAR_SECONDS:
            similar = _Similar(now)
        similar.messages.add(event["message"])
        self._similar.touch(key, similar)
        if len(similar.messages) >= _SIMILAR:
            # One place stays free: the group remains combined without remembering every message there ever was.
            similar.messages.discard(event["message"])
            event["message"] = _COMBINED + event["message"]

    def series(self, event: Object) -> Series | None:
        """The Event already written that says the same."""
        return self._series.get(_same(event))

    def written(self, event: Object, series: Series) -> None:
        """Remember what `event` was written as."""
        self._series.touch(_same(event), series)

    def expired(self, event: Object) -> None:
        """Forget what `event` was written as: it is gone."""
        self._series.pop(_same(event), None)


_GROUP = ("involvedObject", "source", "type", "reason", "reportingComponent")


def _same(event: Object) -> str:
    """Equal for Events that are one: of the same group, with the same message or both combined."""
    if event["message"].startswith(_COMBINED):
        return _identity(event, *_GROUP)
    return _identity(event, *_GROUP, "message")


def _identity(event: Object, *parts: str) -> str:
    """The given fields of an Event as one string; the version of its object does not matter."""
    values = []
    for part in parts:
        value = event[part]
        if part == "involvedObject":
            value = {k: v for k, v in value.items() if k != "resourceVersion"}
        values.append(repr(value))
    return "\n".join(values)

"""Answers of other servers, kept for as long as they may be. Pure: time comes in as a number of seconds."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from agents.dns import packets

MOST_SECONDS = 30.0
MOST_ENTRIES = 2000


@dataclass(frozen=True, slots=True)
class _Kept:
    packet: bytes
    places: tuple[int, ...]
    since: float
    until: float


class Cache:
    """The most recently used answers by question."""

    def __init__(self, entries: int = MOST_ENTRIES) -> None:
        self._entries = entries
        self._kept: OrderedDict[bytes, _Kept] = OrderedDict()

    def get(self, query: bytes, now: float) -> bytes | None:
        """The answer to a query, with its id and TTLs that have aged; None when there is none (any more)."""
        key = packets.cache_key(query)
        kept = self._kept.get(key)
        if kept is None:
            return None
        if now >= kept.until:
            del self._kept[key]
            return None
        self._kept.move_to_end(key)
        return packets.aged(kept.packet, query, kept.places, int(now - kept.since))

    def put(self, query: bytes, packet: bytes, now: float) -> None:
        """Keep an answer for as long as it says, at most half a minute."""
        seconds, places = packets.lifetime(packet, MOST_SECONDS)
        if seconds <= 0:
            return
        self._kept[packets.cache_key(query)] = _Kept(packet, places, now, now + seconds)
        while len(self._kept) > self._entries:
            self._kept.popitem(last=False)

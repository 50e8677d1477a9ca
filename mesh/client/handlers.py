"""Who hears of an informer's changes: handlers, and those among them that are still being told of what was there before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from mesh.objects.meta import Key, key_of
from mesh.objects.types import Object


class Handler(Protocol):
    """Called, in revision order and never concurrently, after the cache has changed. It must not wait; (None, new)
    is an addition, (old, new) a change, (old, None) a deletion, where `old` is the last state known."""

    def __call__(self, old: Object | None, new: Object | None) -> None:
        """One change."""


class Newcomer:
    """A handler that has not been told of all objects yet. What changes before its turn comes is news to it."""

    def __init__(self, handler: Handler, known: Sequence[Key]) -> None:
        self._handler = handler
        self._untold = dict.fromkeys(known)

    def __call__(self, old: Object | None, new: Object | None) -> None:
        """One change, or an object's turn to be told of."""
        obj = new or old
        if not self._untold or obj is None or (key := key_of(obj)) not in self._untold:
            self._handler(old, new)
            return
        del self._untold[key]
        if new is not None:
            self._handler(None, new)

    def next(self) -> Key | None:
        """An object of which it does not know; None when it knows of all."""
        return next(iter(self._untold), None)

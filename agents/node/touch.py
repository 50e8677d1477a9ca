"""Whether the leader hears this node: who may say that it is ready, the node itself or the node lifecycle controller.

While heartbeats go unanswered, a node that the controller has declared Unknown leaves it at that, and so it does with the
Ready conditions of its pods: an agent that can still write to the API would else contradict the controller again and
again. Whoever is cut off again and again has to be heard for longer each time before it takes Unknown back. Pure.
"""

from __future__ import annotations

from collections import deque

from mesh.objects.types import Object

REMEMBERED = 300.0
"""Seconds for which a return is held against the next one."""
LONGEST_WAIT = 10.0


class Touch:
    """What the answers to heartbeats tell. Times in seconds of one clock; `window` is how long one answer is good for:
    it has to be shorter than the silence after which the leader declares a node unreachable."""

    def __init__(self, window: float) -> None:
        self._window = window
        self._last = float("-inf")
        """When the newest heartbeat that was answered was sent."""
        self._heard = float("-inf")
        """When the last answer came."""
        self._since = float("-inf")
        self._returns: deque[float] = deque()
        self._held = False

    def answered(self, sent: float, now: float) -> bool:
        """A heartbeat that was sent then has been answered. Whether that brings the node back into touch."""
        # Not since that was sent: where answers always take long, none of them is a return.
        if now - self._heard >= self._window:
            if self._heard > float("-inf"):
                self._returns.append(now)
            self._since, self._held = now, False
        self._heard = now
        self._last = max(self._last, sent)
        before, self._held = self._held, self.holds(now)
        return self._held and not before

    def holds(self, now: float) -> bool:
        """Whether the node is in touch."""
        while self._returns and now - self._returns[0] > REMEMBERED:
            self._returns.popleft()
        often = len(self._returns)
        # A power that is certainly longer than the longest wait will do: in minutes there can be thousands of returns.
        wait = min(2.0 ** min(often - 1, 6), LONGEST_WAIT) if often > 1 else 0.0
        return now - self._last < self._window and now - self._since >= wait


def declared_unknown(node: Object | None) -> bool:
    """Whether the controller has declared this node unreachable."""
    status = (node or {}).get("status") or {}
    return any(c["type"] == "Ready" and c["status"] == "Unknown" for c in status.get("conditions") or ())

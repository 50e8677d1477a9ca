"""How long to wait before trying again: 10 s, doubling up to 300 s, forgotten after ten minutes of running.

The delay a container has earned is kept in a label of the container itself, so that a restarted agent goes on where
the last one was. Numbers: https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#container-restarts
Pure: time comes in as `now`.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from agents.node.ports import ContainerStatus, State

INITIAL = 10
LIMIT = 300
RESET_AFTER = timedelta(minutes=10)

DELAY_LABEL = "dev.covey.restart-delay"
"""Label of a container: seconds to wait, once it has ended, before its successor starts."""


def doubled(delay: int) -> int:
    """The delay after one of `delay` seconds; the first is 10."""
    return min(delay * 2, LIMIT) if delay else INITIAL


def delay_of(container: ContainerStatus) -> int:
    """Seconds to wait after this container's end: 0 after a first start or a run of ten minutes."""
    if container.started_at and container.finished_at and container.finished_at - container.started_at > RESET_AFTER:
        return 0
    text = container.labels.get(DELAY_LABEL, "0")
    return int(text) if text.isdigit() else 0


def retry_at(container: ContainerStatus) -> datetime | None:
    """When the successor of an ended container may start; None for at once."""
    delay = delay_of(container)
    ended = container.finished_at or container.created_at
    if container.state is State.RUNNING or not delay or ended is None:
        return None
    return ended + timedelta(seconds=delay)


def next_label(previous: ContainerStatus | None) -> str:
    """The label's value for the container that follows `previous`: its own successor waits twice as long."""
    return "0" if previous is None else str(doubled(delay_of(previous)))


def format_delay(seconds: int) -> str:
    """Seconds as Go prints a duration: `10s`, `1m20s`, `5m0s`."""
    minutes, rest = divmod(seconds, 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"

"""Durations as `kubectl` prints them: two units at most, coarser the longer they are.

Source: k8s.io/apimachinery/pkg/util/duration.HumanDuration.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from mesh.objects.meta import parse_time

UNKNOWN = "<unknown>"


def human(duration: timedelta) -> str:
    """ "45s", "3m20s", "12m", "5h10m", "3d4h", "400d", "3y10d"; a little in the future counts as now."""
    seconds = int(duration.total_seconds())
    if seconds < -1:
        return "<invalid>"
    if seconds < 0:
        return "0s"
    if seconds < 120:
        return f"{seconds}s"
    minutes, hours = seconds // 60, seconds // 3600
    if minutes < 10:
        return _two(minutes, "m", seconds % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    days = hours // 24
    if days < 8:
        return _two(days, "d", hours % 24, "h")
    if days < 365 * 2:
        return f"{days}d"
    if days < 365 * 8:
        return _two(days // 365, "y", days % 365, "d")
    return f"{days // 365}y"


def _two(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large}{large_unit}{small}{small_unit}" if small else f"{large}{large_unit}"


def since(timestamp: str | None, now: datetime) -> str:
    """How long ago a timestamp is; "<unknown>" when there is none."""
    return human(now - parse_time(timestamp)) if timestamp else UNKNOWN

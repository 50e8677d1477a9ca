"""Checking timestamps as the API server does, in Go's words.

`metav1.Time` is RFC 3339 and stored in whole seconds; `metav1.MicroTime` needs and keeps exactly six digits.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Final

_CANONICAL_TIME = re.compile(r"\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|1\d|2[0-8])T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\dZ")

_LAYOUT: Final = (
    ("2006", r"\d{4}"), ("-", "-"), ("01", r"\d\d"), ("-", "-"), ("02", r"\d\d"), ("T", "T"),
    ("15", r"\d\d"), (":", ":"), ("04", r"\d\d"), (":", ":"), ("05", r"\d\d"),
)  # fmt: skip
_ZONE = re.compile(r"Z|[+-]\d\d:\d\d")
_FRACTION = re.compile(r"[.,]\d+")
_MICROS = re.compile(r"\.\d{6}(?!\d)")

_TIME_LAYOUT = "2006-01-02T15:04:05Z07:00"
_MICRO_LAYOUT = "2006-01-02T15:04:05.000000Z07:00"


class TimeError(ValueError):
    """The text is no timestamp; the message is Go's."""


def canonical_time(text: str) -> str:
    """`text` as `metav1.Time` is stored: UTC, whole seconds. Raises `TimeError`."""
    if _CANONICAL_TIME.fullmatch(text):
        return text
    return _parse(text, _TIME_LAYOUT, micros=False).strftime("%Y-%m-%dT%H:%M:%SZ")


def canonical_micro_time(text: str) -> str:
    """`text` as `metav1.MicroTime` is stored: UTC, six digits. Raises `TimeError`."""
    return _parse(text, _MICRO_LAYOUT, micros=True).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _parse(text: str, layout: str, *, micros: bool) -> datetime:
    def wrong(rest: str, element: str) -> TimeError:
        return TimeError(f'parsing time "{text}" as "{layout}": cannot parse "{rest}" as "{element}"')

    rest = text
    numbers: list[int] = []
    for element, pattern in _LAYOUT:
        match = re.match(pattern, rest)
        if not match:
            raise wrong(rest, element)
        if match.group().isdigit():
            numbers.append(int(match.group()))
        rest = rest[match.end() :]
    fraction = (_MICROS if micros else _FRACTION).match(rest)
    if micros and not fraction:
        raise wrong(rest, ".000000")
    rest = rest[fraction.end() :] if fraction else rest
    zone = _ZONE.match(rest)
    if not zone:
        raise wrong(rest, "Z07:00")
    if extra := rest[zone.end() :]:
        raise TimeError(f'parsing time "{text}": extra text: "{extra}"')
    year, month, day, hour, minute, second = numbers
    microsecond = int(fraction.group()[1:7].ljust(6, "0")) if fraction else 0
    try:
        moment = datetime(year, month, day, hour, minute, second, microsecond, tzinfo=_zone(zone.group()))
        return moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise TimeError(f'parsing time "{text}": {_out_of_range(month, hour, minute, second)} out of range') from error


def _zone(text: str) -> timezone:
    if text == "Z":
        return UTC
    offset = timedelta(hours=int(text[1:3]), minutes=int(text[4:6]))
    return timezone(-offset if text[0] == "-" else offset)


def _out_of_range(month: int, hour: int, minute: int, second: int) -> str:
    if not 1 <= month <= 12:
        return "month"
    if hour > 23:
        return "hour"
    if minute > 59:
        return "minute"
    return "second" if second > 59 else "day"

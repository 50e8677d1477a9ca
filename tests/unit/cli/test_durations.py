"""Durations as Go reads and writes them."""

from __future__ import annotations

import re

import pytest

from cli.durations import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5s", 5), ("1m30s", 90), ("1.5h", 5400), ("300ms", 0.3), ("0", 0), ("-2m", -120), ("1h0m1s", 3601), (".5s", 0.5),
        ("+1s", 1), ("10us", 1e-5), ("1.s", 1),
    ],
)  # fmt: skip
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", 'time: invalid duration ""'), ("abc", 'time: invalid duration "abc"'),
        ("5", 'time: missing unit in duration "5"'),
        ("5d", 'time: unknown unit "d" in duration "5d"'), ("1m 2s", 'time: unknown unit "m " in duration "1m 2s"'),
        ("-", 'time: invalid duration "-"'),
    ],
)  # fmt: skip
def test_what_is_none(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(words)}$"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (1.5, "1.5s"), (60, "1m0s"), (90, "1m30s"), (3600, "1h0m0s"), (0.3, "0.3s")]
)
def test_writing(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text

"""Integers in query parameters, read as Go's `strconv.ParseInt` reads 64 bits of them, in its words. Pure."""

from __future__ import annotations

import re

_INTEGER = re.compile(r"[+-]?[0-9]+")
_MOST_CHARACTERS = 4000
"""More than this Python itself refuses to convert; it is out of range anyway."""


def parse_int64(text: str) -> int:
    """The integer; raises `ValueError` with the sentence a client gets."""
    if not _INTEGER.fullmatch(text):
        raise ValueError(f'strconv.ParseInt: parsing "{text}": invalid syntax')
    number = int(text) if len(text) <= _MOST_CHARACTERS else 1 << 64
    if not -(1 << 63) <= number < 1 << 63:
        raise ValueError(f'strconv.ParseInt: parsing "{text}": value out of range')
    return number

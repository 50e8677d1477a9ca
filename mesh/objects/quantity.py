"""Quantities of resources ("250m", "1.5Gi", "12e6"): exact arithmetic and the canonical form.

Values are kept as whole nano-units, so nothing is ever rounded but what is finer than that (always away from zero, as
whoever asks for a little should get a little). Source: k8s.io/apimachinery/pkg/api/resource/quantity.go.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache, total_ordering
from typing import Final

DECIMAL_SI: Final = "DecimalSI"
BINARY_SI: Final = "BinarySI"
DECIMAL_EXPONENT: Final = "DecimalExponent"

NANOS: Final = 10**9
_MAX: Final = (2**63 - 1) * NANOS
_MAX_EXPONENT: Final = 1000
"""Far above any quantity there is; keeps a hostile "1e999999999" from becoming a number of that size."""

_FORM = re.compile(r"([+-]?)([0-9]*)(?:\.([0-9]*))?([eEinumkKMGTP]*[-+]?[0-9]*)")
_DECIMAL_SUFFIXES = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_DECIMAL_BY_EXPONENT = {exponent: suffix for suffix, exponent in _DECIMAL_SUFFIXES.items()}
_BINARY_SUFFIXES = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_BINARY_BY_EXPONENT = {exponent: suffix for suffix, exponent in _BINARY_SUFFIXES.items()}
_EXPONENT = re.compile(r"[eE]([-+]?[0-9]+)")

WRONG_FORMAT = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
WRONG_SUFFIX = "unable to parse quantity's suffix"
WRONG_NUMBER = "unable to parse numeric part of quantity"


class QuantityError(ValueError):
    """The text is not a quantity; the message is Kubernetes' own."""


@total_ordering
@dataclass(frozen=True, slots=True, eq=False)
class Quantity:
    """An exact amount and the format its text had, in which results are printed. Compares by amount alone."""

    nanos: int
    format: str = DECIMAL_SI

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Quantity) and self.nanos == other.nanos

    def __lt__(self, other: Quantity) -> bool:
        return self.nanos < other.nanos

    def __hash__(self) -> int:
        return hash(self.nanos)

    def __add__(self, other: Quantity) -> Quantity:
        return Quantity(self.nanos + other.nanos, self.format if self.nanos else other.format)

    def __sub__(self, other: Quantity) -> Quantity:
        return Quantity(self.nanos - other.nanos, self.format if self.nanos else other.format)

    def __bool__(self) -> bool:
        return self.nanos != 0

    def __str__(self) -> str:
        return _canonical(self.nanos, self.format)

    @property
    def milli(self) -> int:
        """The amount in thousandths, rounded away from zero (`MilliValue`)."""
        return _away_from_zero(self.nanos, 10**6)

    @property
    def whole(self) -> int:
        """The amount in whole units, rounded away from zero (`Value`)."""
        return _away_from_zero(self.nanos, NANOS)

    def rounded_to_milli(self) -> Quantity:
        """The amount with nothing finer than a thousandth, as resource lists are stored."""
        return Quantity(self.milli * 10**6, self.format)


def _away_from_zero(value: int, unit: int) -> int:
    return -(-value // unit) if value > 0 else value // unit


@lru_cache(maxsize=8192)
def parse(text: str) -> Quantity:
    """The quantity that `text` denotes; raises `QuantityError` in Kubernetes' words."""
    match = _FORM.fullmatch(text)
    if not match:
        number = re.match(r"[+-]?[0-9.]+", text)
        raise QuantityError(WRONG_NUMBER if number and number.group().count(".") > 1 else WRONG_FORMAT)
    sign, integer, fraction, suffix = match[1], match[2], match[3] or "", match[4]
    if not integer and not fraction:
        raise QuantityError(WRONG_FORMAT if not text else WRONG_NUMBER)
    digits = int(integer + fraction or "0")
    if suffix in _BINARY_SUFFIXES:
        kind, shift, exponent = BINARY_SI, _BINARY_SUFFIXES[suffix], -len(fraction)
    elif suffix in _DECIMAL_SUFFIXES:
        kind, shift, exponent = DECIMAL_SI, 0, _DECIMAL_SUFFIXES[suffix] - len(fraction)
    elif (power := _EXPONENT.fullmatch(suffix)) and len(power[1]) < 6 and abs(int(power[1])) <= _MAX_EXPONENT:
        kind, shift, exponent = DECIMAL_EXPONENT, 0, int(power[1]) - len(fraction)
    else:
        raise QuantityError(WRONG_SUFFIX)
    exponent += 9
    units = digits << shift
    nanos = units * 10**exponent if exponent >= 0 else _away_from_zero(units, 10**-exponent)
    if kind == BINARY_SI:
        nanos = min(nanos, _MAX)
        if 0 < nanos < NANOS:
            kind = DECIMAL_SI
    return Quantity(-nanos if sign == "-" else nanos, kind)


def _canonical(nanos: int, kind: str) -> str:
    """The canonical text: no fraction, the largest suffix that loses nothing."""
    if nanos == 0:
        return "0"
    if kind == BINARY_SI and abs(nanos) >= 1024 * NANOS and nanos % NANOS == 0:
        number, exponent = nanos // NANOS, 0
        while exponent < 60 and number % 1024 == 0:
            number, exponent = number // 1024, exponent + 10
        return f"{number}{_BINARY_BY_EXPONENT.get(exponent, '')}"
    number, exponent = nanos, -9
    highest = 18 if kind != DECIMAL_EXPONENT else 10**6
    while exponent < highest and number % 1000 == 0:
        number, exponent = number // 1000, exponent + 3
    if kind == DECIMAL_EXPONENT:
        return f"{number}e{exponent}" if exponent else str(number)
    return f"{number}{_DECIMAL_BY_EXPONENT[exponent]}"


@lru_cache(maxsize=8192)
def canonical(text: str) -> str:
    """`text` in canonical form ("0.5" is "500m", "1024Mi" is "1Gi"); raises `QuantityError`."""
    return str(parse(text))


def to_milli(text: str | float) -> int:
    """The amount in thousandths, rounded up: what CPU is counted in."""
    return parse(str(text)).milli


def to_int(text: str | float) -> int:
    """The amount in whole units, rounded up: bytes, pods, devices."""
    return parse(str(text)).whole


def of(value: int, kind: str = DECIMAL_SI) -> Quantity:
    """`value` whole units."""
    return Quantity(value * NANOS, kind)


def of_milli(value: int) -> Quantity:
    """`value` thousandths of a unit."""
    return Quantity(value * 10**6)


def of_bytes(value: int) -> Quantity:
    """`value` bytes, printed with binary suffixes."""
    return Quantity(value * NANOS, BINARY_SI)

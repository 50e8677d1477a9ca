"""What a part of the bench hands over: figures with their spread and the aim they are held against. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Aim:
    """What the project set out to reach: a limit, and on which side of it the median should lie."""

    limit: float
    at_least: bool

    def met_by(self, value: float) -> bool:
        """Whether `value` lies on the right side."""
        return value >= self.limit if self.at_least else value <= self.limit

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.limit:g}"


def at_most(limit: float) -> Aim:
    """The smaller the better."""
    return Aim(limit, at_least=False)


def at_least(limit: float) -> Aim:
    """The larger the better."""
    return Aim(limit, at_least=True)


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured thing: the median of `count` samples, and how far they lie apart."""

    name: str
    unit: str
    median: float
    least: float
    p99: float
    most: float
    count: int
    aim: Aim | None = None

    @classmethod
    def of(cls, name: str, unit: str, samples: Sequence[float], aim: Aim | None = None) -> Figure:
        """Of at least one sample. The 99th percentile is the nearest rank: the largest, of fewer than a hundred."""
        ordered = sorted(samples)
        p99 = ordered[max(0, -(-99 * len(ordered) // 100) - 1)]
        return cls(name, unit, statistics.median(ordered), ordered[0], p99, ordered[-1], len(ordered), aim)

    @property
    def verdict(self) -> str:
        """Whether the aim is met; "" for a figure without one."""
        if self.aim is None:
            return ""
        return "met" if self.aim.met_by(self.median) else "missed"

    def as_json(self) -> dict[str, object]:
        """For the file of results."""
        return asdict(self) | {"aim": str(self.aim) if self.aim else None, "verdict": self.verdict or None}


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Round by round, so that a busy moment of the machine burdens both sides of a ratio."""
    return [mine / yours for mine, yours in zip(ours, theirs, strict=True)]

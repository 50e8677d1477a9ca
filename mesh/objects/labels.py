"""Label and field selectors: parsing both notations, matching, and printing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class Selector(Protocol):
    """Decides whether a set of labels (or of fields) is selected."""

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether every requirement holds."""

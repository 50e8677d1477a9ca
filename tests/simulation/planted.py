"""Faults in the product itself, put in by tests to see that the simulation finds them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

PLANTED: Mapping[str, Callable[[], AbstractContextManager[Any]]] = {}

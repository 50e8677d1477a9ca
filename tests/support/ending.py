"""A run of the tests that is told to end (SIGTERM, as by a CI's time limit) first tears its fixtures down: their
clusters would live on otherwise. A plugin of pytest's; `tests/conftest.py` takes it in."""

from __future__ import annotations

import signal
from types import FrameType

import pytest

EXIT_CODE = 128 + signal.SIGTERM


def pytest_configure() -> None:
    """Handle SIGTERM from here on."""
    signal.signal(signal.SIGTERM, _end)


def _end(_number: int, _frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # who is impatient may tell us twice
    pytest.exit("terminated", EXIT_CODE)

"""A run of the tests that is told to end (SIGTERM, as by a CI's time limit) first tears its fixtures down: their
clusters would live on otherwise. A plugin of pytest's; `tests/conftest.py` takes it in."""

from __future__ import annotations

import signal
import threading
from types import FrameType

import pytest

EXIT_CODE = 128 + signal.SIGTERM
_told = threading.Event()


def pytest_configure() -> None:
    """Handle SIGTERM from here on, and SIGINT also where a shell started us in the background, which has it ignored: by
    us, and by every command that a test interrupts."""
    signal.signal(signal.SIGTERM, _end)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Whoever told us hears that we ended because of it."""
    if _told.is_set():
        session.exitstatus = EXIT_CODE


def _end(_number: int, _frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # who is impatient may tell us twice
    _told.set()
    # Not pytest.exit(): what it raises is an Exception, and an event loop would keep it for whoever awaits the task.
    raise KeyboardInterrupt

"""The machine of these tests."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest

from tests.vm.guest import Guest
from tests.vm.image import ensure_image


@pytest.fixture(scope="session")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    """A running machine that has nothing, with the work tree in /home/dev/covey."""
    if os.geteuid() != 0:
        pytest.skip("building the machine's disk needs root")
    if shutil.which("qemu-system-x86_64") is None:
        pytest.skip("needs qemu-system-x86 (make test-vm installs it)")
    made = Guest(ensure_image(), tmp_path_factory.mktemp("vm"))
    try:
        made.boot()
        made.clone("covey")
        yield made
    finally:
        made.kill()

"""Fixtures are torn down when the run of the tests is terminated."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.ending import EXIT_CODE

ROOT = Path(__file__).resolve().parents[2]
_TESTS = """
import asyncio, pathlib, signal, sys, pytest
HERE = pathlib.Path(__file__).parent

@pytest.fixture(scope="session")
def something():
    yield
    (HERE / "torn-down").touch()

def wait():
    print("running", file=sys.stderr, flush=True)
    signal.pause()

async def work():
    try:
        wait()
    except Exception:
        await asyncio.Event().wait()

def test_for_ever(something):
    %s
"""


@pytest.mark.parametrize("body", ["wait()", "asyncio.run(work())"])
def test_a_terminated_run_tears_its_fixtures_down(body: str, tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(_TESTS % body)
    command = [sys.executable, "-m", "pytest", "-s", "-c", "/dev/null", "-p", "tests.support.ending", str(tmp_path)]
    alone = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    pipe, nowhere = subprocess.PIPE, subprocess.DEVNULL
    with subprocess.Popen(command, cwd=ROOT, env=alone, stderr=pipe, stdout=nowhere, text=True) as run:
        assert run.stderr is not None
        try:
            assert run.stderr.readline() == "running\n"
            run.terminate()
            assert run.wait(60) == EXIT_CODE
        finally:
            run.kill()
    assert (tmp_path / "torn-down").exists()

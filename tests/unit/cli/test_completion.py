"""What the shells get: bash by its own words, zsh by its protocol; without a cluster they get types and no complaint."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


def completed(shell: str, line: str, home: Path) -> str:
    """What is offered at the end of a command line."""
    words = {
        "bash": {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1)},
        "zsh": {"_TYPER_COMPLETE_ARGS": line},
    }
    code = "import sys; sys.argv = ['covey']; from cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False, timeout=60,
        env={**os.environ, **words[shell], "_COVEY_COMPLETE": f"complete_{shell}", "COVEY_HOME": str(home)},
    )  # fmt: skip
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh"])
@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("covey dr", "drain"),
        ("covey -n shop get dep", "deployments"),
        ("covey rollout st", "status"),
        ("covey create secret gen", "generic"),
        ("covey get pods --field", "--field-selector"),
    ],
)
def test_words(tmp_path: Path, shell: str, line: str, offered: str) -> None:
    assert offered in completed(shell, line, tmp_path)


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_names_without_a_cluster(tmp_path: Path, shell: str) -> None:
    assert "Traceback" not in completed(shell, "covey get pods ", tmp_path)

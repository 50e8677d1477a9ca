"""The machine code we carry is what its assembler sources say, and runs."""

from __future__ import annotations

import platform
import shutil
import subprocess
from pathlib import Path

import pytest

from agents.node.runtimes.binaries import ARCHITECTURES, CODE, executable

SOURCES = Path(__file__).parents[3] / "images" / "static"
PREFIXES = {"amd64": "x86_64-linux-gnu-", "arm64": "aarch64-linux-gnu-"}


def tool(name: str, architecture: str) -> str | None:
    """binutils for `architecture`: the cross ones, or the machine's own."""
    own = ARCHITECTURES.get(platform.machine()) == architecture
    return shutil.which(PREFIXES[architecture] + name) or (shutil.which(name) if own else None)


@pytest.mark.parametrize(("program", "architecture"), sorted(CODE))
def test_the_code_is_assembled_from_its_source(program: str, architecture: str, tmp_path: Path) -> None:
    assembler, copier = tool("as", architecture), tool("objcopy", architecture)
    if assembler is None or copier is None:
        pytest.skip(f"no binutils for {architecture} here")
    built, flat = tmp_path / "built.o", tmp_path / "flat"
    subprocess.run([assembler, "-o", built, SOURCES / f"{program}-{architecture}.S"], check=True)
    subprocess.run([copier, "-O", "binary", "-j", ".text", built, flat], check=True)
    assert flat.read_bytes() == CODE[program, architecture]


@pytest.mark.parametrize(("program", "architecture"), sorted(CODE))
def test_executables_are_tiny_static_elf_files(program: str, architecture: str) -> None:
    made = executable(program, architecture)
    assert made[:4] == b"\x7fELF"
    assert int.from_bytes(made[18:20], "little") == {"amd64": 62, "arm64": 183}[architecture]
    assert len(made) < 512


@pytest.mark.skipif(platform.machine() not in ARCHITECTURES, reason="no code for this machine")
def test_pause_waits_and_ends_at_once_when_asked(tmp_path: Path) -> None:
    program = tmp_path / "pause"
    program.write_bytes(executable("pause", ARCHITECTURES[platform.machine()]))
    program.chmod(0o755)
    process = subprocess.Popen([program])
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.05)
    process.terminate()
    assert process.wait(10) in {0, -15}  # -15: asked before it had got round to waiting

"""Data of ConfigMaps and Secrets from options and files, as kubectl gathers it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cli.keyvalues import gather
from mesh.errors import Terminal


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of files, which is where we are."""
    (tmp_path / "a.conf").write_bytes(b"one\n")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "x").write_bytes(b"\xff")
    (tmp_path / "folder" / "no key").write_bytes(b"left out")
    (tmp_path / "folder" / "below").mkdir()
    (tmp_path / "env").write_text("# a comment\n\nA=1\n  B=two words \nSET\nUNSET\nC=\n")
    (tmp_path / "bad env").write_text("1=a\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SET", "outside")
    monkeypatch.delenv("UNSET", raising=False)
    return tmp_path


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(
    ("literals", "paths", "environment", "expected"),
    [
        (["a=b", "c="], [], [], {"a": b"b", "c": b""}),
        (["a=b=c"], ["a.conf", "k=a.conf"], [], {"a": b"b=c", "a.conf": b"one\n", "k": b"one\n"}),
        ([], ["folder"], [], {"x": b"\xff"}),
        ([], [], ["env"], {"A": b"1", "B": b"two words ", "SET": b"outside", "C": b""}),
    ],
)
def test_gathered(literals: list[str], paths: list[str], environment: list[str], expected: dict[str, bytes]) -> None:
    assert gather(literals, paths, environment, "ConfigMap") == expected


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(
    ("literals", "paths", "environment", "words"),
    [
        (["a"], [], [], "invalid literal source a, expected key=value"),
        (["=a"], [], [], "invalid literal source =a, expected key=value"),
        (["a=1", "a=2"], [], [], 'cannot add key "a", another key by that name already exists in Data for ConfigMap'),
        (["a b=1"], [], [], '"a b" is not a valid key name for a ConfigMap: a valid config key must consist of'),
        ([], ["none"], [], "error reading none: no such file or directory"),
        ([], ["a=b=c"], [], "key names or file paths cannot contain '='"),
        ([], ["=a.conf"], [], "key name for file path a.conf missing"),
        ([], ["k="], [], "file path for key name k missing"),
        ([], ["k=folder"], [], "cannot give a key name for a directory path"),
        (["a=b"], [], ["env"], "from-env-file cannot be combined with from-file or from-literal"),
        ([], [], ["bad env"], '"1" is not a valid key name: a valid environment variable name must consist of'),
        ([], [], ["folder/x"], "env file folder/x contains invalid utf8 bytes: "),
    ],
)
def test_refused(literals: list[str], paths: list[str], environment: list[str], words: str) -> None:
    with pytest.raises(Terminal, match=f"^{re.escape(words)}"):
        gather(literals, paths, environment, "ConfigMap")

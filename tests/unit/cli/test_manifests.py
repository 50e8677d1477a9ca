from __future__ import annotations

import io
from pathlib import Path

import pytest

from cli.manifests import read_manifests
from mesh.errors import Terminal

POD = "apiVersion: v1\nkind: Pod\nmetadata: {name: %s}\n"


def test_a_folder_holds_several_documents_in_order(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text(POD % "three")
    (tmp_path / "a.yaml").write_text(POD % "one" + "---\n---\n" + POD % "two")
    (tmp_path / "c.json").write_text('{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "four"}}')
    (tmp_path / "notes.txt").write_text("no manifest")
    (tmp_path / "deeper").mkdir()
    (tmp_path / "deeper" / "d.yml").write_text(POD % "five")
    assert [m.name for m in read_manifests([str(tmp_path)])] == ["one", "two", "three", "four"]
    assert len(read_manifests([str(tmp_path)], recursive=True)) == 5


def test_lists_are_taken_apart_and_dates_stay_strings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (
        "apiVersion: v1\nkind: List\nitems:\n"
        "- {apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {day: 2026-01-02}}\n"
    )
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    (only,) = read_manifests(["-"])
    assert only.object["data"] == {"day": "2026-01-02"}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a: [", "error parsing"),
        ("- 1\n", "a document is list"),
        ("metadata: {}\n", "kind not set"),
        ("kind: Pod\n", "apiVersion not set"),
        ("apiVersion: v2\nkind: Pod\n", 'no matches for kind "Pod" in version "v2"'),
        ("", "no objects passed"),
    ],
)
def test_mistakes(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "m.yaml").write_text(text)
    with pytest.raises(Terminal, match=sentence):
        read_manifests([str(tmp_path / "m.yaml")])


def test_an_absent_file() -> None:
    with pytest.raises(Terminal, match=r"the path .* does not exist"):
        read_manifests(["nowhere.yaml"])

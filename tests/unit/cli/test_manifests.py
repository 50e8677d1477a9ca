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
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
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
        ("apiVersion: v1\nkind: Pod\nmetadata: web\n", 'Pod.metadata: got "str", expected "map"'),
        ("apiVersion: v1\nkind: Pod\nmetadata: {annotations: [a]}\n", 'Pod.metadata.annotations: got "list"'),
        ("apiVersion: v1\nkind: List\nitems: [1]\n", "a document is int"),
        ("apiVersion: v1\nkind: Pod\nx: 99999999999999999999999\n", "error parsing .*64-bit"),
        ("apiVersion: v1\nkind: Pod\nx: !!binary YQ==\n", "error parsing .*bytes"),
        ("[" * 5000, "nested too deeply"),
    ],
)
def test_mistakes(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "m.yaml").write_text(text)
    with pytest.raises(Terminal, match=sentence):
        read_manifests([str(tmp_path / "m.yaml")])


def test_an_absent_file() -> None:
    with pytest.raises(Terminal, match=r"the path .* does not exist"):
        read_manifests(["nowhere.yaml"])


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(Terminal, match=r"error parsing .*m\.yaml: 'utf-8' codec"):
        read_manifests([str(tmp_path / "m.yaml")])


def test_yaml_is_read_as_kubernetes_reads_it(tmp_path: Path) -> None:
    """Numbers to the base of sixty are texts, keys are texts, an absent metadata is an empty one."""
    text = "apiVersion: v1\nkind: Pod\nports: 22:22\ntime: 1:30.5\n1: one\ncount: 12\nmode: 0644\n"
    (tmp_path / "m.yaml").write_text(text)
    (only,) = read_manifests([str(tmp_path / "m.yaml")])
    assert only.object == {
        "apiVersion": "v1", "kind": "Pod", "metadata": {}, "ports": "22:22", "time": "1:30.5", "1": "one", "count": 12,
        "mode": 0o644,
    }  # fmt: skip

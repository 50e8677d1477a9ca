from __future__ import annotations

import io
import socket
import threading
from pathlib import Path

import pytest

from cli.manifests import read_manifests
from mesh.errors import Terminal

LAUGHS = "a0: &a0 {x: y}\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 30))
MERGED_LAUGHS = "a0: &a0 {x: y}\n" + "".join(f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}\n" for n in range(1, 60))
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
        ("- 1\n", "a document is of type array, not an object"),
        ("metadata: {}\n", "kind not set"),
        ("kind: Pod\n", "apiVersion not set"),
        ("apiVersion: v2\nkind: Pod\n", 'no matches for kind "Pod" in version "v2"'),
        ("", "no objects passed"),
        ("apiVersion: v1\nkind: Pod\nmetadata: web\n", 'Pod.metadata: got "string", expected "map"'),
        ("apiVersion: v1\nkind: Pod\nmetadata: {annotations: [a]}\n", 'Pod.metadata.annotations: got "array"'),
        ("apiVersion: v1\nkind: List\nitems: [1]\n", "a document is of type integer"),
        ("apiVersion: v1\nkind: Pod\nx: 99999999999999999999999\n", "error parsing .*64-bit"),
        ("apiVersion: v1\nkind: Pod\nx: !!binary YQ==\n", "error parsing .*bytes"),
        ("[" * 5000, "nested too deeply"),
        ("apiVersion: v1\nkind: Pod\nx: .nan\n", r"error parsing .*json: unsupported value: \.nan"),
        ("apiVersion: v1\nkind: Pod\nx: {-.inf: 1}\n", r"error parsing .*json: unsupported value: -\.inf"),
        ("apiVersion: v1\nkind: Pod\nx: 1.0e+999\n", "error parsing .*json: unsupported value"),
        (LAUGHS, "error parsing .*document contains excessive aliasing"),
        (MERGED_LAUGHS, "error parsing .*document contains excessive aliasing"),
        ("a: &a [*a]\n", "error parsing .*document contains excessive aliasing"),
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


def test_aliases_stand_for_what_they_name(tmp_path: Path) -> None:
    """Also many of them: each adds little."""
    text = "apiVersion: v1\nkind: Pod\nbase: &base {a: 1, b: 2}\nmerged: {<<: *base, b: 3}\n"
    text += "many:\n" + "- *base\n" * 10_000
    (tmp_path / "m.yaml").write_text(text)
    (only,) = read_manifests([str(tmp_path / "m.yaml")])
    assert only.object["merged"] == {"a": 1, "b": 3}
    assert only.object["many"] == [{"a": 1, "b": 2}] * 10_000


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (b"HTTP/1.0 200 OK\r\n\r\n" + (POD % "web").encode(), ""),
        (b"HTTP/1.0 404 Not Found\r\n\r\n", "server reported 404 Not Found, status code=404"),
        (b"nonsense\r\n\r\n", "unable to read URL .*: nonsense"),
        (b"", "unable to read URL .*: Remote end closed connection"),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 9\r\n\r\nabc", "unable to read URL .*: IncompleteRead"),
        (b"HTTP/1.0 200 OK\r\n\r\n" + b"#" * 2000, "unable to read URL .*: it holds more than"),
    ],
)
def test_what_a_url_answers(monkeypatch: pytest.MonkeyPatch, answer: bytes, sentence: str) -> None:
    monkeypatch.setattr("cli.manifests._FETCH_BYTES", 1000)

    def serve(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(10_000)
            connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as server:
        serving = threading.Thread(target=serve, args=(server,))
        serving.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/web.yaml"
        try:
            if sentence:
                with pytest.raises(Terminal, match=sentence):
                    read_manifests([url])
            else:
                assert [manifest.name for manifest in read_manifests([url])] == ["web"]
        finally:
            serving.join(20)

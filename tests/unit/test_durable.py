"""Files that must not be lost: replaced whole, private from the first byte, and a start after a crash between any two."""

from __future__ import annotations

import base64
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from cli import up
from cli.cluster import Cluster, NodeSpec, read_cluster, save_cluster
from cli.layout import Layout
from controlplane.apiserver import pki
from mesh.bus.identities import load_identities, load_signer
from mesh.durable import create_private, remove_drafts, replace_unsynced, update_private, write_private


class Crash(BaseException):
    """The power is cut here."""


def test_a_file_that_says_so_already_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "node-1.json"
    assert update_private(path, b"one")
    written = path.stat().st_ino
    assert not update_private(path, b"one")
    assert path.stat().st_ino == written
    assert update_private(path, b"other")
    assert path.read_bytes() == b"other"


def test_a_file_is_replaced_whole_and_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, steps = tmp_path / "key", list[str]()
    path.write_bytes(b"old")
    path.chmod(0o644)
    if os.geteuid() == 0:
        os.chown(path, 1234, 1235)
    owner = (path.stat().st_uid, path.stat().st_gid)
    fsync, replace, open_ = os.fsync, Path.replace, os.open

    def opened(name: Any, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_CREAT:
            assert mode == 0o600
        return open_(name, flags, mode)

    def synced(handle: int) -> None:
        steps.append("directory" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file")
        fsync(handle)

    def replaced(draft: Path, target: Path) -> Path:
        steps.append("replace")
        return replace(draft, target)

    monkeypatch.setattr(os, "open", opened)
    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", replaced)
    write_private(path, b"new")
    assert steps == ["file", "replace", "directory"]
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"new", 0o600)
    assert (path.stat().st_uid, path.stat().st_gid) == owner
    create_private(path, b"too late")
    assert path.read_bytes() == b"new"


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_private(tmp_path / "key", b"old")

    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=f"No space left on device: '{tmp_path}/key'"):
        write_private(tmp_path / "key", b"new")
    assert [p.name for p in tmp_path.iterdir()] == ["key"]
    assert (tmp_path / "key").read_bytes() == b"old"


def test_a_write_that_fails_leaves_the_old_file_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace_unsynced(tmp_path / "claim", b"old")

    def full(path: Path, data: bytes) -> int:
        with path.open("wb") as file:
            file.write(data[:1])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left on device"):
        replace_unsynced(tmp_path / "claim", b"new")
    assert [p.name for p in tmp_path.iterdir()] == ["claim"]
    assert (tmp_path / "claim").read_bytes() == b"old"


def test_the_owner_is_set_on_the_draft_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its name it could be another file by then, in a directory of the user's."""
    given: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "fchown", lambda _, uid, gid: given.append((uid, gid)))
    write_private(tmp_path / "key", b"old")
    assert given == []
    write_private(tmp_path / "key", b"new")
    assert given == [(os.getuid(), os.getgid())]


def test_what_killed_writers_left_is_removed(tmp_path: Path) -> None:
    write_private(tmp_path / "key", b"whole")
    script = "import os, signal; from pathlib import Path; from mesh import durable as d;"
    script += "d.os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL); d.write_private(Path('key'), b'half')"
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, check=False, timeout=60)
    (tmp_path / ".claim.new").write_text("of replace_unsynced")
    (tmp_path / ".notes.txt").write_text("a user's own")
    assert len(list(tmp_path.iterdir())) == 4
    remove_drafts(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [".notes.txt", "key"]


def crash_at(number: int, monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Cut the power before the file with this number (from 0) takes its place; the returned function counts them."""
    count = 0
    replace, link = Path.replace, os.link

    def step() -> None:
        nonlocal count
        if count == number:
            raise Crash
        count += 1

    def replaced(draft: Path, target: Path) -> Path:
        step()
        return replace(draft, target)

    def linked(draft: Path, target: Path) -> None:
        step()
        link(draft, target)

    monkeypatch.setattr(Path, "replace", replaced)
    monkeypatch.setattr(os, "link", linked)
    return lambda: count


def write_all(layout: Layout) -> None:
    node = NodeSpec(name="node-1", address="10.0.0.2", holder="h", namespace="/run/netns/x")
    cluster = Cluster(
        name="c", host_address="10.0.0.1", node_cidr="10.0.0.0/24", pod_cidr="10.1.0.0/16",
        service_cidr="10.96.0.0/16", nodes=[node],
    )  # fmt: skip
    layout.make()
    save_cluster(layout, cluster)
    up._write_files(layout, cluster)


def test_a_crash_between_any_two_files_is_made_good(tmp_path: Path) -> None:
    number = 0
    while True:
        layout = Layout(tmp_path / str(number))
        with pytest.MonkeyPatch.context() as patch:
            written = crash_at(number, patch)
            try:
                write_all(layout)
            except Crash:
                assert written() == number
            else:
                break
        write_all(layout)
        assert_sound(layout)
        number += 1
    assert number > 15


def assert_sound(layout: Layout) -> None:
    """Everything fits together: seeds and names, certificates and their authority, the kubeconfig."""
    assert read_cluster(layout) is not None
    identities = load_identities(layout.identities_file)
    configuration = (layout.nats / "nats.conf").read_text()
    for seed in layout.identities.glob("*.nk"):
        key = load_signer(seed).identity
        assert key in configuration
        assert (key in identities) == (seed.stem != "store")
    keys = pki.Pki(layout.pki)
    keys.server_context()
    user = yaml.safe_load(layout.kubeconfig.read_text())["users"][0]["user"]
    assert base64.b64decode(user["client-certificate-data"]) == keys.admin_cert.read_bytes()
    assert base64.b64decode(user["client-key-data"]) == keys.admin_key.read_bytes()

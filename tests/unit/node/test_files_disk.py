"""Pod directories on a real file system."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.node.files_disk import DiskFiles
from agents.node.volumes import FileData, VolumeError


@pytest.fixture
def files(tmp_path: Path) -> DiskFiles:
    return DiskFiles(tmp_path / "pods")


def test_projected_files_are_swapped_at_once(files: DiskFiles) -> None:
    target = Path(files.project("u", "v", {"a": FileData(b"1", 0o600), "d/b": FileData(b"2")}, group=None))
    before = (target / "..data").readlink()
    assert ((target / "a").read_bytes(), (target / "d/b").read_bytes()) == (b"1", b"2")
    assert (target / "a").stat().st_mode & 0o777 == 0o600
    files.project("u", "v", {"a": FileData(b"1", 0o600), "d/b": FileData(b"2")}, group=None)
    assert (target / "..data").readlink() == before, "nothing changed, nothing is written"
    files.project("u", "v", {"c": FileData(b"3")}, group=None)
    assert sorted(p.name for p in target.iterdir() if not p.name.startswith("..")) == ["c"]
    assert (target / "c").read_bytes() == b"3"
    assert not (target / before).exists()


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "a/../../x"])
def test_a_projected_path_cannot_leave_its_volume(files: DiskFiles, path: str) -> None:
    with pytest.raises(VolumeError, match="invalid path"):
        files.project("u", "v", {path: FileData(b"")}, group=None)


def test_a_subpath_cannot_follow_a_link_out(files: DiskFiles, tmp_path: Path) -> None:
    base = Path(files.empty_dir("u", "v", memory=False, size=None, group=None))
    assert files.sub_path("v", str(base), "new/dir") == str(base / "new/dir")
    (base / "out").symlink_to(tmp_path)
    with pytest.raises(VolumeError, match="leads out"):
        files.sub_path("v", str(base), "out/pods")


@pytest.mark.parametrize(
    ("kind", "words"),
    [("Directory", "is not a directory"), ("File", "is not a file"), ("Socket", "is not a socket file")],
)
def test_hostpath_types(files: DiskFiles, tmp_path: Path, kind: str, words: str) -> None:
    with pytest.raises(VolumeError, match=f"hostPath type check failed: {tmp_path}/none {words}"):
        files.host_path("v", f"{tmp_path}/none", kind)
    made = files.host_path("v", f"{tmp_path}/made/deep", "DirectoryOrCreate")
    assert Path(made).is_dir()


async def test_removal_leaves_nothing(files: DiskFiles) -> None:
    files.project("u", "v", {"a": FileData(b"1")}, group=None)
    Path(files.termination_file("u", "c", 0)).write_text("bye")  # noqa: ASYNC240
    assert files.read_termination("u", "c", 0) == "bye"
    files.mark_prepared("u")
    assert (files.prepared("u"), files.pods()) == (True, {"u"})
    await files.remove("u")
    await files.remove("u")
    assert (files.prepared("u"), files.pods()) == (False, set())


def test_an_update_removes_nothing_outside_its_volume(files: DiskFiles, tmp_path: Path) -> None:
    """Whatever `..data` leads to: a container that could write to the volume chose it."""
    victim = tmp_path / "victim"
    victim.mkdir()
    target = Path(files.project("u", "v", {"a": FileData(b"1")}, group=None))
    (target / "..data").unlink()
    (target / "..data").symlink_to(victim)
    files.project("u", "v", {"a": FileData(b"2")}, group=None)
    assert victim.is_dir()
    assert (target / "a").read_bytes() == b"2"


def test_an_interrupted_update_is_finished(files: DiskFiles) -> None:
    """Killed after `..data` was swung over, before users' links were made; and killed while it was filling."""
    target = Path(files.project("u", "v", {"a": FileData(b"1")}, group=None))
    (target / "a").unlink()
    (target / "..half").mkdir()
    files.project("u", "v", {"a": FileData(b"1")}, group=None)
    assert (target / "a").read_bytes() == b"1"
    files.project("u", "v", {"a": FileData(b"2")}, group=None)
    assert len([p for p in target.iterdir() if p.name.startswith("..")]) == 2, "..data and what it leads to"

"""Pod directories on a real file system."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agents.node.files_disk import DiskFiles
from agents.node.subpath import open_below
from agents.node.volumes import FileData, VolumeError


@pytest.fixture
def files(tmp_path: Path) -> DiskFiles:
    return DiskFiles(tmp_path / "pods")


def test_projected_files_are_swapped_at_once(files: DiskFiles) -> None:
    target = Path(
        files.project("u", "v", {"a": FileData(b"1", 0o600), "d/b": FileData(b"2")}, memory=False, group=None)
    )
    before = (target / "..data").readlink()
    assert ((target / "a").read_bytes(), (target / "d/b").read_bytes()) == (b"1", b"2")
    assert (target / "a").stat().st_mode & 0o777 == 0o600
    files.project("u", "v", {"a": FileData(b"1", 0o600), "d/b": FileData(b"2")}, memory=False, group=None)
    assert (target / "..data").readlink() == before, "nothing changed, nothing is written"
    files.project("u", "v", {"c": FileData(b"3")}, memory=False, group=None)
    assert sorted(p.name for p in target.iterdir() if not p.name.startswith("..")) == ["c"]
    assert (target / "c").read_bytes() == b"3"
    assert not (target / before).exists()


def test_a_file_belongs_to_its_owner_and_the_group(files: DiskFiles) -> None:
    data = {"token": FileData(b"t", 0o600, 1000), "other": FileData(b"o")}
    target = Path(files.project("u", "v", data, memory=False, group=3000))
    kept = {name: (target / name).stat() for name in data}
    assert {name: (s.st_uid, s.st_gid, s.st_mode & 0o777) for name, s in kept.items()} == {
        "token": (1000, 3000, 0o640),
        "other": (0, 3000, 0o644),
    }


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "a/../../x"])
def test_a_projected_path_cannot_leave_its_volume(files: DiskFiles, path: str) -> None:
    with pytest.raises(VolumeError, match="invalid path"):
        files.project("u", "v", {path: FileData(b"")}, memory=False, group=None)


@pytest.mark.parametrize("sub", ["out/pods", "../x", "/etc", "a\0b"])
def test_a_subpath_cannot_lead_out(tmp_path: Path, sub: str) -> None:
    (tmp_path / "v").mkdir()
    (tmp_path / "v/out").symlink_to(tmp_path)
    with pytest.raises(VolumeError, match="leads out"):
        open_below("v", tmp_path / "v", sub)


def test_a_subpath_is_what_was_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container exchanges a directory for a link between check and use."""
    base, outside = tmp_path / "v", tmp_path / "outside"
    (base / "a/b").mkdir(parents=True)
    (outside / "b").mkdir(parents=True)
    (base / "within").symlink_to("a")
    handle = open_below("v", base, "within/b")
    assert os.path.samestat(os.fstat(handle), (base / "a/b").stat())
    os.close(handle)

    resolve = Path.resolve

    def resolve_then_exchange(path: Path) -> Path:
        found = resolve(path)
        if found == base / "a/b":
            (base / "a").rename(base / "old")
            (base / "a").symlink_to(outside)
        return found

    monkeypatch.setattr(Path, "resolve", resolve_then_exchange)
    with pytest.raises(VolumeError, match="a has become a link"):
        open_below("v", base, "a/b")


def test_missing_directories_of_a_subpath_are_as_open_as_their_volume(tmp_path: Path) -> None:
    tmp_path.chmod(0o2777)
    os.close(open_below("v", tmp_path, "new/dir"))
    assert [(tmp_path / made).stat().st_mode & 0o7777 for made in ("new", "new/dir")] == [0o2777, 0o2777]


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
    files.project("u", "v", {"a": FileData(b"1")}, memory=False, group=None)
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
    target = Path(files.project("u", "v", {"a": FileData(b"1")}, memory=False, group=None))
    (target / "..data").unlink()
    (target / "..data").symlink_to(victim)
    files.project("u", "v", {"a": FileData(b"2")}, memory=False, group=None)
    assert victim.is_dir()
    assert (target / "a").read_bytes() == b"2"


def test_an_interrupted_update_is_finished(files: DiskFiles) -> None:
    """Killed after `..data` was swung over, before users' links were made; and killed while it was filling."""
    target = Path(files.project("u", "v", {"a": FileData(b"1")}, memory=False, group=None))
    (target / "a").unlink()
    (target / "..half").mkdir()
    files.project("u", "v", {"a": FileData(b"1")}, memory=False, group=None)
    assert (target / "a").read_bytes() == b"1"
    files.project("u", "v", {"a": FileData(b"2")}, memory=False, group=None)
    assert len([p for p in target.iterdir() if p.name.startswith("..")]) == 2, "..data and what it leads to"

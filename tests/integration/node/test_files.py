"""Pod directories with real mounts in them."""

from __future__ import annotations

import subprocess
from pathlib import Path

from agents.node.files_disk import DiskFiles
from agents.node.volumes import FileData
from cli.containers import mounts_below


async def test_memory_volumes_go_with_their_pod_wherever_the_directory_leads(tmp_path: Path) -> None:
    real = tmp_path / "a directory"
    real.mkdir()
    link = tmp_path / "link"
    link.symlink_to(real)
    files = DiskFiles(link / "pods")
    volume = Path(files.empty_dir("u", "v", memory=True, size=None, group=None))
    try:
        assert volume.is_mount()  # noqa: ASYNC240
        assert mounts_below(link) == [real / "pods/u/volumes/v"]
        await files.remove("u")
        assert mounts_below(link) == []
        assert files.pods() == set()
    finally:
        if volume.is_mount():  # noqa: ASYNC240
            subprocess.run(["umount", "--lazy", str(volume)], check=True)  # noqa: ASYNC221 - the test has failed


async def test_a_subpath_stays_what_it_was_when_mounted(tmp_path: Path) -> None:
    files = DiskFiles(tmp_path / "pods")
    base = Path(files.empty_dir("u", "v", memory=False, size=None, group=None))
    first = Path(files.sub_path("u", "c-0", "v", str(base), "data"))
    try:
        (first / "x").write_text("in the volume")
        assert (base / "data/x").read_text() == "in the volume"
        (base / "data").rename(base / "old")
        (base / "data").symlink_to(tmp_path)
        assert (first / "x").exists()
        assert files.sub_path("u", "c-0", "v", str(base), "old/x") != str(base / "old/x")
        assert len(mounts_below(tmp_path)) == 1, "the next attempt's takes the place of the last one's"
    finally:
        await files.remove("u")
    assert mounts_below(tmp_path) == []


async def test_what_is_secret_lies_in_memory_and_goes_with_its_pod(tmp_path: Path) -> None:
    files = DiskFiles(tmp_path / "pods")
    volume = Path(files.project("u", "v", {"k": FileData(b"secret")}, memory=True, group=None))
    try:
        assert subprocess.check_output(["stat", "-f", "-c", "%T", volume]) == b"tmpfs\n"  # noqa: ASYNC221
        assert volume.stat().st_mode & 0o7777 == 0o755  # noqa: ASYNC240
        again = DiskFiles(tmp_path / "pods")
        again.project("u", "v", {"k": FileData(b"newer")}, memory=True, group=None)
        assert (volume / "k").read_bytes() == b"newer"
        assert mounts_below(tmp_path) == [volume], "an agent that comes back finds it"
    finally:
        await files.remove("u")
    assert mounts_below(tmp_path) == []

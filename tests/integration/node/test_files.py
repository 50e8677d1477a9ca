"""Pod directories with real mounts in them."""

from __future__ import annotations

import subprocess
from pathlib import Path

from agents.node.files_disk import DiskFiles
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

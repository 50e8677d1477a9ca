"""To whom a cluster's files belong."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cli.layout import Layout


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_link_in_the_callers_home_gives_away_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = Layout(tmp_path / "home")
    layout.make()
    secret = tmp_path / "shadow"
    secret.touch()
    (layout.logs / "x.log").symlink_to(secret)
    monkeypatch.setenv("SUDO_UID", "1234")
    monkeypatch.setenv("SUDO_GID", "1234")
    layout.give_to_caller()
    assert layout.home.stat().st_uid == 1234
    assert secret.stat().st_uid == 0

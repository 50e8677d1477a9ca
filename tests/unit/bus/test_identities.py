"""Seeds on disk."""

from __future__ import annotations

from pathlib import Path

import nkeys
import pytest

from mesh.bus.identities import ensure_seed


def test_a_seed_whose_making_was_interrupted_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.seed"

    def crash(*_: object) -> bytes:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(nkeys, "encode_seed", crash)
        with pytest.raises(KeyboardInterrupt):
            ensure_seed(path)
    assert ensure_seed(path).startswith("U")

"""Claims on warm sandboxes: kept, given up, and what a power cut makes of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.node.runtimes.claims import Claim, Claims

CLAIM = Claim("uid-1", {"a": "b"})


def test_a_claim_is_kept_until_it_is_dropped(tmp_path: Path) -> None:
    claims = Claims(tmp_path / "claims")
    assert (claims.sandboxes(), claims.get("s")) == (set(), None)
    claims.put("s", CLAIM)
    again = Claims(tmp_path / "claims")
    assert (again.sandboxes(), again.get("s"), again.get("other")) == ({"s"}, CLAIM, None)
    again.drop("s")
    again.drop("s")
    assert (claims.sandboxes(), claims.get("s")) == (set(), None)


@pytest.mark.parametrize(
    "left", [b"", b'{"pod_uid":"uid-1","la', b'{"pod_uid":"uid-1"}', b"\xff", b'{"pod_uid":"\xff"}']
)
def test_a_claim_that_a_power_cut_has_torn_is_as_none(
    left: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    claims = Claims(tmp_path)
    (tmp_path / "s").write_bytes(left)
    assert claims.get("s") is None
    assert "claim.unreadable sandbox=s" in caplog.text
    assert claims.sandboxes() == {"s"}, "and goes when its sandbox has gone"
    claims.put("s", CLAIM)
    assert claims.get("s") == CLAIM


def test_a_write_that_was_cut_short_claims_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    claims = Claims(tmp_path)

    def killed(draft: Path, target: Path) -> Path:
        raise KeyboardInterrupt

    with monkeypatch.context() as crash:
        crash.setattr(Path, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            claims.put("s", CLAIM)
    assert list(tmp_path.iterdir()) != []
    assert (claims.sandboxes(), claims.get("s")) == (set(), None)

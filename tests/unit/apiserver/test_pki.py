"""Certificates and keys on disk, after a crash came between."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from controlplane.apiserver import pki

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_certificate_and_key_that_do_not_belong_together_are_made_anew(tmp_path: Path) -> None:
    made = pki.ensure(tmp_path, ["localhost"], NOW)
    authority = made.ca_cert.read_bytes()
    made.server_key.write_bytes(made.admin_key.read_bytes())
    pki.ensure(tmp_path, ["localhost"], NOW).server_context()
    assert made.ca_cert.read_bytes() == authority


def test_what_serves_is_kept(tmp_path: Path) -> None:
    made = pki.ensure(tmp_path, ["localhost"], NOW)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    pki.ensure(tmp_path, ["localhost"], NOW)
    assert {path.name: path.read_bytes() for path in made.directory.iterdir()} == before

"""The broker's configuration and the files of identities."""

from __future__ import annotations

import stat
import subprocess
from pathlib import Path

import pytest

from mesh.api.port import User
from mesh.bus import broker
from mesh.bus.identities import (
    Identity,
    IdentityBook,
    ensure_seed,
    load_identities,
    load_signer,
    save_identities,
)
from mesh.errors import Terminal

NODE = "U" + "A" * 55
SERVER = "U" + "B" * 55
STORE = "U" + "C" * 55


def _config(directory: Path) -> broker.BrokerConfig:
    return broker.BrokerConfig(directory, store_keys=(STORE,), host="10.0.0.1", port=4333)


def test_the_configuration_grants_what_the_table_says(tmp_path: Path) -> None:
    text = broker.render(
        _config(tmp_path),
        {NODE: Identity(user="system:node:a"), SERVER: Identity(user="server", role="server")},
    )
    assert f'{{ nkey: "{STORE}" }}' in text
    assert f'publish: {{ allow: ["covey.api.{NODE}", "covey.heartbeat.{NODE}", "covey.out.{NODE}.>"] }}' in text
    assert f'subscribe: {{ allow: ["_INBOX.{NODE}.>", "covey.in.{NODE}.>"] }}' in text
    assert '"_INBOX.>", "covey.in.>"] }' in text
    for line in ('host: "10.0.0.1"', "port: 4333", "sync_interval: always", "max_payload: 8388608"):
        assert line in text
    assert text.count("{") == text.count("}")


def test_only_nkeys_enter_the_configuration(tmp_path: Path) -> None:
    with pytest.raises(Terminal, match="no NKEY"):
        broker.render(_config(tmp_path), {'x" }': Identity(user="x")})


def test_a_name_cannot_break_out_of_its_comment(tmp_path: Path) -> None:
    text = broker.render(_config(tmp_path), {NODE: Identity(user='x\n nkey: "U"')})
    assert not any(line.strip().startswith('nkey: "U"') for line in text.splitlines())


def test_files_are_private(tmp_path: Path) -> None:
    key = ensure_seed(tmp_path / "keys" / "a.seed")
    assert ensure_seed(tmp_path / "keys" / "a.seed") == key
    assert load_signer(tmp_path / "keys" / "a.seed").identity == key
    assert len(key) == 56
    config = broker.write(_config(tmp_path / "broker"), {})
    for file in (tmp_path / "keys" / "a.seed", config):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_signer_does_not_show_its_seed(tmp_path: Path) -> None:
    ensure_seed(tmp_path / "a.seed")
    signer = load_signer(tmp_path / "a.seed")
    assert signer.seed not in repr(signer)


@pytest.mark.parametrize("content", [b"", b"nonsense", b"SUAAAA"])
def test_what_is_no_seed_is_said_so(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.seed").write_bytes(content)
    with pytest.raises(Terminal, match="holds no NKEY seed"):
        load_signer(tmp_path / "a.seed")


def test_identities_are_read_again_when_they_change(tmp_path: Path) -> None:
    file = tmp_path / "identities.json"
    save_identities(file, {})
    book = IdentityBook(file)
    assert book.user(NODE) is None
    save_identities(file, {NODE: Identity(user="system:node:a", groups=["system:nodes"])})
    assert book.user(NODE) == User("system:node:a", ("system:nodes", "system:authenticated"))
    assert load_identities(file)[NODE].role == "client"


def test_an_unusable_identities_file_is_terminal(tmp_path: Path) -> None:
    file = tmp_path / "identities.json"
    with pytest.raises(Terminal, match="cannot read"):
        load_identities(file)
    file.write_text('{"U": {"user": "x", "role": "king"}}')
    with pytest.raises(Terminal, match="role"):
        load_identities(file)


def test_reloading_without_a_server_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(Terminal, match="no nats-server"):
        broker.reload(_config(tmp_path))


def test_a_stranger_with_the_number_of_a_dead_server_is_left_alone(tmp_path: Path) -> None:
    config = _config(tmp_path)
    with subprocess.Popen(["sleep", "60"]) as stranger:
        try:
            config.pid_file.write_text(str(stranger.pid))
            with pytest.raises(Terminal, match="is another program"):
                broker.reload(config)
            assert stranger.poll() is None
        finally:
            stranger.kill()

"""Who is who on the bus: NKEY seeds, and the file that says which user an NKEY is.

A process proves its identity by signing the broker's nonce with its seed; its identity is the public key. Seeds are
files of mode 0600. `identities.json` maps public keys to users, for the API server and for the broker's configuration:
`{"U...": {"user": "system:node:a", "groups": ["system:nodes"], "role": "client"}}`.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec
import nkeys

from mesh.api.port import User
from mesh.durable import create_private, write_private
from mesh.errors import Terminal

AUTHENTICATED = "system:authenticated"


def proxy_user(node: str) -> str:
    """The user behind the identity of a node's proxy."""
    return f"system:covey:proxy:{node}"


class Identity(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The user behind an NKEY. Role "server" may stand on the other side of everybody's subjects."""

    user: str
    groups: list[str] = []
    role: Literal["client", "server"] = "client"


class Signer:
    """A seed in memory and the public key it proves. Its repr never shows the seed."""

    def __init__(self, seed: bytes, origin: str = "the seed") -> None:
        try:
            self.identity: str = nkeys.from_seed(bytearray(seed)).public_key.decode()
        except (nkeys.NkeysError, ValueError) as error:
            raise Terminal(f"{origin} holds no NKEY seed: create it anew") from error
        self.seed = seed.decode()

    def __repr__(self) -> str:
        return f"Signer({self.identity})"


def load_signer(path: Path) -> Signer:
    """The signer for a seed file; raises `Terminal` when it cannot be read or used."""
    try:
        return Signer(path.read_bytes().strip(), str(path))
    except OSError as error:
        raise Terminal(f"cannot read the NKEY seed {path}: {error.strerror}") from error


def ensure_seed(path: Path) -> str:
    """Create a seed file unless it is there (mode 0600, its folder too); returns the public key."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        create_private(path, nkeys.encode_seed(secrets.token_bytes(32), nkeys.PREFIX_BYTE_USER))
    return load_signer(path).identity


def load_identities(path: Path) -> dict[str, Identity]:
    """The users by public key; raises `Terminal` when the file cannot be used."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Identity])
    except OSError as error:
        raise Terminal(f"cannot read {path}: {error.strerror}") from error
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise Terminal(f"{path}: {error}") from error


def save_identities(path: Path, identities: Mapping[str, Identity]) -> None:
    """Write the file in one step, so that a reader sees the old or the new one."""
    write_private(path, msgspec.json.format(msgspec.json.encode(dict(identities))))


class IdentityBook:
    """`identities.json` as the API server uses it: read again when the file has changed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int] | None = None
        self._identities: dict[str, Identity] = {}

    def user(self, identity: str) -> User | None:
        """The user behind a public key, or None when nobody has it."""
        stat = self._path.stat()
        version = (stat.st_mtime_ns, stat.st_ino)
        if version != self._seen:
            self._identities = load_identities(self._path)
            self._seen = version
        known = self._identities.get(identity)
        return User(known.user, (*known.groups, AUTHENTICATED)) if known else None

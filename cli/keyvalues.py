"""The data of ConfigMaps and Secrets from options and files: --from-literal, --from-file, --from-env-file.

Rules and sentences are kubectl's (`kubectl create configmap --help`, `kubectl create secret generic --help`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from mesh.errors import Terminal

_KEY = re.compile(r"[-._a-zA-Z0-9]{1,253}")
_KEY_RULE = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'"
_ENVIRONMENT_RULE = (
    "a valid environment variable name must consist of alphabetic characters, digits, '_', '-', or '.', and must not "
    "start with a digit"
)
_ENVIRONMENT_NAME = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*")


def gather(
    literals: Sequence[str], files: Sequence[str], environment_files: Sequence[str], what: str
) -> dict[str, bytes]:
    """All of it by key. `what` names the object in sentences. `Terminal` for what cannot be read or used, and for a key
    that is given twice."""
    if environment_files and (literals or files):
        raise Terminal("from-env-file cannot be combined with from-file or from-literal")
    data: dict[str, bytes] = {}
    for source in (_literals(literals), _files(files), _environment(environment_files)):
        for key, value in source:
            if not _KEY.fullmatch(key) or key in {".", ".."}:
                raise Terminal(f'"{key}" is not a valid key name for a {what}: {_KEY_RULE}')
            if key in data:
                raise Terminal(f'cannot add key "{key}", another key by that name already exists in Data for {what}')
            data[key] = value
    return data


def _literals(literals: Sequence[str]) -> Iterable[tuple[str, bytes]]:
    for text in literals:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise Terminal(f"invalid literal source {text}, expected key=value")
        yield key, value.encode(errors="surrogateescape")


def _files(sources: Sequence[str]) -> Iterable[tuple[str, bytes]]:
    """`PATH`, `KEY=PATH`, or a folder, of which each file with a name that can be a key is taken."""
    for source in sources:
        key, path = _key_and_path(source)
        if not path.is_dir():
            yield key or path.name, _read(path)
        elif key:
            raise Terminal("cannot give a key name for a directory path")
        else:
            yield from ((file.name, _read(file)) for file in sorted(path.iterdir()) if _is_taken(file))


def _key_and_path(source: str) -> tuple[str, Path]:
    first, equals, second = source.partition("=")
    if not equals:
        return "", Path(source)
    if "=" in second:
        raise Terminal("key names or file paths cannot contain '='")
    if not first:
        raise Terminal(f"key name for file path {second} missing")
    if not second:
        raise Terminal(f"file path for key name {first} missing")
    return first, Path(second)


def _is_taken(file: Path) -> bool:
    return file.is_file() and not file.is_symlink() and bool(_KEY.fullmatch(file.name))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Terminal(f"error reading {path}: {(error.strerror or str(error)).lower()}") from error


def _environment(paths: Sequence[str]) -> Iterable[tuple[str, bytes]]:
    """Lines `NAME=VALUE`; a name alone takes the value that it has in our own environment, if any."""
    for path in paths:
        try:
            text = _read(Path(path)).decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise Terminal(f"env file {path} contains invalid utf8 bytes: {error}") from error
        for line in (line.lstrip() for line in text.splitlines()):
            if not line or line.startswith("#"):
                continue
            name, equals, value = line.partition("=")
            if not _ENVIRONMENT_NAME.fullmatch(name):
                raise Terminal(f'"{name}" is not a valid key name: {_ENVIRONMENT_RULE}')
            if equals:
                yield name, value.encode()
            elif name in os.environ:
                yield name, os.environb[name.encode()]

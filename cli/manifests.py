"""Reading manifests: files, folders, standard input; YAML or JSON; several documents; Lists taken apart."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from mesh.errors import Terminal
from mesh.objects.kinds import Resource, by_kind
from mesh.objects.types import Object

_SUFFIXES = {".yaml", ".yml", ".json"}


@dataclass(frozen=True, slots=True)
class Manifest:
    """One object from a manifest, and where it stood."""

    object: Object
    resource: Resource
    source: str

    @property
    def name(self) -> str:
        """`metadata.name`, "" when there is only a generateName."""
        return str((self.object.get("metadata") or {}).get("name", ""))


def read_manifests(paths: Sequence[str], *, recursive: bool = False) -> list[Manifest]:
    """Every object in files, folders and "-"; `Terminal` names the file that cannot be used and why."""
    found = [manifest for path in paths for manifest in _read(path, recursive)]
    if not found:
        raise Terminal("no objects passed to apply" if paths else "must specify one of -f and -k")
    return found


def _read(path: str, recursive: bool) -> Iterator[Manifest]:
    if path == "-":
        yield from _documents(sys.stdin.read(), "STDIN")
        return
    place = Path(path)
    if not place.exists():
        raise Terminal(f'the path "{path}" does not exist')
    if place.is_dir():
        files: Iterable[Path] = sorted(place.rglob("*") if recursive else place.iterdir())
        for file in files:
            if file.is_file() and file.suffix in _SUFFIXES:
                yield from _documents(file.read_text(), str(file))
    else:
        yield from _documents(place.read_text(), path)


def _documents(text: str, source: str) -> Iterator[Manifest]:
    try:
        documents = list(yaml.load_all(text, Loader=_Loader))
    except yaml.YAMLError as error:
        raise Terminal(f"error parsing {source}: {error}") from error
    for document in documents:
        if document is None:
            continue
        if not isinstance(document, dict):
            raise Terminal(f"error parsing {source}: a document is {type(document).__name__}, not an object")
        yield from _objects(document, source)


def _objects(document: Object, source: str) -> Iterator[Manifest]:
    api_version, kind = document.get("apiVersion"), document.get("kind")
    if not kind:
        raise Terminal(f'error validating "{source}": error validating data: kind not set')
    if not api_version:
        raise Terminal(f'error validating "{source}": error validating data: apiVersion not set')
    if str(kind).endswith("List") and isinstance(document.get("items"), list):
        for item in document["items"]:
            yield from _objects(item, source)
        return
    resource = by_kind(str(api_version), str(kind))
    if resource is None:
        raise Terminal(
            f'resource mapping not found for name: "{(document.get("metadata") or {}).get("name", "")}" from '
            f'"{source}": no matches for kind "{kind}" in version "{api_version}"'
        )
    yield Manifest(document, resource, source)


class _Loader(yaml.SafeLoader):
    """YAML as Kubernetes reads it: what looks like a date stays a string, keys stay what they are as strings."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}

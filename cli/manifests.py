"""Reading manifests: files, folders, standard input; YAML or JSON; several documents; Lists taken apart."""

from __future__ import annotations

import re
import sys
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson
import yaml

from mesh.errors import Terminal
from mesh.objects.kinds import Resource, by_kind
from mesh.objects.types import Json, Object

_SUFFIXES = {".yaml", ".yml", ".json"}
_FETCH_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Manifest:
    """One object from a manifest, and where it stood."""

    object: Object
    resource: Resource
    source: str

    @property
    def name(self) -> str:
        """`metadata.name`, "" when there is only a generateName."""
        return str(self.object["metadata"].get("name") or "")


def read_manifests(paths: Sequence[str], *, recursive: bool = False) -> list[Manifest]:
    """Every object in files, folders and "-"; `Terminal` names the file that cannot be used and why."""
    found = [manifest for path in paths for manifest in _read(path, recursive)]
    if not found:
        raise Terminal("no objects passed to apply" if paths else "must specify one of -f and -k")
    return found


def _read(path: str, recursive: bool) -> Iterator[Manifest]:
    if path == "-":
        yield from _documents(sys.stdin.buffer.read(), "STDIN")
        return
    if path.startswith(("http://", "https://")):
        yield from _documents(_fetched(path), path)
        return
    place = Path(path)
    if not place.exists():
        raise Terminal(f'the path "{path}" does not exist')
    if place.is_dir():
        files: Iterable[Path] = sorted(place.rglob("*") if recursive else place.iterdir())
        for file in files:
            if file.is_file() and file.suffix in _SUFFIXES:
                yield from _documents(file.read_bytes(), str(file))
    else:
        yield from _documents(place.read_bytes(), path)


def _fetched(url: str) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=_FETCH_SECONDS) as answer:
            data: bytes = answer.read()
            return data
    except urllib.error.HTTPError as error:
        told = f"{error.code} {error.reason}, status code={error.code}"
        raise Terminal(f'unable to read URL "{url}", server reported {told}') from error
    except (OSError, ValueError) as error:
        raise Terminal(f'unable to read URL "{url}": {error}') from error


def _documents(data: bytes, source: str) -> Iterator[Manifest]:
    """The objects in one file. What YAML can say and JSON cannot is refused here, with the file's name."""
    try:
        documents = [_as_json(document) for document in yaml.load_all(data.decode(), Loader=_Loader)]
    except (yaml.YAMLError, ValueError, TypeError) as error:
        raise Terminal(f"error parsing {source}: {error}") from error
    except RecursionError as error:
        raise Terminal(f"error parsing {source}: it is nested too deeply") from error
    for document in documents:
        if document is not None:
            yield from _objects(document, source)


def _as_json(document: Json) -> Json:
    """The document as the API will read it: keys become strings."""
    return orjson.loads(orjson.dumps(document, option=orjson.OPT_NON_STR_KEYS))


def _objects(document: Json, source: str) -> Iterator[Manifest]:
    if not isinstance(document, dict):
        raise Terminal(f"error parsing {source}: a document is {type(document).__name__}, not an object")
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
            f'resource mapping not found for name: "{_map(document, "metadata", source).get("name", "")}" from '
            f'"{source}": no matches for kind "{kind}" in version "{api_version}"'
        )
    meta = document["metadata"] = _map(
        document, "metadata", f'error validating "{source}": error validating data: {kind}'
    )
    if "annotations" in meta:
        meta["annotations"] = _map(
            meta, "annotations", f'error validating "{source}": error validating data: {kind}.metadata'
        )
    yield Manifest(document, resource, source)


def _map(parent: Object, field: str, where: str) -> Object:
    """A field that must be an object; null and absent are an empty one."""
    value = parent.get(field)
    if value is not None and not isinstance(value, dict):
        raise Terminal(f'{where}.{field}: got "{type(value).__name__}", expected "map"')
    return value or {}


class _Loader(yaml.SafeLoader):
    """YAML as Kubernetes reads it: what looks like a date stays a string, and so does what YAML 1.1 takes for a number
    to the base of sixty ("22:22"); keys stay what they are as strings."""


def _plain_numbers(tag: str, pattern: re.Pattern[str]) -> re.Pattern[str]:
    """The pattern without numbers that hold a colon."""
    numbers = {"tag:yaml.org,2002:int", "tag:yaml.org,2002:float"}
    return re.compile(f"(?!.*:)(?:{pattern.pattern})", re.VERBOSE) if tag in numbers else pattern


_Loader.yaml_implicit_resolvers = {
    first: [(tag, _plain_numbers(tag, pattern)) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}

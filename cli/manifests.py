"""Reading manifests: files, folders, URLs, standard input; YAML or JSON; several documents; Lists taken apart."""

from __future__ import annotations

import http.client
import math
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
_FETCH_BYTES = 64 * 1024 * 1024
"""What is read from a URL at most."""
_BY_ALIASES = 400_000
"""Values that aliases may add to what a document has written; Kubernetes' YAML library begins to refuse there."""
_WORDS = {str: "string", list: "array", dict: "map", bool: "boolean", int: "integer", float: "number"}
"""JSON's words for what a value is."""


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
            data: bytes = answer.read(_FETCH_BYTES + 1)
            if answer.length and len(data) <= _FETCH_BYTES:  # of a piece, unlike of the whole, it does not complain
                raise http.client.IncompleteRead(data, answer.length)
    except urllib.error.HTTPError as error:
        told = f"{error.code} {error.reason}, status code={error.code}"
        raise Terminal(f'unable to read URL "{url}", server reported {told}') from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise Terminal(f'unable to read URL "{url}": {error or type(error).__name__}') from error
    if len(data) > _FETCH_BYTES:
        raise Terminal(f'unable to read URL "{url}": it holds more than {_FETCH_BYTES >> 20} MiB')
    return data


def _documents(data: bytes, source: str) -> Iterator[Manifest]:
    """The objects in one file. What YAML can say and JSON cannot is refused here, with the file's name."""
    try:
        documents = [_as_json(document) for document in _loaded(data.decode())]
    except (yaml.YAMLError, ValueError, TypeError) as error:
        raise Terminal(f"error parsing {source}: {error}") from error
    except RecursionError as error:
        raise Terminal(f"error parsing {source}: it is nested too deeply") from error
    for document in documents:
        if document is not None:
            yield from _objects(document, source)


def _loaded(text: str) -> Iterator[Json]:
    """The documents in a text. ValueError when aliases make a small document a very large one."""
    loader = _Loader(text)
    try:
        while loader.check_node() and (node := loader.get_node()) is not None:
            known: dict[int, int] = {}
            if _size(node, known) - len(known) > _BY_ALIASES:
                raise ValueError("document contains excessive aliasing")
            yield loader.construct_document(node)
    finally:
        loader.dispose()


def _size(node: yaml.Node, known: dict[int, int]) -> int:
    """How many values there are below a node when each alias is replaced by what it stands for; `known` has each node's
    own size, by its id. What holds itself is larger than anything."""
    if id(node) not in known:
        known[id(node)] = sys.maxsize
        below: Iterable[yaml.Node] = ()
        if isinstance(node, yaml.SequenceNode):
            below = node.value
        elif isinstance(node, yaml.MappingNode):
            below = (part for pair in node.value for part in pair)
        known[id(node)] = 1 + sum(_size(part, known) for part in below)
    return known[id(node)]


def _as_json(document: Json) -> Json:
    """The document as the API will read it: keys become strings."""
    return orjson.loads(orjson.dumps(document, option=orjson.OPT_NON_STR_KEYS))


def _objects(document: Json, source: str) -> Iterator[Manifest]:
    if not isinstance(document, dict):
        raise Terminal(f"error parsing {source}: a document is of type {_WORDS[type(document)]}, not an object")
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
        raise Terminal(f'{where}.{field}: got "{_WORDS[type(value)]}", expected "map"')
    return value or {}


class _Loader(yaml.SafeLoader):
    """YAML as Kubernetes reads it: what looks like a date stays a string, and so does what YAML 1.1 takes for a number
    to the base of sixty ("22:22"); keys stay what they are as strings."""


def _finite(loader: _Loader, node: yaml.ScalarNode) -> float:
    """A number. JSON has none for infinity, nor for what is no number."""
    number = loader.construct_yaml_float(node)
    if not math.isfinite(number):
        raise ValueError(f"json: unsupported value: {node.value}")
    return number


_Loader.add_constructor("tag:yaml.org,2002:float", _finite)


def _plain_numbers(tag: str, pattern: re.Pattern[str]) -> re.Pattern[str]:
    """The pattern without numbers that hold a colon."""
    numbers = {"tag:yaml.org,2002:int", "tag:yaml.org,2002:float"}
    return re.compile(f"(?!.*:)(?:{pattern.pattern})", re.VERBOSE) if tag in numbers else pattern


_Loader.yaml_implicit_resolvers = {
    first: [(tag, _plain_numbers(tag, pattern)) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}

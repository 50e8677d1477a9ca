"""What the files of projecting volumes hold: configMap, secret, downwardAPI, projected. Content only, no file system.

https://kubernetes.io/docs/concepts/storage/volumes/ and .../projected-volumes/. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from agents.node.environment import Lookup, bytes_of, field_value, references, resource_value
from agents.node.podspec import app_containers, places
from agents.node.security import ConfigError, only_user
from mesh.objects.types import Object

DEFAULT_MODE = 0o644
PROJECTING = ("configMap", "secret", "downwardAPI", "projected")
IN_MEMORY = ("secret", "downwardAPI", "projected")
"""Those that lie on a tmpfs, as with the kubelet. (What they are made of is on the disk all the same, for root alone:
checkpoints.py keeps the Secrets that a pod refers to, so that it can be started with no broker in reach.)"""


class VolumeError(ValueError):
    """A volume cannot be set up; the message is the event's, after the volume's name."""

    def __init__(self, volume: str, message: str) -> None:
        super().__init__(f'MountVolume.SetUp failed for volume "{volume}" : {message}')


@dataclass(frozen=True, slots=True)
class FileData:
    """One projected file."""

    data: bytes
    mode: int = DEFAULT_MODE
    owner: int | None = None
    """Its user; root when None."""


@dataclass(frozen=True, slots=True)
class TokenNeed:
    """A service account token that a projected volume wants. `seconds` is how long it shall be valid."""

    volume: str
    path: str
    audience: str
    seconds: int


def volumes_of(pod: Object) -> list[Object]:
    """`spec.volumes`."""
    return list(pod["spec"].get("volumes") or ())


def kind_of(volume: Object) -> str:
    """The volume's source: the one key beside its name; an empty volume is an emptyDir."""
    return next((key for key in volume if key != "name"), "emptyDir")


def sources_of(volume: Object) -> list[tuple[str, Object, int]]:
    """The (kind, source, default file mode) that a projecting volume is made of, in order."""
    kind = kind_of(volume)
    source = volume.get(kind) or {}
    mode = source.get("defaultMode")
    mode = DEFAULT_MODE if mode is None else int(mode)
    if kind == "projected":
        return [(next(iter(part)), next(iter(part.values())), mode) for part in source.get("sources") or () if part]
    return [(kind, source, mode)] if kind in PROJECTING else []


def all_references(pod: Object) -> set[tuple[str, str]]:
    """The (kind, name) of all ConfigMaps and Secrets that environment and volumes name."""
    found = references(pod)
    for volume in volumes_of(pod):
        for kind, source, _ in sources_of(volume):
            if kind == "configMap":
                found.add(("ConfigMap", source["name"]))
            elif kind == "secret":
                found.add(("Secret", source.get("secretName") or source.get("name", "")))
    return found


def token_needs(pod: Object) -> Iterator[TokenNeed]:
    """Every service account token that the pod's volumes want."""
    for volume in volumes_of(pod):
        for kind, source, _ in sources_of(volume):
            if kind == "serviceAccountToken":
                yield TokenNeed(
                    volume["name"],
                    source["path"],
                    source.get("audience") or "",
                    int(source.get("expirationSeconds") or 3600),
                )


def payload(
    pod: Object,
    volume: Object,
    lookup: Lookup,
    tokens: Mapping[TokenNeed, str],
    *,
    status: Object,
    allocatable: Mapping[str, str],
) -> dict[str, FileData]:
    """The files of one projecting volume by relative path. Raises `VolumeError`."""
    name = volume["name"]
    files: dict[str, FileData] = {}
    try:
        for kind, source, mode in sources_of(volume):
            match kind:
                case "configMap":
                    files |= _keys(pod, "ConfigMap", source["name"], source, mode=mode, lookup=lookup)
                case "secret":
                    secret = source.get("secretName") or source.get("name", "")
                    files |= _keys(pod, "Secret", secret, source, mode=mode, lookup=lookup)
                case "downwardAPI":
                    files |= dict(_downward(pod, source.get("items") or (), mode, status, allocatable))
                case "serviceAccountToken":
                    need = next(n for n in token_needs(pod) if n.volume == name and n.path == source["path"])
                    files[source["path"]] = _token(pod, tokens[need], mode)
                case _:
                    raise ConfigError(f"projected volume source {kind} is not supported")
    except ConfigError as error:
        raise VolumeError(name, str(error)) from error
    return files


def _token(pod: Object, token: str, mode: int) -> FileData:
    """A token is its reader's alone where the pod says who reads it, as one user or one group; else it has the volume's
    mode. https://kubernetes.io/docs/concepts/storage/projected-volumes/#securitycontext-interactions"""
    owner = only_user(pod)
    alone = owner is not None or (pod["spec"].get("securityContext") or {}).get("fsGroup") is not None
    return FileData(token.encode(), 0o600 if alone else mode, owner)


def _keys(pod: Object, kind: str, name: str, source: Object, *, mode: int, lookup: Lookup) -> dict[str, FileData]:
    """The chosen keys of a ConfigMap or Secret as files; all of them when `items` chooses none."""
    obj = lookup(kind, name)
    optional = bool(source.get("optional"))
    if obj is None:
        if optional:
            return {}
        raise ConfigError(f'{kind.lower()} "{name}" not found')
    data = bytes_of(kind, obj)
    items = source.get("items")
    if not items:
        return {key: FileData(value, mode) for key, value in data.items()}
    files: dict[str, FileData] = {}
    for item in items:
        if item["key"] in data:
            own = item.get("mode")
            files[item["path"]] = FileData(data[item["key"]], mode if own is None else int(own))
        elif not optional:
            where = f"{pod['metadata'].get('namespace', '')}/{name}"
            raise ConfigError(f"references non-existent {kind.lower()} key: {item['key']} in {where}")
    return files


def _downward(
    pod: Object, items: Iterable[Object], mode: int, status: Object, allocatable: Mapping[str, str]
) -> Iterator[tuple[str, FileData]]:
    for item in items:
        if "fieldRef" in item:
            text = field_value(pod, item["fieldRef"]["fieldPath"], status)
        else:
            text = resource_value(pod, app_containers(pod)[0], item["resourceFieldRef"], allocatable)
        own = item.get("mode")
        yield item["path"], FileData(text.encode(), mode if own is None else int(own))


def mounted_volumes(pod: Object) -> set[str]:
    """Names of the volumes that some container mounts."""
    return {m["name"] for place in places(pod) for m in place.container.get("volumeMounts") or ()}
